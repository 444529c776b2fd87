"""The front as a picture. `front_info` collects the facts, `draw_front` draws them."""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.text import Annotation
    from matplotlib.transforms import Bbox

    from lstn_search.search.run import Run

__all__ = ["FrontInfo", "PlotPoint", "draw_front", "front_info"]

BLUE, GREY, ORANGE, RED, DARK = "#1f5fa8", "#9aa0a6", "#c96f14", "#b3261e", "#444444"

Spot = tuple[float, float, str, str]
"""Where a name stands: offset from its point in typographical points, horizontal and vertical alignment."""
SPOTS: tuple[Spot, ...] = tuple(
    (reach * x, reach * y, {-1: "right", 0: "center", 1: "left"}[x], {-1: "top", 0: "center", 1: "bottom"}[y])
    for reach in (4, 8, 14)
    for x, y in ((-1, 1), (0, 1), (1, -1), (0, -1), (1, 0), (-1, 0), (1, 1), (-1, -1))
)
"""Above and to the left of the front is free, so that comes first; nearer before farther."""


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
    """Write the picture as a PNG. Raises OSError when it cannot be written."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

    figure = Figure(figsize=(8.0, 5.2), dpi=160, layout="constrained")
    axes = figure.subplots()
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5), numticks=12))
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel(f"GFLOPs of the localization net at {info.image_size} px")
    axes.set_ylabel(f"validation top-1{'' if info.view == 'none' else f' under the {info.view} view'} (%)")
    axes.set_title(info.title, fontsize=10.5, loc="left", pad=18)
    axes.grid(alpha=0.25, lw=0.5)
    axes.spines[["top", "right"]].set_visible(False)
    _draw_references(axes, info)
    _draw_points(axes, info)
    _label_points(figure, axes, info)
    if info.points:
        figure.legend(loc="outside lower center", ncols=3, fontsize=8.5, frameon=False, handletextpad=0.3)
    temporary = file.with_name(f".{file.name}")
    try:
        figure.savefig(temporary, format="png")
        temporary.replace(file)
    finally:
        temporary.unlink(missing_ok=True)


def _draw_references(axes: "Axes", info: FrontInfo) -> None:
    """Control and oracle as lines across, named in the right margin; the budget as a line up, named above it."""
    style: dict[str, Any] = {"textcoords": "offset points", "fontsize": 8.5, "annotation_clip": False}
    level = [(value, name) for value, name in ((info.oracle, "oracle"), (info.control, "control")) if value is not None]
    upper = max(level)[1] if level else ""
    for value, name in level:
        axes.axhline(value, color=DARK, lw=0.9, ls=":", zorder=1)
        axes.annotate(f"{name} {value:.1f}", (1, value), xycoords=("axes fraction", "data"), xytext=(4, 0), color=DARK,
                      va="bottom" if name == upper else "top", **style)  # fmt: skip
    axes.axvline(info.budget_gflops, color=RED, lw=1.0, ls="--", zorder=1)
    axes.annotate(f"budget {info.budget_gflops:g}", (info.budget_gflops, 1), xycoords=("data", "axes fraction"),
                  xytext=(0, 3), color=RED, ha="center", **style)  # fmt: skip


def _draw_points(axes: "Axes", info: FrontInfo) -> None:
    seeds = [p for p in info.points if p.is_seed]
    others = [p for p in info.points if not (p.is_seed or p.is_dead or p.on_front)]
    top = max((p.epochs for p in info.points), default=0)
    groups: list[tuple[str, list[PlotPoint], dict[str, Any]]] = [
        ("stopped on a lower rung", [p for p in others if p.epochs < top], _ring(GREY, 14)),
        (f"searched, {top} epochs", [p for p in others if p.epochs == top], _dot(GREY, 22)),
        ("front", [p for p in info.points if p.on_front], _dot(BLUE, 34)),
        ("seed point", [p for p in seeds if not p.over_budget], _star(ORANGE)),
        ("seed point over budget", [p for p in seeds if p.over_budget], _star("white")),
        ("inert or collapsed", [p for p in info.points if p.is_dead], _dot(RED, 26) | {"marker": "x", "lw": 1.0}),
    ]
    for order, (label, points, style) in enumerate(groups, start=3):
        if points:
            axes.scatter([p.gflops for p in points], [p.accuracy for p in points], label=label, zorder=order, **style)
    front = sorted((p for p in info.points if p.on_front), key=lambda p: p.gflops)
    if front:
        xs, ys = [p.gflops for p in front], [p.accuracy for p in front]
        axes.step([*xs, max(info.budget_gflops, xs[-1])], [*ys, ys[-1]], where="post", color=BLUE, lw=1.5, zorder=2)


def _dot(colour: str, area: float) -> dict[str, Any]:
    return {"marker": "o", "color": colour, "s": area, "lw": 0}


def _ring(colour: str, area: float) -> dict[str, Any]:
    return {"marker": "o", "facecolors": "none", "edgecolors": colour, "s": area, "lw": 0.8}


def _star(face: str) -> dict[str, Any]:
    return {"marker": "*", "s": 95, "facecolors": face, "edgecolors": ORANGE, "lw": 1.0}


def _label_points(figure: "Figure", axes: "Axes", info: FrontInfo) -> None:
    """Name the seed points and the front, each name where it hides least of the other names and points."""
    from matplotlib.transforms import Bbox

    figure.draw_without_rendering()  # fixes the axes' place, so that pixels mean something
    taken = [text.get_window_extent() for text in axes.texts]  # of the budget and the references
    for point in info.points:
        reach = (5.5 if point.is_seed else 3) * figure.dpi / 72
        x, y = axes.transData.transform((point.gflops, point.accuracy))
        taken.append(Bbox.from_extents(x - reach, y - reach, x + reach, y + reach))
    for point in sorted((p for p in info.points if p.is_seed or p.on_front), key=lambda p: (not p.is_seed, -p.gflops)):
        text = axes.annotate(point.name, (point.gflops, point.accuracy), xytext=(0, 0), textcoords="offset points",
                             fontsize=8.5, color=ORANGE if point.is_seed else BLUE, zorder=10)  # fmt: skip
        text.set_in_layout(False)

        def hidden(spot: Spot, text: "Annotation" = text) -> float:
            """The area of all that the name would lie on, in pixels, at this spot."""
            _move(text, spot)
            box = text.get_window_extent()
            outside = box.width * box.height if not axes.bbox.padded(-1).containsx(box.x1) else 0.0
            return outside + sum(_overlap(box, other) for other in taken)

        _move(text, min(SPOTS, key=hidden))
        taken.append(text.get_window_extent())


def _move(text: "Annotation", spot: Spot) -> None:
    x, y, text_ha, text_va = spot
    text.set_position((x, y))
    text.set(ha=text_ha, va=text_va)


def _overlap(a: "Bbox", b: "Bbox") -> float:
    width, height = min(a.x1, b.x1) - max(a.x0, b.x0), min(a.y1, b.y1) - max(a.y0, b.y0)
    return width * height if width > 0 and height > 0 else 0.0
