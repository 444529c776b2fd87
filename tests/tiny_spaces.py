"""Search spaces small enough to walk through completely, for the tests of spaces and moves."""

import copy
import dataclasses
from collections.abc import Iterator
from typing import Any

from lstn_search.spec.arch import Arch, Layer
from lstn_search.spec.choices import Choices, Value
from lstn_search.spec.space import Space
from lstn_search.spec.warp_families import WARP_FAMILIES

TINY: dict[str, Any] = {
    "norm": ["none", "conv-act-bn"],
    "units": [0, 1],
    "stem": {
        "kind": ["plain"],
        "kernel": [1, 3],
        "stride": [1, 2],
        "width": [4, 6],
        "padded": [False, True],
        "max_pool": [1],
    },
    "unit": {
        "kind": ["bottleneck", "separable"],
        "decoder": [6, 8],
        "encoder": [4, 5],
        "kernel": [3],
        "stride": [2],
        "padded": [False, True],
        "max_pool": [1, 2],
    },
    "tail": {"width": [0, 3]},
    "head": {"pool_to": ["flatten", 2], "hidden": [0, 4]},
}


def tiny(**changes: Any) -> Space:
    """The tiny space with other lists, such as `unit_kind=["plain"]`."""
    data = copy.deepcopy(TINY)
    for name, values in changes.items():
        group, _, key = name.partition("_")
        if key:
            data[group][key] = values
        else:
            data[group] = values
    return Space.from_dict(data, name="tiny")


def with_head(arch: Arch, **changes: Any) -> Arch:
    """The same architecture with another head."""
    return dataclasses.replace(arch, head=dataclasses.replace(arch.head, **changes))


def with_warp(arch: Arch, warp: str) -> Arch:
    """The same architecture with another family of warps."""
    return with_head(arch, warp=warp)


def every_choice(space: Space) -> Iterator[Choices]:
    """All that `walk` can return: the last answer that still has a next value is advanced, like an odometer."""
    answers: list[int] = []
    while True:
        asked: list[int] = []

        def suggest(
            name: str, values: tuple[Value, ...], answers: list[int] = answers, asked: list[int] = asked
        ) -> Value:
            asked.append(len(values))
            if len(answers) < len(asked):
                answers.append(0)
            return values[answers[len(asked) - 1]]

        yield space.walk(suggest)
        while answers and answers[-1] + 1 == asked[len(answers) - 1]:
            answers.pop()
        if not answers:
            return
        answers[-1] += 1


SPACES = {
    "tiny": tiny(),
    "plain units": tiny(
        unit_kind=["plain", "separable"],
        unit_kernel=[1, 3],
        unit_encoder=[5],
        units=[1, 2],
        norm=["none"],
        stem_width=[4],
        stem_stride=[1],
    ),
    "no norm to leave out": tiny(
        norm=["conv-bn-act", "conv-act-bn"], stem_kernel=[3], stem_max_pool=[1, 3], unit_decoder=[8]
    ),
    "always two units": tiny(
        units=[2],
        head_pool_to=[3, 2, 1],
        unit_encoder=[4],
        unit_decoder=[6],
        norm=["none"],
        stem_kernel=[3],
        stem_width=[4],
    ),
    "separable stem": tiny(
        stem_kind=["separable", "plain"], units=[0, 1], unit_decoder=[6], tail_width=[5, 2], head_hidden=[16]
    ),
    "residual units": tiny(
        unit_kind=["residual", "bottleneck"],
        unit_encoder=[3, 5],
        unit_kernel=[1, 3],
        unit_stride=[1],
        unit_max_pool=[1],
        unit_padded=[True],
        units=[1, 2],
        norm=["none"],
        stem_kernel=[3],
        tail_width=[0],
    ),
    "residual units among others": tiny(
        unit_kind=["separable", "residual", "plain"],
        unit_encoder=[3, 5],
        unit_kernel=[3],
        unit_stride=[1, 2],
        unit_max_pool=[1],
        units=[0, 2],
        norm=["conv-act-bn"],
        tail_width=[0],
        stem_kernel=[3],
        stem_width=[4],
        stem_stride=[1],
    ),
    "looks and a soft-argmax": tiny(
        look=["image", 48, 10, 20],
        norm=["none"],
        stem_width=[4],
        unit_decoder=[6],
        unit_encoder=[4],
        unit_max_pool=[1],
        tail_width=[0],
        head_pool_to=["soft-argmax", 2, "flatten", 4],
    ),
    "every warp": tiny(units=[0], head_warp=[*WARP_FAMILIES], head_hidden=[0, 3, 32]),
}


def is_inside(space: Space, choices: Choices) -> bool:
    """Whether a walk can return exactly these choices, in this order."""
    seen: list[bool] = []

    def suggest(name: str, values: tuple[Value, ...]) -> Value:
        seen.append(choices[name] in values)
        return choices[name]

    return list(space.walk(suggest).items()) == list(choices.items()) and all(seen)


SKIPS = Arch(
    layers=(
        Layer(out_channels=16, kernel=1, norm="conv-bn-act"),
        Layer(out_channels=16, kernel=3, padding=1, groups=16, norm="conv-act-bn", skip=1),
        Layer(out_channels=3, kernel=1, act="none", skip=3),
        Layer(out_channels=8, kernel=5, stride=2, max_pool=2),
        Layer(out_channels=8, kernel=5, padding=2, groups=2, skip=1),
    )
)
"""What no space holds yet: a sum around other sums, and one around a grouped convolution."""
