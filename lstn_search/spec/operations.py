"""What a layer is made of: one row an operation, with its sizes, its counts, its words and its torch module.

Cost, localizer, exported source, drawing and tables all read these rows, so that they cannot disagree.
"""

import functools
from typing import Literal, NamedTuple

from lstn_search.spec.arch import Arch, Layer
from lstn_search.spec.warp_families import WARP_FAMILIES

__all__ = [
    "CONV_DEFAULTS",
    "Operation",
    "Value",
    "arch_operations",
    "arch_rows",
    "end_words",
    "layer_rows",
    "operations",
]

Value = int | bool

CONV_DEFAULTS = {"stride": 1, "padding": 0, "groups": 1}
"""The options of a convolution, which are left out where they have these values."""


class Operation(NamedTuple):
    """One operation on a square map. Counts are for one pixel of its output."""

    name: str
    """In the source of an exported net: `conv`, `bn`, `pool2`."""
    noun: str
    words: str
    """In a table of layers: `conv 3x3, stride 2, pad 1`."""
    short: str
    """In a drawing: `3×3 stride 2`."""
    sign: str
    """In an architecture of one line: `3/2-8`, `p2`."""
    module: str
    """In torch.nn; but `Residual` is nets/localizer.py's, around the modules of the last `layer.skip` layers."""
    args: tuple[tuple[str, Value], ...]
    """Positional arguments of the module, under names of ours."""
    options: tuple[tuple[str, Value], ...]
    """Keyword arguments of the module."""
    out_channels: int
    kind: Literal["conv", "max-pool", ""] = ""
    """Of the row it has in a table of layers; none when it stands in the row before."""
    window: int = 1
    stride: int = 1
    padding: int = 0
    params: int = 0
    norm_params: int = 0
    """How many of `params` belong to a batch norm."""
    macs: int = 0
    flops: int = 0
    """In the paper's convention, see cost.py."""


@functools.lru_cache(maxsize=1 << 14)
def operations(layer: Layer, in_channels: int) -> tuple[Operation, ...]:
    """The operations of `layer`, in the order its docstring gives."""
    norm = [_batch_norm(layer.out_channels)]
    return (
        _convolution(layer, in_channels),
        *norm * (layer.norm == "conv-bn-act"),
        *[_max_pool(layer.out_channels, layer.max_pool)] * (layer.max_pool > 1),
        *[_relu(layer.out_channels)] * (layer.act == "relu"),
        *norm * (layer.norm == "conv-act-bn"),
        *[_add(layer.out_channels, layer.skip)] * (layer.skip > 0),
    )


@functools.lru_cache(maxsize=1 << 14)
def layer_rows(layer: Layer, in_channels: int) -> tuple[Operation, ...]:
    """The operations of `layer` as rows of a table: each convolution or pooling with what stands behind it."""
    found: list[Operation] = []
    for operation in operations(layer, in_channels):
        if operation.kind:
            found.append(operation)
            continue
        row = found[-1]
        found[-1] = row._replace(
            words=f"{row.words}, {operation.words}",
            short=f"{row.short}, {operation.short}",
            params=row.params + operation.params,
            norm_params=row.norm_params + operation.norm_params,
            flops=row.flops + operation.flops,
        )
    return tuple(found)


def arch_operations(arch: Arch) -> list[tuple[Operation, ...]]:
    """The operations of each layer of `arch`."""
    return [operations(layer, in_channels) for layer, in_channels in zip(arch.layers, arch.inputs, strict=True)]


def arch_rows(arch: Arch) -> list[Operation]:
    """The rows of all layers of `arch`: those of `cost` in front of the head."""
    return [
        row for layer, channels in zip(arch.layers, arch.inputs, strict=True) for row in layer_rows(layer, channels)
    ]


def end_words(arch: Arch) -> dict[str, str]:
    """In words, by name, the rows that `cost` gives an architecture in front of its layers and behind them."""
    return {
        "look": "average the image",
        "head.pool": "average-pool",
        "head.soft-argmax": "x, y, spread, mean",
        "head.hidden": "linear, ReLU",
        "head.theta": f"linear: {len(WARP_FAMILIES[arch.head.warp].params)} numbers, {arch.head.warp}",
    }


# -- the table ---------------------------------------------------------------------------------------------------------


def _convolution(layer: Layer, in_channels: int) -> Operation:
    kernel, stride, padding, groups, width = (
        layer.kernel, layer.stride, layer.padding, layer.groups, layer.out_channels)  # fmt: skip
    depthwise = groups == in_channels == width > 1
    grouped = groups > 1 and not depthwise
    strided = stride > 1
    weights = width * (in_channels // groups) * kernel * kernel
    options = {"stride": stride, "padding": padding, "groups": groups}
    return Operation(
        name="depthwise" if depthwise else "conv",
        noun="depthwise convolution" if depthwise else "convolution",
        words=f"{'depthwise' if depthwise else 'conv'} {kernel}x{kernel}"
        + f", stride {stride}" * strided + f", pad {padding}" * (padding > 0) + f", {groups} groups" * grouped,
        short=f"{kernel}×{kernel}" + f" stride {stride}" * strided
        + " depthwise" * depthwise + f" in {groups} groups" * grouped,
        sign="dw" * depthwise + str(kernel) + f"/{stride}" * strided
        + f"-{width}" * (not depthwise) + f"g{groups}" * grouped,
        module="Conv2d",
        args=(("in_channels", in_channels), ("out_channels", width), ("kernel", kernel)),
        options=tuple((name, value) for name, value in options.items() if value != CONV_DEFAULTS[name]),
        out_channels=width,
        kind="conv",
        window=kernel,
        stride=stride,
        padding=padding,
        params=weights + width,
        macs=weights,
        flops=weights + width,
    )  # fmt: skip


def _batch_norm(channels: int) -> Operation:
    return Operation(
        name="bn", noun="batch norm", words="BN", short="BN", sign="",
        module="BatchNorm2d", args=(("out_channels", channels),), options=(),
        out_channels=channels, params=2 * channels, norm_params=2 * channels, flops=2 * channels,
    )  # fmt: skip


def _max_pool(channels: int, window: int) -> Operation:
    return Operation(
        name=f"pool{window}", noun=f"{window} x {window} max-pool",
        words=f"max-pool {window}x{window}", short=f"max {window}×{window}", sign=f"p{window}",
        module="MaxPool2d", args=(("window", window),), options=(),
        out_channels=channels, kind="max-pool", window=window, stride=window,
    )  # fmt: skip


def _relu(channels: int) -> Operation:
    return Operation(
        name="relu", noun="ReLU", words="ReLU", short="ReLU", sign="",
        module="ReLU", args=(), options=(("inplace", True),),
        out_channels=channels,
    )  # fmt: skip


def _add(channels: int, num_layers: int) -> Operation:
    source = "input" if num_layers == 1 else f"input of {num_layers} layers"
    return Operation(
        name="add", noun="sum with the input", words=f"add {source}", short=f"+ {source}",
        sign=f"+{num_layers}" if num_layers > 1 else "+",
        module="Residual", args=(), options=(),
        out_channels=channels, flops=channels,
    )  # fmt: skip
