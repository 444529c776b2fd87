"""An architecture drawn layer by layer: `architecture_info` collects the rows, `draw_architecture` draws them."""

import dataclasses
from typing import TYPE_CHECKING

from lstn_search.arch import Arch
from lstn_search.cost import cost
from lstn_search.report.palette import Palette

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["ArchitectureInfo", "LayerInfo", "architecture_info", "draw_architecture", "summary"]


@dataclasses.dataclass(kw_only=True, frozen=True, slots=True)
class LayerInfo:
    """A row: one convolution, pooling or linear layer, with the batch norm and activation behind it."""

    name: str
    """`conv3`, `pool3`, `head.hidden`, …"""
    kind: str
    """conv, max-pool, avg-pool or linear."""
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
    rows = tuple(
        LayerInfo(
            name=row.name,
            kind=row.kind,
            what=_words(arch, row.name, row.kind, row.number, row.in_shape),
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
    """An architecture in a line: `dw5/4 1-6 3/2-8 | pool 1, 32`; kernel/stride-width, dw depthwise, p2 max-pool."""
    parts, channels = [], arch.in_channels
    for layer in arch.layers:
        stride = f"/{layer.stride}" if layer.stride > 1 else ""
        pool = f"p{layer.max_pool}" if layer.max_pool > 1 else ""
        if layer.groups == channels == layer.out_channels and layer.groups > 1:
            parts.append(f"dw{layer.kernel}{stride}{pool}")
        else:
            groups = f"g{layer.groups}" if layer.groups > 1 else ""
            parts.append(f"{layer.kernel}{stride}-{layer.out_channels}{groups}{pool}")
        channels = layer.out_channels
    head = "flatten" if arch.head.pool_to is None else f"pool {arch.head.pool_to}"
    return f"{' '.join(parts)} | {head}{f', {arch.head.hidden}' if arch.head.hidden else ''}"


def _words(arch: Arch, name: str, kind: str, number: int, in_shape: tuple[int, ...]) -> str:
    if number == 0:
        hidden = "linear, ReLU" if name == "head.hidden" else "linear: the six numbers of theta"
        return "average-pool" if kind == "avg-pool" else hidden
    layer = arch.layers[number - 1]
    after = [["BN"] if layer.norm == "conv-bn-act" else [], ["ReLU"] if layer.act == "relu" else [],
             ["BN"] if layer.norm == "conv-act-bn" else []]  # fmt: skip
    norm_first, act, norm_last = after
    if kind == "max-pool":
        return ", ".join([f"max {layer.max_pool}×{layer.max_pool}", *act, *norm_last])
    words = f"{layer.kernel}×{layer.kernel}"
    words += f" stride {layer.stride}" if layer.stride > 1 else ""
    if layer.groups > 1:
        words += " depthwise" if layer.groups == in_shape[0] == layer.out_channels else f" in {layer.groups} groups"
    return ", ".join([words, *norm_first, *([] if layer.max_pool > 1 else [*act, *norm_last])])


ROW_INCHES = 0.235
WIDTH_INCHES = 5.6


def draw_architecture(info: ArchitectureInfo, palette: Palette) -> "Figure":
    """The layers from top to bottom: a bar as wide as the map, its shape, parameters, and GFLOPs with their share."""
    from matplotlib.figure import Figure

    num = len(info.layers)
    figure = Figure(figsize=(WIDTH_INCHES, ROW_INCHES * (num + 3.6)), dpi=160)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    axes.set_xlim(0, 100)
    axes.set_ylim(num + 2.4, -1.2)
    colours = {
        "conv": palette.front,
        "max-pool": palette.rungs[1],
        "avg-pool": palette.rungs[1],
        "linear": palette.seed,
    }
    centre, full, small, left = 44.0, 13.0, {"fontsize": 8}, {"va": "center"}
    axes.text(1, -0.6, info.name, fontsize=10.5, fontweight="bold", **left)
    axes.text(centre, -0.6, f"map, {info.image_size} px in", ha="center", color=palette.quiet, **small, **left)
    for x, heading in ((67.5, "shape"), (79.5, "params"), (91.5, "GFLOPs")):
        axes.text(x, -0.6, heading, ha="right", color=palette.quiet, **small, **left)
    top = max((row.gflops for row in info.layers), default=0.0)
    image = LayerInfo(
        name="image",
        kind="image",
        what="",
        out_shape=(info.in_channels, info.image_size, info.image_size),
        params=0,
        gflops=0.0,
    )
    for y, row in enumerate((image, *info.layers), start=0):
        middle = y + 0.4
        axes.text(1, middle, row.name, **small, **left)
        axes.text(13, middle, row.what, color=palette.quiet, fontsize=7.5, **left)
        side = row.out_shape[1] / info.image_size if len(row.out_shape) == 3 else 0.0
        width = max(full * side, 0.5)
        axes.barh(middle, width, 0.66, centre - width / 2, color=colours.get(row.kind, palette.rungs[0]), lw=0)
        axes.text(67.5, middle, "×".join(map(str, row.out_shape)), ha="right", **small, **left)
        if row is not image:
            axes.text(79.5, middle, f"{row.params:,}", ha="right", **small, **left)
            axes.text(91.5, middle, f"{row.gflops:.5f}", ha="right", **small, **left)
            axes.barh(middle, 7 * row.gflops / top if top else 0, 0.5, 92.5, color=palette.rungs[1], lw=0)
    end = num + 1.1
    axes.plot([1, 99.5], [end, end], color=palette.rule, lw=0.8)
    axes.text(1, end + 0.55, "total", fontweight="bold", **small, **left)
    for x, total in ((79.5, f"{info.params:,}"), (91.5, f"{info.gflops:.5f}")):
        axes.text(x, end + 0.55, total, ha="right", fontweight="bold", **small, **left)
    return figure
