"""The front as a picture. `front_info` collects the facts, `front_figure` draws them, `draw_front` writes a PNG."""

import dataclasses
import io
import itertools
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lstn_search.atomic import write_atomically
from lstn_search.pictures.palette import LIGHT, WIDE, Palette, drawing
from lstn_search.pictures.svg import tell
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
MARKERS = "sD^vP"
"""Of the rungs with joint epochs."""
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


def front_figure(info: FrontInfo, palette: Palette, width: float = 8.0) -> "Figure":
    """The picture, `width` inches wide; for use within `palette.drawing`.

    The large panel shows what is comparable: the schedule of the front, alive. What stopped on a lower rung, or died,
    is in a panel of its own below, with its own axis.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter, StrMethodFormatter

    above, below = _panels(info)
    is_narrow = width < WIDE
    figure = Figure(figsize=(width, 5.2 + 0.8 * bool(below)), dpi=160, layout="constrained")
    rows = [3, 1] if below else [1]
    panels = list(figure.subplots(len(rows), sharex=True, squeeze=False, height_ratios=rows)[:, 0])
    for axes, points in zip(panels, (above, below), strict=False):
        axes.grid(True)
        axes.set_axisbelow(True)
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1,) if is_narrow else (1, 2, 5), numticks=12))
        axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axes.xaxis.set_minor_formatter(NullFormatter())
        _draw_points(axes, points, info, palette)
        if info.cost.name == "gflops":
            axes.axvline(info.budget_gflops, color=palette.alert, lw=1.0, ls="--", zorder=1)
    panels[-1].set_xlabel(f"{info.cost.heading} of the localization net at {info.image_size} px")
    view = "" if info.view == "none" else f" under the {info.view} view"
    panels[0].set_ylabel("top-1 (%)" if is_narrow else f"validation top-1{view} (%)")
    panels[0].set_title(info.title.replace(", ", ",\n", 1) if is_narrow else info.title, fontsize=10.5, pad=18)
    _draw_front(panels[0], info, palette)
    _draw_references(panels[0], above, info, palette)
    for axes in panels[1:]:
        axes.yaxis.set_major_locator(MaxNLocator(3))
        axes.margins(y=0.2)
        what = "stopped on a lower rung, or dead:" + "\n" * is_narrow + " not comparable with those above"
        axes.set_title(what, fontsize=8.5, color=palette.quiet)
    if info.points:
        named = [axes.get_legend_handles_labels() for axes in panels]
        labels = {label: handle for handles, texts in named for handle, label in zip(handles, texts, strict=True)}
        figure.legend(labels.values(), labels, loc="outside lower center", ncols=1 if is_narrow else 3, fontsize=8.5,
                      handletextpad=0.3)  # fmt: skip
    _label_points(figure, list(zip(panels, (above, below), strict=False)), info, palette)
    return figure


def _panels(info: FrontInfo) -> tuple[list[PlotPoint], list[PlotPoint]]:
    """What is comparable, the front among it, and what stopped earlier or died."""
    top = max((p.epochs for p in info.points if p.on_front), default=max((p.epochs for p in info.points), default=0))
    above = [p for p in info.points if p.on_front or (p.epochs == top and not p.is_dead)]
    below = [p for p in info.points if p not in above] if above else []
    return above or list(info.points), below


def _draw_references(axes: "Axes", points: list[PlotPoint], info: FrontInfo, palette: Palette) -> None:
    """Control and oracle as lines across, named in the right margin; the budget's name above its line.

    The axis fits the points, so that the front is large; a reference that is far from them is named at its end.
    """
    heights = [p.accuracy for p in points] + [end for bar in info.bars for end in (bar.low, bar.high)]
    references = [(value, name) for value, name in ((info.oracle, "oracle"), (info.control, "control"))
                  if value is not None]  # fmt: skip
    low, high = (min(heights), max(heights)) if heights else (0.0, 100.0)
    reach = max(0.5 * (high - low), 3.0)
    near = [value for value, _ in references if low - reach <= value <= high + reach]
    low, high = min([low, *near]), max([high, *near])
    pad = 0.09 * max(high - low, 3.0)
    axes.set_ylim(low - pad, high + pad)
    style: dict[str, Any] = {"textcoords": "offset points", "fontsize": 8.5, "annotation_clip": False}
    upper = max(references)[1] if references else ""
    for value, name in references:
        if low <= value <= high:
            axes.axhline(value, color=palette.quiet, lw=0.9, ls=":", zorder=1)
        words, y = f"{name} {value:.1f}", min(max(value, low - pad), high + pad)
        words += " ↑" if value > high else " ↓" if value < low else ""
        words = words if axes.get_figure().get_figwidth() >= WIDE else words.replace(" ", "\n", 1)  # type: ignore[union-attr]
        axes.annotate(words, (1, y), xycoords=("axes fraction", "data"), xytext=(4, 0), color=palette.quiet,
                      va="bottom" if (name == upper and value <= high) or value < low else "top", **style)  # fmt: skip
    if info.cost.name == "gflops":
        axes.annotate(f"budget {info.budget_gflops:g}", (info.budget_gflops, 1), xycoords=("data", "axes fraction"),
                      xytext=(0, 3), color=palette.alert, ha="center", **style)  # fmt: skip


def _draw_points(axes: "Axes", points: list[PlotPoint], info: FrontInfo, palette: Palette) -> None:
    schedules = sorted({p.epochs for p in info.points})
    seeds = [p for p in points if p.is_seed]
    groups: list[tuple[str, list[PlotPoint], dict[str, Any]]] = []
    for rung, epochs in enumerate(schedules):
        colour = palette.rung(rung, len(schedules) - 1)
        style = _ring(colour, 14) if epochs == 0 else _dot(colour, 22) | {"marker": MARKERS[rung % len(MARKERS)]}
        others = [p for p in points if p.epochs == epochs and not (p.is_seed or p.is_dead or p.on_front)]
        groups.append((_schedule(epochs), others, style))
    groups += [
        ("front", [p for p in points if p.on_front], _dot(palette.front, 40)),
        ("seed point", [p for p in seeds if not p.over_budget], _star(palette.seed, palette.seed)),
        ("seed point over budget", [p for p in seeds if p.over_budget], _star(palette.seed, palette.paper)),
        (
            "inert, collapsed or frame reader",
            [p for p in points if p.is_dead],
            _dot(palette.alert, 26) | {"marker": "x", "lw": 1},
        ),
    ]
    for order, (label, group, style) in enumerate(groups, start=3):
        if group:
            xs, ys = [p.cost for p in group], [p.accuracy for p in group]
            is_many = len(group) > MAX_VECTORS
            drawn = axes.scatter(xs, ys, label=label, zorder=order, rasterized=is_many, **style)
            if not is_many:
                tell(drawn, [_tip(p, info.cost) for p in group])


def _tip(point: PlotPoint, cost: Objective) -> str:
    words = [f"{point.name}: {point.accuracy:.1f} %", cost.quote(point.cost), _schedule(point.epochs)]
    words += ["dead"] * point.is_dead + ["over budget"] * point.over_budget
    return ", ".join(words)


def _schedule(epochs: int) -> str:
    if epochs == 0:
        return "recovered only, frozen classifier"
    return f"{epochs} joint epoch{'s' * (epochs != 1)}"


def _staircase(info: FrontInfo) -> list[Pair]:
    """The corners of the front, cheapest first: of a front of more costs those that no other beats in this one."""
    front = [(p.accuracy, p.cost) for p in info.points if p.on_front]
    corners = [(cost, accuracy) for accuracy, cost in (front[i] for i in pareto.front(front))]
    if corners:
        end = max(info.budget_gflops, corners[-1][0]) if info.cost.name == "gflops" else corners[-1][0]
        corners.append((end, corners[-1][1]))
    return corners


def _draw_front(axes: "Axes", info: FrontInfo, palette: Palette) -> None:
    """The front as a staircase, and what a verification says of it."""
    if steps := _staircase(info):
        axes.step(*zip(*steps, strict=True), where="post", color=palette.front, lw=1.8, zorder=2)
    if info.bars:
        xs, means = [bar.cost for bar in info.bars], [bar.mean for bar in info.bars]
        below, above = ([bar.mean - bar.low for bar in info.bars], [bar.high - bar.mean for bar in info.bars])
        bars = axes.errorbar(xs, means, yerr=(below, above), fmt="D", ms=4.5, capsize=3, lw=1.2, color=palette.verified,
                             mfc=palette.paper, label="verified mean, 95 % interval", zorder=9)  # fmt: skip
        tips = [f"{bar.name}: verified {bar.mean:.1f} %, 95 % interval {bar.low:.1f} to {bar.high:.1f}"
                for bar in info.bars]  # fmt: skip
        tell(bars.lines[0], tips)


def _dot(colour: str, area: float) -> dict[str, Any]:
    return {"marker": "o", "color": colour, "s": area, "lw": 0}


def _ring(colour: str, area: float) -> dict[str, Any]:
    return {"marker": "o", "facecolors": "none", "edgecolors": colour, "s": area, "lw": 0.8}


def _star(edge: str, face: str) -> dict[str, Any]:
    return {"marker": "*", "s": 95, "facecolors": face, "edgecolors": edge, "lw": 1.0}


def _label_points(
    figure: "Figure", panels: "list[tuple[Axes, list[PlotPoint]]]", info: FrontInfo, palette: Palette
) -> None:
    """Name the seed points and the front, each name where it hides least of other names, points and the staircase."""
    import numpy as np

    figure.draw_without_rendering()  # fixes the axes' place, so that pixels mean something
    figure.set_layout_engine("none")
    px_per_point = figure.dpi / 72
    texts = [text.get_window_extent() for axes, _ in panels for text in axes.texts]  # of the budget and the references
    taken_N4 = np.array([box.extents for box in texts], dtype=float).reshape(-1, 4)
    for axes, points in panels:
        if points:
            xy_N2 = axes.transData.transform([(p.cost, p.accuracy) for p in points])
            reach_N1 = np.array([[(5.5 if p.is_seed else 3) * px_per_point] for p in points])
            taken_N4 = np.vstack([taken_N4, np.hstack([xy_N2 - reach_N1, xy_N2 + reach_N1])])
    if steps := _staircase(info):
        corners_N2 = panels[0][0].transData.transform(steps)
        for (x0, y0), (x1, y1) in itertools.pairwise(corners_N2):
            across, up = (x0, y0 - px_per_point, x1, y0 + px_per_point), (x1 - px_per_point, y0, x1 + px_per_point, y1)
            taken_N4 = np.vstack([taken_N4, across, up])
    for axes, points in panels:
        named = sorted((p for p in points if p.is_seed or p.on_front), key=lambda p: (not p.is_seed, -p.cost))
        for point in named:
            colour = palette.seed if point.is_seed else palette.front
            is_early = point.epochs < max(p.epochs for p in info.points) and not point.is_dead
            name = f"{point.name} ({point.epochs} epochs)" if is_early else point.name
            text = axes.annotate(name, (point.cost, point.accuracy), xytext=(0, 0), textcoords="offset points",
                                 fontsize=8.5, color=colour, zorder=10)  # fmt: skip
            text.set_in_layout(False)
            size = text.get_window_extent().size
            centre: Any = axes.transData.transform((point.cost, point.accuracy))
            boxes_S4 = np.array([_box(spot, centre, size, px_per_point) for spot in SPOTS])
            hidden_S = [_overlap(box_4, taken_N4) for box_4 in boxes_S4]
            is_outside_S = (boxes_S4[:, 2] > axes.bbox.x1) | (boxes_S4[:, 0] < axes.bbox.x0)
            outside_S = np.where(is_outside_S, size[0] * size[1], 0.0)
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
