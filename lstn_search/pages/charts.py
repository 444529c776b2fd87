"""The charts of a report, but for the front (front_plot.py) and the architectures (architecture_plot.py).

Each takes the facts of one section, a palette and a width in inches (palette.WIDE or NARROW) and returns a figure; all
are for use within `palette.drawing`.
"""

from typing import TYPE_CHECKING

from lstn_search.pages.facts.growth import GrowthInfo
from lstn_search.pages.facts.ledger import LedgerInfo
from lstn_search.pages.facts.marginals import ChoiceInfo
from lstn_search.pages.facts.theta import ThetaInfo, ThetaPoint
from lstn_search.pictures.palette import WIDE, Palette, bare, make_figure
from lstn_search.pictures.svg import tell
from lstn_search.spec.results import COLLAPSED_OUT_OF_FRAME, DEAD, INERT_SPREAD

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.figure import Figure

    from lstn_search.ranking.rank import Correlation
    from lstn_search.verification.result import Finalist

__all__ = ["fidelity_figure", "growth_figure", "ledger_figure", "marginals_figure", "theta_figure", "verified_figure"]

MAX_VECTORS = 500
"""More points of a kind are drawn as pixels, without tips."""


def growth_figure(info: GrowthInfo, palette: Palette, width: float = WIDE) -> "Figure":
    """The hypervolume over the hours of training, as a staircase."""
    figure, axes = make_figure(width, 2.8)
    last = info.points[-1].seconds
    unit, name = (3600.0, "hours") if last > 3 * 3600 else (60.0, "minutes") if last > 180 else (1.0, "seconds")
    xs = [0.0, *(point.seconds / unit for point in info.points)]
    ys = [0.0, *(info.height(point.hypervolume) for point in info.points)]
    axes.step(xs, ys, where="post", color=palette.front, lw=1.6)
    axes.fill_between(xs, ys, step="post", color=palette.front, alpha=0.10, lw=0)
    if len(info.points) <= MAX_VECTORS:
        marks = axes.scatter(xs[1:], ys[1:], s=9, color=palette.front, lw=0)
        fronts = [f"{point.num_on_front} on the front of {point.num_architectures}" for point in info.points]
        rows = zip(xs[1:], ys[1:], fronts, strict=True)
        tell(marks, [f"{y:.1f} points after {x:.0f} {name}, {front}" for x, y, front in rows])
    if info.seeds_hypervolume > 0:
        height = info.height(info.seeds_hypervolume)
        axes.axhline(height, color=palette.seed, lw=1.0, ls="--")
        axes.annotate("seed points alone", (1, height), xycoords=("axes fraction", "data"), xytext=(0, -3),
                      textcoords="offset points", ha="right", va="top", fontsize=8.5, color=palette.seed)  # fmt: skip
    axes.set_xlim(0, 1.02 * xs[-1] or 1)
    axes.set_ylim(bottom=0)
    axes.set_xlabel(f"{name} of training architectures")
    axes.set_ylabel("points above the reference,\naveraged over budgets")
    return figure


def verified_figure(finalists: "Sequence[Finalist]", palette: Palette, width: float = WIDE) -> "Figure":
    """What the search measured beside the verified mean and its interval: validation accuracy, a row a finalist."""
    figure, axes = make_figure(width, 0.9 + 0.3 * len(finalists))
    bare(axes)
    for y, row in enumerate(finalists):
        if row.low_val is not None and row.high_val is not None:
            axes.plot([row.low_val, row.high_val], [y, y], color=palette.verified, lw=2)
        if row.mean_val is not None:
            label = "verified mean, 95 % interval"
            (mark,) = axes.plot(row.mean_val, y, "D", ms=5.5, color=palette.verified, label="" if y else label)
            interval = "one seed, no interval" if row.low_val is None else f"{row.low_val:.1f} to {row.high_val:.1f}"
            tell(mark, [f"{row.name}: verified {row.mean_val:.1f} % ({interval})"])
        if row.searched_top1 is not None:
            label = "" if y else "in the search"
            (mark,) = axes.plot(row.searched_top1, y, "o", ms=5.5, mfc="none", color=palette.quiet, label=label)
            tell(mark, [f"{row.name}: {row.searched_top1:.1f} % in the search"])
    axes.set_yticks(range(len(finalists)), [row.name for row in finalists])
    axes.set_ylim(len(finalists) - 0.4, -0.6)
    axes.grid(False, axis="x")
    axes.set_xlabel("validation top-1 (%)")
    figure.legend(loc="outside upper left", ncols=1 if _is_narrow(width) else 2)
    return figure


def marginals_figure(choices: "Sequence[ChoiceInfo]", palette: Palette, width: float = WIDE) -> "Figure":
    """A panel a choice: mean and standard deviation of the networks with each value, the number of them below it."""
    from matplotlib.figure import Figure

    columns = 1 if _is_narrow(width) else 2
    rows = -(-len(choices) // columns)
    figure = Figure(figsize=(width, 0.35 + 1.75 * rows), dpi=160, layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False, sharey=True).flatten()
    for axes, choice in zip(panels, choices, strict=False):
        axes.grid(True, axis="y")
        axes.set_axisbelow(True)
        for x, value in enumerate(choice.values):
            spread = value.spread or 0.0
            axes.plot([x, x], [value.mean - spread, value.mean + spread], color=palette.fill, lw=1.4)
            face = palette.front if value.num > 1 else palette.paper
            (mark,) = axes.plot(x, value.mean, "o", ms=5, color=palette.front, mfc=face)
            deviation = "" if value.spread is None else f", standard deviation {value.spread:.1f}"
            tell(mark, [f"{choice.name} {value.value}: mean {value.mean:.1f} % of n = {value.num}{deviation}"])
        labels = [f"{value.value}\nn = {value.num}" for value in choice.values]
        is_tight = len(labels) > 5 or max(len(value.value) for value in choice.values) > 10
        axes.set_xticks(range(len(labels)), labels, fontsize=7.5 if is_tight else 8.5)
        axes.set_xlim(-0.6, len(labels) - 0.4)
        axes.set_title(choice.name, fontsize=9.5)
    for axes in panels[len(choices) :]:
        axes.set_axis_off()
    figure.supylabel("accuracy at rung 0 (%)", fontsize=9)
    return figure


def fidelity_figure(correlations: "Sequence[Correlation]", palette: Palette, width: float = WIDE) -> "Figure":
    """Kendall's tau with its interval, a row a pair of measures, named above it where there is no room beside it."""
    is_narrow = _is_narrow(width)
    figure, axes = make_figure(width, 0.7 + (0.4 if is_narrow else 0.27) * len(correlations))
    bare(axes)
    against = correlations[0].b
    labels = [row.a if row.b == against else f"{row.a} → {row.b}" for row in correlations]
    labels = [f"{label}, n = {row.num}" for label, row in zip(labels, correlations, strict=True)]
    for y, (row, label) in enumerate(zip(correlations, labels, strict=True)):
        colour = palette.alert if row.is_doubtful else palette.front
        if row.low is not None and row.high is not None:
            axes.plot([row.low, row.high], [y, y], color=colour, lw=1.6)
        if row.tau is not None:
            (mark,) = axes.plot(row.tau, y, "o", ms=5, color=colour, mfc=palette.paper if row.low is None else colour)
            tell(mark, [row.sentence])
        if is_narrow:
            named = axes.annotate(label, (-1.05, y), xytext=(0, 4), textcoords="offset points", fontsize=8)
            named.set_in_layout(False)
    axes.axvline(0, color=palette.quiet, lw=0.9)
    axes.set_yticks([] if is_narrow else range(len(correlations)), [] if is_narrow else labels, fontsize=8.5)
    axes.set_ylim(len(correlations) - 0.4, -0.8)
    axes.set_xlim(-1.05, 1.05)
    axes.grid(False, axis="y")
    axes.set_xlabel(f"Kendall's tau against {against}")
    return figure


def theta_figure(info: ThetaInfo, palette: Palette, width: float = WIDE) -> "Figure":
    """Every architecture's spread and share of points out of frame, with the bounds beyond which it counts as dead."""
    from matplotlib.ticker import PercentFormatter

    figure, axes = make_figure(width, 3.4)
    dead = [p for p in info.points if p.status in DEAD]
    alive = [p for p in info.points if p.status not in DEAD]
    groups: list[tuple[str, list[ThetaPoint], str, str]] = [
        ("searched", [p for p in alive if not (p.is_seed or p.on_front)], "o", palette.fill),
        ("front", [p for p in alive if p.on_front], "o", palette.front),
        ("seed point", [p for p in alive if p.is_seed and not p.on_front], "*", palette.seed),
        ("inert, collapsed or frame reader", dead, "x", palette.alert),
    ]
    for label, points, marker, colour in groups:
        if points:
            xs, ys = [p.spread for p in points], [p.out_of_frame for p in points]
            area = {"o": 22, "*": 80, "x": 26}[marker]
            is_many = len(points) > MAX_VECTORS
            drawn = axes.scatter(xs, ys, s=area, marker=marker, color=colour, lw=0 if marker != "x" else 1, label=label,
                                 rasterized=is_many)  # fmt: skip
            if not is_many:
                tell(drawn, [f"{p.name}: spread {p.spread:.3f}, {100 * p.out_of_frame:.1f} % outside" for p in points])
    axes.axvline(INERT_SPREAD, color=palette.alert, lw=0.9, ls=":")
    axes.annotate("inert", (INERT_SPREAD, 0.98), xycoords=("data", "axes fraction"), xytext=(-3, 0), va="top",
                  ha="right", textcoords="offset points", color=palette.alert, fontsize=8.5)  # fmt: skip
    if any(p.out_of_frame > 0.9 * COLLAPSED_OUT_OF_FRAME for p in info.points):
        axes.axhline(COLLAPSED_OUT_OF_FRAME, color=palette.alert, lw=0.9, ls=":")
    right = max([*(p.spread for p in info.points), 0.05])
    axes.set_xlim(-0.06 * right, 1.06 * right)
    top = max([*(p.out_of_frame for p in info.points), 0.1])
    axes.set_ylim(-0.04 * top, 1.1 * top)
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    axes.set_xlabel("spread of theta over images")
    axes.set_ylabel("sampling points outside the image")
    figure.legend(loc="outside lower center", ncols=2 if _is_narrow(width) else 4, handletextpad=0.3)
    return figure


def ledger_figure(info: LedgerInfo, palette: Palette, width: float = WIDE) -> "Figure":
    """Seconds a stage, as bars with their share."""
    stages = [stage for stage in info.stages if stage.seconds > 0]
    figure, axes = make_figure(width, 0.5 + 0.3 * len(stages))
    bare(axes)
    colours = [palette.alert if stage.name.startswith("failed") else palette.fill for stage in stages]
    bars = axes.barh(range(len(stages)), [stage.seconds for stage in stages], height=0.62, color=colours)
    for y, (stage, bar) in enumerate(zip(stages, bars, strict=True)):
        share = 100 * stage.seconds / info.seconds
        tell(bar, [f"{stage.name}: {stage.num} in {stage.seconds:,.0f} s, {share:.0f} %"])
        axes.annotate(f"{stage.seconds:,.0f} s, {share:.0f} %", (stage.seconds, y), xytext=(4, 0), va="center",
                      textcoords="offset points", fontsize=8.5)  # fmt: skip
    axes.set_yticks(range(len(stages)), [stage.name for stage in stages])
    axes.set_ylim(len(stages) - 0.4, -0.6)
    axes.set_xlim(0, (1.9 if _is_narrow(width) else 1.22) * max(stage.seconds for stage in stages))
    axes.set_xticks([])
    axes.grid(False)
    return figure


def _is_narrow(width: float) -> bool:
    return width < WIDE
