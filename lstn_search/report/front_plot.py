"""The front as a picture. `front_info` collects the facts, `draw_front` draws them and computes nothing."""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lstn_search.search.driver import Run

__all__ = ["FrontInfo", "PlotPoint", "draw_front", "front_info"]

BLUE, GREY, ORANGE, RED = "#1f5fa8", "#9aa0a6", "#d9822b", "#b3261e"


@dataclasses.dataclass(kw_only=True, frozen=True, slots=True)
class PlotPoint:
    """One trained architecture."""

    name: str
    gflops: float
    accuracy: float
    is_seed: bool
    over_budget: bool
    on_front: bool
    is_dead: bool
    epochs: int = 0
    """Joint epochs behind the accuracy; 0: recovered only, scored through the frozen classifier."""


@dataclasses.dataclass(kw_only=True, frozen=True, slots=True)
class FrontInfo:
    """Everything the picture shows."""

    title: str
    budget_gflops: float
    image_size: int
    view: str
    control: float | None
    oracle: float | None
    points: tuple[PlotPoint, ...]


def front_info(run: "Run") -> FrontInfo:
    """The facts of a run's front; failed trials have no accuracy and are left out."""
    settings = run.folder.settings
    front = run.front
    return FrontInfo(
        title=f"{settings.task.dataset}, classifier {settings.task.backbone}, seed {settings.task.seed}",
        budget_gflops=settings.budget_gflops - settings.overhead_gflops,
        image_size=settings.task.image_size,
        view=settings.task.view,
        control=run.references.control[-1].accuracy if run.references.control else None,
        oracle=run.references.oracle[-1].accuracy if run.references.oracle and settings.task.view != "none" else None,
        points=tuple(
            PlotPoint(
                name=entry.candidate.name,
                gflops=entry.candidate.gflops,
                accuracy=entry.accuracy,
                is_seed=entry.candidate.is_seed,
                over_budget=entry.candidate.over_budget,
                on_front=entry in front,
                is_dead=entry.status in ("inert", "collapsed"),
                epochs=entry.result.epochs or 0,
            )
            for entry in run.entries
            if entry.results and entry.result.accuracy is not None
        ),
    )


def draw_front(info: FrontInfo, file: Path) -> None:
    """Write the picture as a PNG."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    from matplotlib.ticker import FuncFormatter, NullFormatter

    figure, axes = plt.subplots(figsize=(8.5, 5.2), dpi=150, layout="constrained")
    axes.set_xscale("log")
    for kind, marker, colour, label in (
        ([p for p in info.points if not p.is_seed and not p.is_dead], "o", GREY, "searched"),
        ([p for p in info.points if not p.is_seed and p.is_dead], "x", RED, "inert or collapsed"),
    ):
        if kind:
            axes.scatter([p.gflops for p in kind], [p.accuracy for p in kind], s=26, marker=marker, color=colour,
                         label=label, zorder=2)  # fmt: skip
    for seeds, face, label in (
        ([p for p in info.points if p.is_seed and not p.over_budget], ORANGE, "seed point"),
        ([p for p in info.points if p.is_seed and p.over_budget], "none", "seed point, over budget"),
    ):
        if seeds:
            axes.scatter([p.gflops for p in seeds], [p.accuracy for p in seeds], s=110, marker="*", facecolors=face,
                         edgecolors=ORANGE, label=label, zorder=4)  # fmt: skip
        for p in seeds:
            axes.annotate(p.name + (" (dead)" if p.is_dead else ""), (p.gflops, p.accuracy), xytext=(6, -11),
                          textcoords="offset points", fontsize=8.5, color=ORANGE)  # fmt: skip
    front = sorted((p for p in info.points if p.on_front), key=lambda p: p.gflops)
    if front:
        xs, ys = [p.gflops for p in front], [p.accuracy for p in front]
        axes.step([*xs, max(info.budget_gflops, xs[-1])], [*ys, ys[-1]], where="post", color=BLUE, lw=1.6, zorder=3)
        axes.scatter(xs, ys, s=34, color=BLUE, label="front", zorder=5)
        for p in front:
            if not p.is_seed:
                axes.annotate(p.name, (p.gflops, p.accuracy), xytext=(-4, 6), textcoords="offset points", fontsize=8,
                              color=BLUE, ha="right")  # fmt: skip
    axes.axvline(info.budget_gflops, color=RED, lw=1.1, ls="--", zorder=1)
    axes.annotate(f" budget {info.budget_gflops:g}", (info.budget_gflops, 0.01), xycoords=("data", "axes fraction"),
                  color=RED, fontsize=8.5, rotation=90, va="bottom", ha="right")  # fmt: skip
    for value, name in ((info.oracle, "oracle: warp undone exactly"), (info.control, "control: no transformer")):
        if value is not None:
            axes.axhline(value, color="#444444", lw=0.9, ls=":", zorder=1)
            axes.annotate(name, (0.005, value), xycoords=("axes fraction", "data"), xytext=(0, 3),
                          textcoords="offset points", fontsize=8, color="#444444")  # fmt: skip
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel(f"GFLOPs of the localization net at {info.image_size} px")
    view = "" if info.view == "none" else f" under the {info.view} view"
    axes.set_ylabel(f"validation top-1{view} (%)")
    axes.set_title(info.title, fontsize=10.5, loc="left")
    axes.grid(alpha=0.25, which="both", lw=0.5)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    if info.points:
        axes.legend(fontsize=8, loc="lower right", framealpha=0.9)
    temporary = file.with_name(f".{file.name}")
    figure.savefig(temporary, format="png")
    plt.close(figure)
    temporary.replace(file)
