"""An architecture drawn layer by layer: `architecture_info` collects the rows, `draw_architecture` draws them."""

import dataclasses
from typing import TYPE_CHECKING, Any

from lstn_search.pictures.palette import WIDE, Palette
from lstn_search.pictures.svg import tell
from lstn_search.spec.arch import Arch
from lstn_search.spec.cost import cost
from lstn_search.spec.operations import arch_operations, arch_rows, end_words
from lstn_search.spec.warp_families import DEFAULT_WARP

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["ArchitectureInfo", "LayerInfo", "architecture_info", "draw_architecture", "summary"]


@dataclasses.dataclass(kw_only=True, frozen=True, slots=True)
class LayerInfo:
    """A row: one convolution, pooling or linear layer, with the batch norm and activation behind it."""

    name: str
    """`conv3`, `pool3`, `head.hidden`, …"""
    kind: str
    """conv, max-pool, avg-pool, soft-argmax or linear."""
    what: str
    """In words: `3×3 stride 2, BN, ReLU`."""
    out_shape: tuple[int, ...]
    """(C, H, W), or (features,)."""
    params: int
    gflops: float


@dataclasses.dataclass(kw_only=True, frozen=True, slots=True)
class ArchitectureInfo:
    """All rows of one architecture, from the image to theta."""

    name: str
    image_size: int
    in_channels: int
    layers: tuple[LayerInfo, ...]
    params: int
    gflops: float


def architecture_info(arch: Arch, image_size: int, name: str) -> ArchitectureInfo:
    """The rows of `arch` at `image_size`. Raises ArchError when it cannot be built there."""
    facts = cost(arch, image_size)
    words = (row.short for row in arch_rows(arch))
    others = end_words(arch)
    rows = tuple(
        LayerInfo(
            name=row.name,
            kind=row.kind,
            what=others[row.name] if row.number == 0 else next(words),
            out_shape=row.out_shape,
            params=row.params,
            gflops=row.flops / 1e9,
        )
        for row in facts.layers
    )
    return ArchitectureInfo(
        name=name,
        image_size=image_size,
        in_channels=arch.in_channels,
        layers=rows,
        params=facts.params,
        gflops=facts.gflops,
    )


def summary(arch: Arch) -> str:
    """An architecture in a line: `look 64 | dw5/4 1-6 3/2-8 | pool 1, 32`; kernel/stride-width, dw depthwise, p2
    max-pool.
    """
    parts = ["".join(operation.sign for operation in layer) for layer in arch_operations(arch)]
    pool = arch.head.pool_to
    head = [pool if isinstance(pool, str) else "flatten" if pool is None else f"pool {pool}"]
    head += [str(arch.head.hidden)] * (arch.head.hidden > 0) + [arch.head.warp] * (arch.head.warp != DEFAULT_WARP)
    look = "" if arch.look is None else f"look {arch.look} | "
    return f"{look}{' '.join(parts)} | {', '.join(head)}"


ROW_INCHES = 0.235
X_WORDS, X_MAP = 19.0, 56.0
"""Places of the columns, in percent of the width: left edge, centre. A narrow drawing is without the words."""
RIGHT_EDGES = {True: (50.0, 69.0, 89.0), False: (75.5, 84.5, 94.0)}
"""Of shape, parameters and GFLOPs, by whether it is narrow."""
MAP_WIDTH = 12.0
"""Of the image; smaller maps are narrower in proportion."""


def draw_architecture(info: ArchitectureInfo, palette: Palette, width: float = WIDE) -> "Figure":
    """The layers from top to bottom: a bar as wide as the map, its shape, parameters, and GFLOPs with their share."""
    from matplotlib.figure import Figure

    num, is_narrow = len(info.layers), width < WIDE
    figure = Figure(figsize=(width, ROW_INCHES * (num + 3.6)), dpi=160)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    axes.set_xlim(0, 100)
    axes.set_ylim(num + 2.4, -1.2)
    x_shape, x_params, x_gflops = RIGHT_EDGES[is_narrow]

    def say(x: float, y: float, text: str, **style: Any) -> None:
        axes.text(x, y, text, **{"fontsize": 8, "va": "center", **style})

    def bar(x: float, y: float, width: float, height: float, colour: str, tip: str = "") -> None:
        (drawn,) = axes.barh(y, width, height, x, color=colour, lw=0)
        if tip:
            tell(drawn, [tip])

    say(1, -0.6, info.name, fontsize=10.5, fontweight="bold")
    for x, heading in ((x_shape, "shape"), (x_params, "params"), (x_gflops, "GFLOPs")):
        say(x, -0.6, heading, ha="right", color=palette.quiet)
    if not is_narrow:
        say(X_MAP, -0.6, "map", ha="center", color=palette.quiet)

    colours = {"conv": palette.front, "linear": palette.seed}
    top = max(row.gflops for row in info.layers) or 1.0
    size = info.image_size
    image = ("image", "", "image", (info.in_channels, size, size))
    shapes = [image, *((row.name, row.what, row.kind, row.out_shape) for row in info.layers)]
    for y, (name, what, kind, shape) in enumerate(shapes):
        say(1, y + 0.4, name)
        say(x_shape, y + 0.4, "×".join(map(str, shape)), ha="right")
        if not is_narrow:
            say(X_WORDS, y + 0.4, what, color=palette.quiet, fontsize=7.5)
            side = max(MAP_WIDTH * shape[1] / size, 0.5) if len(shape) == 3 else 0.5
            bar(X_MAP - side / 2, y + 0.4, side, 0.66, colours.get(kind, palette.fill))
    for y, row in enumerate(info.layers, start=1):
        say(x_params, y + 0.4, f"{row.params:,}", ha="right")
        say(x_gflops, y + 0.4, f"{row.gflops:.5f}", ha="right")
        share = 100 * row.gflops / info.gflops if info.gflops else 0.0
        tip = f"{row.name}: {row.what}; {share:.0f} % of the GFLOPs"
        bar(x_gflops + 0.7, y + 0.4, (99.5 - x_gflops - 0.7) * row.gflops / top, 0.5, palette.fill, tip)
    end = num + 1.1
    axes.plot([1, 99.5], [end, end], color=palette.rule, lw=0.8)
    say(1, end + 0.55, "total", fontweight="bold")
    say(x_params, end + 0.55, f"{info.params:,}", ha="right", fontweight="bold")
    say(x_gflops, end + 0.55, f"{info.gflops:.5f}", ha="right", fontweight="bold")
    return figure
