"""The kinds of block, one row each: what they ask for, their layers and how to read these back follow from it.

All layers of a block are followed by a ReLU. One of them is k x k and has the block's stride and padding, the others
are 1x1; `max_pool` belongs to the last.
"""

import functools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple

from lstn_search.spec.arch import Layer

__all__ = ["KINDS", "WIDTHS", "Choices", "Value", "asked", "block_keys", "block_layers", "kinds_in", "read_block"]

Value = int | str | bool
"""What one choice can be."""

Choices = dict[str, Value]
"""Choices by name; those of one block without its prefix."""


class Part(NamedTuple):
    """One layer of a block."""

    width: Literal["in", "decoder", "out"]
    """Its output channels: those of the block's input, or of a choice."""
    spatial: bool = False
    depthwise: bool = False
    skip: int = 0
    """See `Layer.skip`. A block with a skip keeps the map's size."""


class Kind(NamedTuple):
    """One kind of block."""

    parts: tuple[Part, ...]
    in_stem: bool = False
    """Whether it can be the first block, on the image."""


KINDS = {
    "separable": Kind((Part("in", spatial=True, depthwise=True), Part("out")), in_stem=True),
    "plain": Kind((Part("out", spatial=True),), in_stem=True),
    "residual": Kind((Part("in", spatial=True, skip=1),)),
    "bottleneck": Kind((Part("decoder"), Part("decoder", spatial=True), Part("out"))),  # the paper's unit
}
"""From light to heavy."""

WIDTHS = ("width", "decoder", "encoder")
"""The choices that are numbers of channels."""

_KEEPS_SIZE: Choices = {"stride": 1, "padded": True, "max_pool": 1}
"""What a block with a skip has, and does not ask for."""

_OUT = {"stem": "width", "unit": "encoder"}
"""What the output channels of a block are called."""


def kinds_in(group: str) -> tuple[str, ...]:
    """The kinds that a block of the group (`stem`, `unit`) can be, by name."""
    return tuple(name for name, kind in KINDS.items() if kind.in_stem or group != "stem")


@functools.cache
def block_keys(kind: str, group: str) -> tuple[str, ...]:
    """The choices of a block besides its kind, in the order in which they are asked for."""
    used = {part.width for part in KINDS[kind].parts}
    names = {"decoder": "decoder", "out": _OUT[group]}
    fixed = _KEEPS_SIZE if _has_skip(kind) else {}
    keys = (*(name for width, name in names.items() if width in used), "kernel", "stride", "padded", "max_pool")
    return tuple(key for key in keys if key not in fixed)


def asked(keys: tuple[str, ...], answers: Mapping[str, Value]) -> Iterator[str]:
    """The keys that matter, given the answers by the time they are reached: no padding where the kernel is 1."""
    return (key for key in keys if key != "padded" or answers["kernel"] != 1)


def block_layers(block: Mapping[str, Value], in_channels: int, norm: Any) -> list[Layer]:
    """The layers of one block, on a map of `in_channels`."""
    kind = str(block["kind"])
    parts = KINDS[kind].parts
    block = {**block, **_KEEPS_SIZE} if _has_skip(kind) else block
    kernel, stride, pool = int(block["kernel"]), int(block["stride"]), int(block["max_pool"])
    padding = kernel // 2 if kernel > 1 and block["padded"] else 0
    widths: dict[str, Any] = {"in": in_channels, "decoder": block.get("decoder")}
    widths["out"] = block.get("width", block.get("encoder"))
    return [
        Layer(
            out_channels=int(widths[part.width]),
            kernel=kernel if part.spatial else 1,
            stride=stride if part.spatial else 1,
            padding=padding if part.spatial else 0,
            groups=in_channels if part.depthwise else 1,
            norm=norm,
            max_pool=pool if i == len(parts) else 1,
            skip=part.skip,
        )
        for i, part in enumerate(parts, start=1)
    ]


def read_block(kind: str, group: str, layers: Sequence[Layer]) -> Choices:
    """The choices of a block of this kind that may have these layers: whether it has, `block_layers` tells."""
    pairs = list(zip(KINDS[kind].parts, layers, strict=True))
    spatial = next(layer for part, layer in pairs if part.spatial)
    widths = {part.width: layer.out_channels for part, layer in pairs}
    found: Choices = {
        "decoder": widths.get("decoder", 0),
        _OUT[group]: widths.get("out", 0),
        "kernel": spatial.kernel,
        "stride": spatial.stride,
        "padded": spatial.padding > 0,
        "max_pool": layers[-1].max_pool,
    }
    return {"kind": kind, **{key: found[key] for key in asked(block_keys(kind, group), found)}}


def _has_skip(kind: str) -> bool:
    return any(part.skip for part in KINDS[kind].parts)
