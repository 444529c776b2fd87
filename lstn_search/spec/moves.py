"""Moves inside a search space: to a neighbour, down to a budget, and to the cheapest network of all."""

import itertools
import math
import random
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from lstn_search.errors import ArchError, SpaceError
from lstn_search.spec.arch import SOFT_ARGMAX, Arch, Layer
from lstn_search.spec.blocks import KINDS, WIDTHS, block_keys, block_layers
from lstn_search.spec.choices import (
    FLATTEN,
    IMAGE,
    IMAGE_CHANNELS,
    Choices,
    Value,
    by_block,
    expand,
    field_of,
    make_head,
    make_look,
)
from lstn_search.spec.cost import check_image_size, cost, head_costs, layer_costs, look_costs
from lstn_search.spec.space import Space
from lstn_search.spec.warp_families import DEFAULT_WARP, WARP_FAMILIES

__all__ = ["cheapest", "mutate", "repair"]


# -- mutate ------------------------------------------------------------------------------------------------------------


def mutate(space: Space, choices: Mapping[str, Value], rng: random.Random) -> Choices:
    """One random move away from `choices`: inside the space, and always another architecture.

    The kind of move is drawn first, each with the same chance: a width up or down, another stride or two strides
    exchanged, padding on or off, a unit more or less, another kind, kernel or pooling of a block, batch norm
    elsewhere, another head, a larger or smaller look. Raises SpaceError when the space holds no neighbour.
    """
    here = expand(choices)
    groups: dict[str, list[Choices]] = {}
    for kind, wanted in _neighbours(space, choices):
        groups.setdefault(kind, []).append(wanted)
    while groups:
        kind = rng.choice(list(groups))
        wanted = groups[kind].pop(rng.randrange(len(groups[kind])))
        if not groups[kind]:
            del groups[kind]
        there = _complete(space, wanted, rng)
        if expand(there) != here:
            return there
    raise SpaceError(
        f"search space {space.name!r} holds nothing else near this architecture; give its lists more values"
    )


def _neighbours(space: Space, choices: Mapping[str, Value]) -> Iterator[tuple[str, Choices]]:
    """The kind of each move and the choices it leads to; names that are missing there may take any value."""
    for name, value in choices.items():
        field = field_of(name)
        key = field.rpartition(".")[2]
        if field == "units":
            continue
        if key in (*WIDTHS, "stride", "look"):
            others = [_step(space, choices, name, direction) for direction in (-1, 1)]
        else:
            others = [other for other in space.values[field] if other != value]
        kind = "head" if field.startswith("head.") else "width" if key in WIDTHS else key
        for other in others:
            if other is not None:
                yield kind, {**choices, name: other}
    strides = [name for name in choices if name.endswith(".stride")]
    for one, two in itertools.combinations(strides, 2):
        a, b = choices[one], choices[two]
        if a != b and b in space.values[field_of(one)] and a in space.values[field_of(two)]:
            yield "stride", {**choices, one: b, two: a}
    units = _units(choices)
    if len(units) + 1 in space.values["units"]:
        for i in range(len(units) + 1):
            yield "units", _with_units(choices, [*units[:i], {}, *units[i:]])
    if len(units) - 1 in space.values["units"]:
        for i in range(len(units)):
            yield "units", _with_units(choices, [*units[:i], *units[i + 1 :]])


_NORMS = ("none", "conv-act-bn", "conv-bn-act")
_WORDS: dict[str, float] = {word: weight for words in (_NORMS, KINDS) for weight, word in enumerate(words)}
_WORDS |= {name: len(family.params) for name, family in WARP_FAMILIES.items()}
_WORDS |= {SOFT_ARGMAX: 1e6, FLATTEN: math.inf, IMAGE: math.inf}
"""Words among numbers, from light to heavy: a soft-argmax works on every position of the map, for more FLOPs than any
pooling; "flatten" is the largest pooled size, and "image" the largest look."""


def _weight(value: Value) -> float:
    return _WORDS.get(str(value), value)  # type: ignore[arg-type]


def _step(space: Space, choices: Mapping[str, Value], name: str, direction: int) -> Value | None:
    """The next value of a choice, up or down its sorted list."""
    values = sorted(space.values[field_of(name)], key=_weight)
    i = values.index(choices[name]) + direction
    return values[i] if 0 <= i < len(values) else None


def _units(choices: Mapping[str, Value]) -> list[Choices]:
    """The choices of each unit, without their prefixes."""
    blocks = by_block(choices)
    return [blocks[f"unit{number}"] for number in range(1, int(choices["units"]) + 1)]


def _with_units(choices: Mapping[str, Value], units: list[Choices]) -> Choices:
    """The same choices with other units."""
    kept = {name: value for name, value in choices.items() if not field_of(name).startswith("unit.")}
    renamed = {f"unit{n}.{key}": value for n, unit in enumerate(units, start=1) for key, value in unit.items()}
    return {**kept, **renamed, "units": len(units)}


def _complete(space: Space, wanted: Mapping[str, Value], rng: random.Random) -> Choices:
    """`wanted` in the space's order, without names that no longer matter; missing ones drawn at random."""
    return space.walk(lambda name, values: wanted[name] if name in wanted else rng.choice(values))


# -- repair ------------------------------------------------------------------------------------------------------------

_NARROWER = dict.fromkeys((*WIDTHS, "kernel", "units", "pool_to", "hidden"), -1)
_SMALLER_MAPS = {"stride": 1, "max_pool": 1, "padded": -1, "look": -1}
_LARGER_MAPS = {key: -direction for key, direction in _SMALLER_MAPS.items()}
_LIGHTER_KINDS = dict.fromkeys(("norm", "kind", "warp"), -1)
"""The last part of each choice's name: up or down its list."""


def repair(
    space: Space, choices: Mapping[str, Value], fits: Callable[[Arch], bool], rng: random.Random
) -> Choices | None:
    """Shrink `choices` step by step, in random order, until `fits` accepts the architecture.

    First narrower and shallower with the maps' sizes left alone; then, from the start again, with smaller maps too
    (for a tight budget); then with larger maps (for an image too small); then with smaller maps and lighter kinds of
    block and warp, without batch norm (for a budget near the cheapest network). None when all four end without
    success, which is not a proof that nothing fits.
    """
    for extra in ({}, _SMALLER_MAPS, _LARGER_MAPS, _SMALLER_MAPS | _LIGHTER_KINDS):
        directions = _NARROWER | extra
        current = dict(choices)
        while not fits(expand(current)):
            steps = [
                (name, value)
                for name in current
                if (direction := directions.get(name.rpartition(".")[2]))
                and (value := _step(space, current, name, direction)) is not None
            ]
            if not steps:
                break
            name, value = rng.choice(steps)
            if name == "units":
                units = _units(current)
                kept = sorted(rng.sample(range(len(units)), int(value)))
                current = _with_units(current, [units[i] for i in kept])
            else:
                current[name] = value
            current = _complete(space, current, rng)
        else:
            return current
    return None


# -- cheapest ----------------------------------------------------------------------------------------------------------


def cheapest(space: Space, image_size: int, trial_size: int | None = None) -> tuple[float, Choices]:
    """The fewest GFLOPs at `image_size` of any architecture that can be built at both sizes, and its choices.

    Exact: a shortest path over the map's width and its sizes at `image_size` and `trial_size`, block by block, from
    every look. Cost
    never falls when a block is wider, so the smallest widths suffice; nor when a warp has more parameters, so the
    family with the fewest does; nor when batch norm is added or moved from behind the pooling to before it, so one
    norm does. Raises ArchError when nothing in the space can be built at both sizes.
    """
    trial_size = image_size if trial_size is None else trial_size
    check_image_size(image_size)
    check_image_size(trial_size)
    norm = min(space.values["norm"], key=_weight)

    reached = _looks(space, image_size, trial_size)
    best: tuple[int, tuple[Choices, ...], Choices] | None = None
    for number in range(max(int(units) for units in space.values["units"]) + 1):
        reached = _advance(reached, _blocks(space, "unit" if number else "stem"), norm, limit=best[0] if best else None)
        if number in space.values["units"]:
            found = _finish(space, reached, norm)
            if found and (best is None or found[0] < best[0]):
                best = found
    if best is None:
        raise ArchError(
            f"no architecture of search space {space.name!r} can be built at image size {image_size} and trial size "
            f"{trial_size}; use larger images, or add smaller strides and pools to it"
        )
    flops, body, ends = best
    look, stem, *units = body
    stem = {f"stem.{key}": value for key, value in stem.items()}
    wanted = _with_units({**look, "norm": norm, **stem, **ends}, units)
    choices = space.walk(lambda name, _: wanted[name])
    assert cost(expand(choices), image_size).flops == flops
    return flops / 1e9, choices


_Reached = dict[tuple[int, int, int], tuple[int, tuple[Choices, ...]]]
"""Channels, map size at the image size and at the trial size -> fewest FLOPs so far, the look and the blocks that lead
there."""


def _looks(space: Space, image_size: int, trial_size: int) -> _Reached:
    """What the first block can see, and what averaging the image to that costs."""
    reached: _Reached = {}
    for value in sorted(space.values.get("look", (IMAGE,)), key=_weight, reverse=True):
        look = make_look(value)
        sides = [size if look is None else min(look, size) for size in (image_size, trial_size)]
        rows = look_costs(look, in_channels=IMAGE_CHANNELS, image_size=image_size)
        reached[IMAGE_CHANNELS, sides[0], sides[1]] = (sum(row.flops for row in rows), ({"look": value},))
    return reached


def _blocks(space: Space, group: str) -> list[Choices]:
    """Every block of the group at its smallest widths."""
    blocks: list[Choices] = []
    for kind in space.values[f"{group}.kind"]:
        keys = block_keys(str(kind), group)
        lists = [space.values[f"{group}.{key}"] for key in keys]
        lists = [(min(values),) if key in WIDTHS else values for key, values in zip(keys, lists, strict=True)]
        blocks += [{"kind": kind, **dict(zip(keys, values, strict=True))} for values in itertools.product(*lists)]
    return blocks


def _advance(reached: _Reached, blocks: list[Choices], norm: Any, *, limit: int | None) -> _Reached:
    """One block further, the cheapest way to each width and pair of map sizes; nothing that reaches `limit` FLOPs."""
    after: _Reached = {}
    for block in blocks:
        layers: dict[int, tuple[Layer, ...]] = {}
        measured: dict[tuple[int, int], tuple[int, int] | None] = {}
        for (channels, size, trial_size), (flops, body) in reached.items():
            if channels not in layers:
                layers[channels] = tuple(block_layers(block, channels, norm))
            for wanted in (size, trial_size):
                if (channels, wanted) not in measured:
                    measured[channels, wanted] = _measure(layers[channels], channels, wanted)
            here, there = measured[channels, size], measured[channels, trial_size]
            if here is None or there is None:
                continue
            key, total = (layers[channels][-1].out_channels, here[0], there[0]), flops + here[1]
            if (limit is None or total < limit) and (key not in after or total < after[key][0]):
                after[key] = (total, (*body, block))
    return after


def _measure(layers: tuple[Layer, ...], channels: int, size: int) -> tuple[int, int] | None:
    """Side of the map behind `layers`, and their FLOPs; None when the map vanishes."""
    try:
        rows = layer_costs(layers, in_channels=channels, image_size=size)
    except ArchError:
        return None
    return rows[-1].out_shape[1], sum(row.flops for row in rows)


def _finish(space: Space, reached: _Reached, norm: Any) -> tuple[int, tuple[Choices, ...], Choices] | None:
    """The cheapest tail and head behind any of the maps reached: FLOPs, blocks, choices of tail and head."""
    best = None
    ends: dict[tuple[int, int], list[tuple[int, int, Choices]]] = {}
    for (channels, size, trial_size), (flops, body) in reached.items():
        if (channels, size) not in ends:
            ends[channels, size] = sorted(_ends(space, channels, size, norm), key=lambda end: end[0])
        for end_flops, pool_to, choices in ends[channels, size]:
            if pool_to <= trial_size:
                if best is None or flops + end_flops < best[0]:
                    best = (flops + end_flops, body, choices)
                break
    return best


def _ends(space: Space, channels: int, size: int, norm: Any) -> Iterator[tuple[int, int, Choices]]:
    """Every tail and head that a map can have, with the lightest warp: FLOPs, cells pooled to, choices."""
    warp = str(min(space.values.get("head.warp", (DEFAULT_WARP,)), key=_weight))
    for tail in space.values["tail.width"]:
        width = int(tail) or channels
        layers = (Layer(out_channels=width, kernel=1, norm=norm),) if tail else ()
        tail_flops = sum(row.flops for row in layer_costs(layers, in_channels=channels, image_size=size))
        for pool_to, hidden in itertools.product(space.values["head.pool_to"], space.values["head.hidden"]):
            ends: Choices = {"tail.width": tail, "head.pool_to": pool_to, "head.hidden": hidden, "head.warp": warp}
            cells = pool_to if isinstance(pool_to, int) else 1
            if cells <= size:
                rows = head_costs(make_head(ends), (width, size, size), image_size=size)
                head_flops = sum(row.flops for row in rows)
                yield tail_flops + head_flops, cells, ends
