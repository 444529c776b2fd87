"""From choices to layers: the meaning of every name in a search space.

A *choice* is one named value, such as `unit2.stride = 2`; the choices of one network are a flat dict. Only names that
matter occur: `unit3.*` with three units or more, `unit1.decoder` in a bottleneck, `stem.padded` with a kernel above 1.

    look                                                        side in pixels, or "image"; not asked where no list
    norm                                                        where batch norm stands, in every layer
    stem.kind .kernel .stride .width .padded .max_pool          the first block, on the image
    units                                                       how many units follow
    unitN.kind .decoder .encoder .kernel .stride .padded .max_pool     what each kind asks for: blocks.py
    tail.width                                                  a 1x1 convolution at the end; 0 for none
    head.pool_to .hidden                                        "flatten", "soft-argmax" or n; 0 for no hidden layer
    head.warp                                                   family of warps; not asked where no list
"""

from collections.abc import Mapping
from typing import Any

from lstn_search.spec.arch import SOFT_ARGMAX, Arch, Head, Layer
from lstn_search.spec.blocks import Choices, Value, block_layers
from lstn_search.spec.warp_families import DEFAULT_WARP

__all__ = [
    "FLATTEN",
    "IMAGE",
    "IMAGE_CHANNELS",
    "Choices",
    "Value",
    "by_block",
    "expand",
    "field_of",
    "make_head",
    "make_look",
]

FLATTEN = "flatten"
"""The value of `head.pool_to` for a head without pooling (TOML has no null)."""

IMAGE = "image"
"""The value of `look` for a net that sees the image as it is."""

IMAGE_CHANNELS = 3


def expand(choices: Mapping[str, Value]) -> Arch:
    """The architecture that `choices` describe."""
    norm: Any = choices["norm"]
    blocks = by_block(choices)
    layers = block_layers(blocks["stem"], IMAGE_CHANNELS, norm)
    for number in range(1, int(choices["units"]) + 1):
        layers += block_layers(blocks[f"unit{number}"], layers[-1].out_channels, norm)
    tail = int(choices["tail.width"])
    if tail:
        layers.append(Layer(out_channels=tail, kernel=1, norm=norm))
    return Arch(
        layers=tuple(layers),
        head=make_head(choices),
        in_channels=IMAGE_CHANNELS,
        look=make_look(choices.get("look", IMAGE)),
    )


def make_head(choices: Mapping[str, Value]) -> Head:
    """The head that the choices `head.*` describe."""
    pool_to = choices["head.pool_to"]
    return Head(
        hidden=int(choices["head.hidden"]),
        pool_to=SOFT_ARGMAX if pool_to == SOFT_ARGMAX else None if pool_to == FLATTEN else int(pool_to),
        warp=str(choices.get("head.warp", DEFAULT_WARP)),
    )


def make_look(value: Value) -> int | None:
    """`Arch.look` of a value of the choice `look`."""
    return None if value == IMAGE else int(value)


def by_block(choices: Mapping[str, Value]) -> dict[str, Choices]:
    """The choices of each block (`stem`, `unit3`, `head`) without its prefix; under "" those that have none."""
    blocks: dict[str, Choices] = {}
    for name, value in choices.items():
        block, _, key = name.rpartition(".")
        blocks.setdefault(block, {})[key] = value
    return blocks


def field_of(name: str) -> str:
    """The list a choice takes its values from: `unit3.kernel` -> `unit.kernel`."""
    block, dot, key = name.partition(".")
    return f"unit.{key}" if dot and block not in ("stem", "tail", "head") else name
