"""Moves inside a search space: to a neighbour, down to a budget, and to the cheapest network of all."""

import itertools
import math
import random
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol

from lstn_search.errors import ArchError, SpaceError
from lstn_search.spec.arch import Arch, Head, Layer
from lstn_search.spec.choices import FLATTEN, IMAGE_CHANNELS, Choices, Value, block_layers, expand, field_of
from lstn_search.spec.cost import check_image_size, cost, head_costs, layer_costs
from lstn_search.spec.warp_families import DEFAULT_WARP, WARP_FAMILIES

__all__ = ["SpaceLike", "cheapest", "mutate", "repair"]


class SpaceLike(Protocol):
    """What the moves ask of a search space; `lstn_search.spec.space.Space` is one."""

    @property
    def name(self) -> str:
        """For messages."""

    @property
    def values(self) -> Mapping[str, tuple[Value, ...]]:
        """The possible values under each name."""

    def walk(self, suggest: Callable[[str, tuple[Value, ...]], Value], /) -> Choices:
        """Ask for every choice that matters, and return the answers."""


# -- mutate ------------------------------------------------------------------------------------------------------------


def mutate(space: SpaceLike, choices: Mapping[str, Value], rng: random.Random) -> Choices:
    """One random move away from `choices`: inside the space, and always another architecture.

    The kind of move is drawn first, each with the same chance: a width up or down, another stride or two strides
    exchanged, padding on or off, a unit more or less, another kind, kernel or pooling of a block, batch norm
    elsewhere, another head. Raises SpaceError when the space holds no neighbour.
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


def _neighbours(space: SpaceLike, choices: Mapping[str, Value]) -> Iterator[tuple[str, Choices]]:
    """The kind of each move and the choices it leads to; names that are missing there may take any value."""
    for name, value in choices.items():
        field = field_of(name)
        key = field.rpartition(".")[2]
        if field == "units":
            continue
        if key in ("width", "decoder", "encoder", "stride"):
            others = [_step(space, choices, name, direction) for direction in (-1, 1)]
        else:
            others = [other for other in space.values[field] if other != value]
        kind = "head" if field.startswith("head.") else {"decoder": "width", "encoder": "width"}.get(key, key)
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


_WORDS = {"none": 0, "conv-act-bn": 1, "conv-bn-act": 2, "separable": 0, "plain": 1, "bottleneck": 2, FLATTEN: math.inf}
_WORDS |= {name: len(family.params) for name, family in WARP_FAMILIES.items()}
"""Words among numbers, from light to heavy: "flatten" is the largest pooled size."""


def _step(space: SpaceLike, choices: Mapping[str, Value], name: str, direction: int) -> Value | None:
    """The next value of a choice, up or down its sorted list."""
    values = sorted(space.values[field_of(name)], key=lambda value: _WORDS.get(str(value), value))
    i = values.index(choices[name]) + direction
    return values[i] if 0 <= i < len(values) else None


def _units(choices: Mapping[str, Value]) -> list[Choices]:
    """The choices of each unit, without their prefixes."""
    units: list[Choices] = [{} for _ in range(int(choices["units"]))]
    for name, value in choices.items():
        block, _, key = name.partition(".")
        if key and field_of(name) == f"unit.{key}":
            units[int(block.removeprefix("unit")) - 1][key] = value
    return units


def _with_units(choices: Mapping[str, Value], units: list[Choices]) -> Choices:
    """The same choices with other units."""
    kept = {name: value for name, value in choices.items() if not field_of(name).startswith("unit.")}
    renamed = {f"unit{n}.{key}": value for n, unit in enumerate(units, start=1) for key, value in unit.items()}
    return {**kept, **renamed, "units": len(units)}


def _complete(space: SpaceLike, wanted: Mapping[str, Value], rng: random.Random) -> Choices:
    """`wanted` in the space's order, without names that no longer matter; missing ones drawn at random."""
    return space.walk(lambda name, values: wanted[name] if name in wanted else rng.choice(values))


# -- repair ------------------------------------------------------------------------------------------------------------

_NARROWER = {
    "stem.width": -1,
    "stem.kernel": -1,
    "units": -1,
    "unit.decoder": -1,
    "unit.encoder": -1,
    "unit.kernel": -1,
    "tail.width": -1,
    "head.pool_to": -1,
    "head.hidden": -1,
}
_SMALLER_MAPS = {
    "stem.stride": 1,
    "stem.max_pool": 1,
    "stem.padded": -1,
    "unit.stride": 1,
    "unit.max_pool": 1,
    "unit.padded": -1,
}
_LARGER_MAPS = {field: -direction for field, direction in _SMALLER_MAPS.items()}
_LIGHTER_KINDS = {"norm": -1, "stem.kind": -1, "unit.kind": -1, "head.warp": -1}


def repair(
    space: SpaceLike, choices: Mapping[str, Value], fits: Callable[[Arch], bool], rng: random.Random
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
                if (direction := directions.get(field_of(name)))
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


def cheapest(space: SpaceLike, image_size: int, trial_size: int | None = None) -> tuple[float, Choices]:
    """The fewest GFLOPs at `image_size` of any architecture that can be built at both sizes, and its choices.

    Exact: a shortest path over the map's sizes at `image_size` and at `trial_size`, block by block. Cost never falls
    when a block is wider, so the smallest widths suffice; nor when a warp has more parameters, so the family with
    the fewest does; nor when batch norm is added or moved from behind the pooling to before it, so one norm does.
    Raises ArchError when nothing in the space can be built at both sizes.
    """
    trial_size = image_size if trial_size is None else trial_size
    check_image_size(image_size)
    check_image_size(trial_size)
    norm = next(norm for norm in ("none", "conv-act-bn", "conv-bn-act") if norm in space.values["norm"])

    reached: _Reached = {(image_size, trial_size): (0, ())}
    channels = IMAGE_CHANNELS
    best: tuple[int, tuple[Choices, ...], Choices] | None = None
    for number in range(max(int(units) for units in space.values["units"]) + 1):
        group = "unit" if number else "stem"
        reached = _advance(reached, _blocks(space, group), group, channels, norm, limit=best[0] if best else None)
        channels = min(int(width) for width in space.values["unit.encoder" if number else "stem.width"])
        if number in space.values["units"]:
            found = _finish(space, reached, channels, norm)
            if found and (best is None or found[0] < best[0]):
                best = found
    if best is None:
        raise ArchError(
            f"no architecture of search space {space.name!r} can be built at image size {image_size} and trial size "
            f"{trial_size}; use larger images, or add smaller strides and pools to it"
        )
    flops, body, ends = best
    stem, *units = body
    stem = {f"stem.{key}": value for key, value in stem.items()}
    wanted = _with_units({"norm": norm, **stem, **ends}, units)
    choices = space.walk(lambda name, _: wanted[name])
    assert cost(expand(choices), image_size).flops == flops
    return flops / 1e9, choices


_Reached = dict[tuple[int, int], tuple[int, tuple[Choices, ...]]]
"""Map size at the image size and at the trial size -> fewest FLOPs so far, and the blocks that lead there."""


def _blocks(space: SpaceLike, group: str) -> list[Choices]:
    """Every block of the group at its smallest widths."""
    keys = ("kind", "kernel", "stride", "padded", "max_pool")
    widths = ("width",) if group == "stem" else ("decoder", "encoder")
    least = {key: min(int(value) for value in space.values[f"{group}.{key}"]) for key in widths}
    return [
        {**dict(zip(keys, values, strict=True)), **least}
        for values in itertools.product(*(space.values[f"{group}.{key}"] for key in keys))
    ]


def _advance(
    reached: _Reached, blocks: list[Choices], group: str, channels: int, norm: Any, *, limit: int | None
) -> _Reached:
    """One block further, the cheapest way to each pair of map sizes; nothing that reaches `limit` FLOPs."""
    after: _Reached = {}
    for block in blocks:
        layers = tuple(block_layers({f"{group}.{key}": value for key, value in block.items()}, group, channels, norm))
        measured: dict[int, tuple[int, int] | None] = {}
        for (size, trial_size), (flops, body) in reached.items():
            for wanted in (size, trial_size):
                if wanted not in measured:
                    measured[wanted] = _measure(layers, channels, wanted)
            here, there = measured[size], measured[trial_size]
            if here is None or there is None:
                continue
            key, total = (here[0], there[0]), flops + here[1]
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


def _finish(
    space: SpaceLike, reached: _Reached, channels: int, norm: Any
) -> tuple[int, tuple[Choices, ...], Choices] | None:
    """The cheapest tail and head behind any of the maps reached: FLOPs, blocks, choices of tail and head."""
    best = None
    ends: dict[int, list[tuple[int, int, Choices]]] = {}
    for (size, trial_size), (flops, body) in reached.items():
        if size not in ends:
            ends[size] = sorted(_ends(space, channels, size, norm), key=lambda end: end[0])
        for end_flops, pool_to, choices in ends[size]:
            if pool_to <= trial_size:
                if best is None or flops + end_flops < best[0]:
                    best = (flops + end_flops, body, choices)
                break
    return best


def _ends(space: SpaceLike, channels: int, size: int, norm: Any) -> Iterator[tuple[int, int, Choices]]:
    """Every tail and head that a map can have, with the lightest warp: FLOPs, cells pooled to, choices."""
    warp = min(map(str, space.values.get("head.warp", (DEFAULT_WARP,))), key=_WORDS.__getitem__)
    for tail in space.values["tail.width"]:
        width = int(tail) or channels
        layers = (Layer(out_channels=width, kernel=1, norm=norm),) if tail else ()
        tail_flops = sum(row.flops for row in layer_costs(layers, in_channels=channels, image_size=size))
        for pool_to, hidden in itertools.product(space.values["head.pool_to"], space.values["head.hidden"]):
            cells = 1 if pool_to == FLATTEN else int(pool_to)
            if cells <= size:
                head = Head(hidden=int(hidden), pool_to=None if pool_to == FLATTEN else cells, warp=warp)
                head_flops = sum(row.flops for row in head_costs(head, (width, size, size), image_size=size))
                ends: Choices = {"tail.width": tail, "head.pool_to": pool_to, "head.hidden": hidden, "head.warp": warp}
                yield tail_flops + head_flops, cells, ends
