"""The front as a picture. `front_info` collects the facts, `front_figure` draws them, `draw_front` writes a PNG."""

import dataclasses
import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lstn_search.atomic import write_atomically
from lstn_search.pictures.palette import LIGHT, Palette, drawing, make_figure
from lstn_search.runs.run import Run
from lstn_search.spec import pareto
from lstn_search.spec.objectives import OBJECTIVES, Objective, front_name
from lstn_search.spec.results import DEAD

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


__all__ = ["ErrorBar", "FrontInfo", "PlotPoint", "draw_front", "front_figure", "front_info"]

Pair = tuple[float, float]

Spot = tuple[float, float, str, str]
"""Where a name stands: offset from its point in typographical points, horizontal and vertical alignment."""
SPOTS: tuple[Spot, ...] = tuple(
    (reach * x, reach * y, {-1: "right", 0: "center", 1: "left"}[x], {-1: "top", 0: "center", 1: "bottom"}[y])
    for reach in (4, 8, 14)
    for x, y in ((-1, 1), (0, 1), (1, -1), (0, -1), (1, 0), (-1, 0), (1, 1), (-1, -1))
)
"""Above and to the left of the front is free, so that comes first; nearer before farther."""
MAX_VECTORS = 500
"""More points of a kind are drawn as pixels, in an SVG too."""


@dataclasses.dataclass(kw_only=True, frozen=True, slots=True)
class PlotPoint:
    """One trained architecture."""

    name: str
    cost: float
    accuracy: float
    is_seed: bool
    over_budget: bool
    on_front: bool
    is_dead: bool
    epochs: int = 0
    """Joint epochs behind the accuracy; 0: recovered only, scored through the frozen classifier."""


@dataclasses.dataclass(kw_only=True, frozen=True, slots=True)
class ErrorBar:
    """What a verification says of one architecture: its mean validation accuracy and the 95 % interval, in percent."""

    name: str
    cost: float
    mean: float
    low: float
    high: float


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
    bars: tuple[ErrorBar, ...] = ()
    cost: Objective = OBJECTIVES["gflops"]
    """What the picture runs over: the first of the objectives' costs. The budget is drawn when that is GFLOPs."""


def front_info(run: Run, bars: tuple[ErrorBar, ...] = ()) -> FrontInfo:
    """The facts of a run's front; failed trials have no accuracy and are left out."""
    settings = run.folder.settings
    on_front = {entry.candidate.number for entry in run.front}
    title = f"{run.task.dataset}, classifier {run.task.backbone}, seed {run.task.seed}"
    front, cost = front_name(settings.objectives), settings.costs[0]
    return FrontInfo(
        title=title if front == "front" else f"{title}; {front}",
        budget_gflops=settings.budget_gflops - settings.overhead_gflops,
        image_size=run.task.image_size,
        view=run.task.view,
        control=run.references.control[-1].accuracy if run.references.control else None,
        oracle=run.references.oracle[-1].accuracy if run.references.oracle and run.task.has_oracle else None,
        points=tuple(
            PlotPoint(
                name=entry.candidate.name,
                cost=entry.candidate.costs[0],
                accuracy=entry.accuracy,
                is_seed=entry.candidate.is_seed,
                over_budget=entry.candidate.over_budget,
                on_front=entry.candidate.number in on_front,
                is_dead=entry.status in DEAD,
                epochs=entry.result.epochs or 0,
            )
            for entry in run.entries
            if entry.results and entry.result.accuracy is not None
        ),
        bars=bars,
        cost=cost,
    )


def draw_front(info: FrontInfo, file: Path) -> None:
    """Write the picture as a PNG. Raises OSError when it cannot be written."""
    buffer = io.BytesIO()
    with drawing(LIGHT):
        front_figure(info, LIGHT).savefig(buffer, format="png")
    write_atomically(file, buffer.getvalue())


def front_figure(info: FrontInfo, palette: Palette, *, width: float = 8.0, height: float = 5.2) -> "Figure":
    """The picture, of `width` x `height` inches; for use within `palette.drawing`."""
    from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

    figure, axes = make_figure(width, height)
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5), numticks=12))
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel(f"{info.cost.heading} of the localization net at {info.image_size} px")
    axes.set_ylabel(f"validation top-1{'' if info.view == 'none' else f' under the {info.view} view'} (%)")
    axes.set_title(info.title, fontsize=10.5, loc="left", pad=18)
    _draw_references(axes, info, palette)
    _draw_points(axes, info, palette)
    if info.points:
        figure.legend(loc="outside lower center", ncols=3, fontsize=8.5, handletextpad=0.3)
    _label_points(figure, axes, info, palette)
    return figure


def _draw_references(axes: "Axes", info: FrontInfo, palette: Palette) -> None:
    """Control and oracle as lines across, named in the right margin; the budget as a line up, named above it."""
    style: dict[str, Any] = {"textcoords": "offset points", "fontsize": 8.5, "annotation_clip": False}
    level = [(value, name) for value, name in ((info.oracle, "oracle"), (info.control, "control")) if value is not None]
    upper = max(level)[1] if level else ""
    for value, name in level:
        axes.axhline(value, color=palette.quiet, lw=0.9, ls=":", zorder=1)
        axes.annotate(f"{name} {value:.1f}", (1, value), xycoords=("axes fraction", "data"), xytext=(4, 0),
                      color=palette.quiet, va="bottom" if name == upper else "top", **style)  # fmt: skip
    if info.cost.name != "gflops":
        return
    axes.axvline(info.budget_gflops, color=palette.alert, lw=1.0, ls="--", zorder=1)
    axes.annotate(f"budget {info.budget_gflops:g}", (info.budget_gflops, 1), xycoords=("data", "axes fraction"),
                  xytext=(0, 3), color=palette.alert, ha="center", **style)  # fmt: skip


def _draw_points(axes: "Axes", info: FrontInfo, palette: Palette) -> None:
    seeds = [p for p in info.points if p.is_seed]
    others = [p for p in info.points if not (p.is_seed or p.is_dead or p.on_front)]
    schedules = sorted({p.epochs for p in info.points})
    groups: list[tuple[str, list[PlotPoint], dict[str, Any]]] = []
    for rung, epochs in enumerate(schedules):
        colour = palette.rung(rung, len(schedules) - 1)
        style = _ring(colour, 14) if epochs == 0 else _dot(colour, 14 + 4 * rung)
        name = "recovered only, frozen classifier" if epochs == 0 else f"{epochs} joint epochs"
        groups.append((name, [p for p in others if p.epochs == epochs], style))
    groups += [
        ("front", [p for p in info.points if p.on_front], _dot(palette.front, 34)),
        ("seed point", [p for p in seeds if not p.over_budget], _star(palette.seed, palette.seed)),
        ("seed point over budget", [p for p in seeds if p.over_budget], _star(palette.seed, palette.paper)),
        (
            "inert, collapsed or frame reader",
            [p for p in info.points if p.is_dead],
            _dot(palette.alert, 26) | {"marker": "x", "lw": 1},
        ),
    ]
    for order, (label, points, style) in enumerate(groups, start=3):
        if points:
            xs, ys = [p.cost for p in points], [p.accuracy for p in points]
            axes.scatter(xs, ys, label=label, zorder=order, rasterized=len(points) > MAX_VECTORS, **style)
    front = [(p.accuracy, p.cost) for p in info.points if p.on_front]
    steps = [front[i] for i in pareto.front(front)]  # of a front of more costs those that no other beats in this one
    if steps:
        ys, xs = [y for y, _ in steps], [x for _, x in steps]
        end = max(info.budget_gflops, xs[-1]) if info.cost.name == "gflops" else xs[-1]
        axes.step([*xs, end], [*ys, ys[-1]], where="post", color=palette.front, lw=1.5,
                  zorder=2)  # fmt: skip
    if info.bars:
        xs, means = [bar.cost for bar in info.bars], [bar.mean for bar in info.bars]
        below, above = ([bar.mean - bar.low for bar in info.bars], [bar.high - bar.mean for bar in info.bars])
        axes.errorbar(xs, means, yerr=(below, above), fmt="D", ms=4.5, capsize=3, lw=1.2, color=palette.verified,
                      mfc=palette.paper, label="verified mean, 95 % interval", zorder=9)  # fmt: skip


def _dot(colour: str, area: float) -> dict[str, Any]:
    return {"marker": "o", "color": colour, "s": area, "lw": 0}


def _ring(colour: str, area: float) -> dict[str, Any]:
    return {"marker": "o", "facecolors": "none", "edgecolors": colour, "s": area, "lw": 0.8}


def _star(edge: str, face: str) -> dict[str, Any]:
    return {"marker": "*", "s": 95, "facecolors": face, "edgecolors": edge, "lw": 1.0}


def _label_points(figure: "Figure", axes: "Axes", info: FrontInfo, palette: Palette) -> None:
    """Name the seed points and the front, each name where it hides least of the other names and points."""
    import numpy as np

    figure.draw_without_rendering()  # fixes the axes' place, so that pixels mean something
    figure.set_layout_engine("none")
    px_per_point = figure.dpi / 72
    texts = [text.get_window_extent() for text in axes.texts]  # of the budget and the references
    taken_N4 = np.array([box.extents for box in texts], dtype=float).reshape(-1, 4)
    if info.points:
        xy_N2 = axes.transData.transform([(p.cost, p.accuracy) for p in info.points])
        reach_N1 = np.array([[(5.5 if p.is_seed else 3) * px_per_point] for p in info.points])
        taken_N4 = np.vstack([taken_N4, np.hstack([xy_N2 - reach_N1, xy_N2 + reach_N1])])
    for point in sorted((p for p in info.points if p.is_seed or p.on_front), key=lambda p: (not p.is_seed, -p.cost)):
        colour = palette.seed if point.is_seed else palette.front
        text = axes.annotate(point.name, (point.cost, point.accuracy), xytext=(0, 0), textcoords="offset points",
                             fontsize=8.5, color=colour, zorder=10)  # fmt: skip
        text.set_in_layout(False)
        size = text.get_window_extent().size
        centre: Any = axes.transData.transform((point.cost, point.accuracy))
        boxes_S4 = np.array([_box(spot, centre, size, px_per_point) for spot in SPOTS])
        hidden_S = [_overlap(box_4, taken_N4) for box_4 in boxes_S4]
        outside_S = np.where(boxes_S4[:, 2] > axes.bbox.x1, size[0] * size[1], 0.0)
        best = int(np.argmin(hidden_S + outside_S))
        x, y, text_ha, text_va = SPOTS[best]
        text.set_position((x, y))
        text.set(ha=text_ha, va=text_va)
        taken_N4 = np.vstack([taken_N4, boxes_S4[best]])


def _box(spot: Spot, centre: Pair, size: Pair, px_per_point: float) -> tuple[float, float, float, float]:
    """Where a text of `size` pixels lies that stands at `spot` beside `centre`: x0, y0, x1, y1."""
    x, y, text_ha, text_va = spot
    x0 = centre[0] + x * px_per_point - {"left": 0.0, "center": 0.5, "right": 1.0}[text_ha] * size[0]
    y0 = centre[1] + y * px_per_point - {"bottom": 0.0, "center": 0.5, "top": 1.0}[text_va] * size[1]
    return x0, y0, x0 + size[0], y0 + size[1]


def _overlap(box_4: "np.ndarray[Any, Any]", taken_N4: "np.ndarray[Any, Any]") -> float:
    """The area a box shares with others, added up."""
    width_N = taken_N4[:, 2].clip(max=box_4[2]) - taken_N4[:, 0].clip(min=box_4[0])
    height_N = taken_N4[:, 3].clip(max=box_4[3]) - taken_N4[:, 1].clip(min=box_4[1])
    return float((width_N.clip(min=0) * height_N.clip(min=0)).sum())
