"""From choices to layers: the meaning of every name in a search space.

A *choice* is one named value, such as `unit2.stride = 2`; the choices of one network are a flat dict. Only names that
matter occur: `unit3.*` with three units or more, `unit1.decoder` in a bottleneck, `stem.padded` with a kernel above 1.

    norm                                                        where batch norm stands, in every layer
    stem.kind .kernel .stride .width .padded .max_pool          the first block, on the image
    units                                                       how many units follow
    unitN.kind .decoder .encoder .kernel .stride .padded .max_pool
    tail.width                                                  a 1x1 convolution at the end; 0 for none
    head.pool_to .hidden                                        "flatten" or n; 0 for no hidden layer
    head.warp                                                   family of warps; not asked where the space has no list

A block is one to three layers, all followed by a ReLU; `max_pool` belongs to its last layer:

    plain        k x k                                          (stride and padding: the k x k's)
    separable    depthwise k x k, then 1x1
    bottleneck   1x1 to `decoder`, k x k, 1x1 to `encoder`      (the paper's unit)
"""

from collections.abc import Mapping
from typing import Any

from lstn_search.spec.arch import Arch, Head, Layer
from lstn_search.spec.warp_families import DEFAULT_WARP

__all__ = ["FLATTEN", "IMAGE_CHANNELS", "Choices", "Value", "block_layers", "expand", "field_of"]

Value = int | str | bool
"""What one choice can be."""

Choices = dict[str, Value]
"""The choices of one network, in the order in which `Space.walk` asks for them."""

FLATTEN = "flatten"
"""The value of `head.pool_to` for a head without pooling (TOML has no null)."""

IMAGE_CHANNELS = 3


def expand(choices: Mapping[str, Value]) -> Arch:
    """The architecture that `choices` describe."""
    norm: Any = choices["norm"]
    layers = block_layers(choices, "stem", IMAGE_CHANNELS, norm)
    for number in range(1, int(choices["units"]) + 1):
        layers += block_layers(choices, f"unit{number}", layers[-1].out_channels, norm)
    tail = int(choices["tail.width"])
    if tail:
        layers.append(Layer(out_channels=tail, kernel=1, norm=norm))
    pool_to = choices["head.pool_to"]
    head = Head(
        hidden=int(choices["head.hidden"]),
        pool_to=None if pool_to == FLATTEN else int(pool_to),
        warp=str(choices.get("head.warp", DEFAULT_WARP)),
    )
    return Arch(layers=tuple(layers), head=head, in_channels=IMAGE_CHANNELS)


def block_layers(choices: Mapping[str, Value], block: str, in_channels: int, norm: Any) -> list[Layer]:
    """The layers of one block (`stem`, `unit3`), on a map of `in_channels`."""
    kernel, stride = int(choices[f"{block}.kernel"]), int(choices[f"{block}.stride"])
    pool = int(choices[f"{block}.max_pool"])
    width = int(choices["stem.width" if block == "stem" else f"{block}.encoder"])
    padding = kernel // 2 if kernel > 1 and choices[f"{block}.padded"] else 0

    def spatial(out_channels: int, *, groups: int = 1, max_pool: int = 1) -> Layer:
        return Layer(
            out_channels=out_channels,
            kernel=kernel,
            stride=stride,
            padding=padding,
            groups=groups,
            norm=norm,
            max_pool=max_pool,
        )

    last = Layer(out_channels=width, kernel=1, norm=norm, max_pool=pool)
    match choices[f"{block}.kind"]:
        case "plain":
            return [spatial(width, max_pool=pool)]
        case "separable":
            return [spatial(in_channels, groups=in_channels), last]
        case "bottleneck":
            decoder = int(choices[f"{block}.decoder"])
            return [Layer(out_channels=decoder, kernel=1, norm=norm), spatial(decoder), last]
    raise AssertionError(choices[f"{block}.kind"])


def field_of(name: str) -> str:
    """The list a choice takes its values from: `unit3.kernel` -> `unit.kernel`."""
    block, dot, key = name.partition(".")
    return f"unit.{key}" if dot and block not in ("stem", "tail", "head") else name
