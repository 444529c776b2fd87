"""Moves inside a search space: mutate, repair, and the cheapest network against brute force."""

import functools
import random
from typing import Any

import pytest
from tiny_spaces import SPACES, every_choice, is_inside, tiny

from lstn_search.errors import ArchError, SpaceError
from lstn_search.spec import moves
from lstn_search.spec.arch import Arch
from lstn_search.spec.cost import cost, fits, layer_costs
from lstn_search.spec.space import Space, load_space

LSTN = load_space("lstn")


@pytest.mark.parametrize("space", [LSTN, *SPACES.values()], ids=["lstn", *SPACES])
def test_mutants_are_inside_and_different(space: Space) -> None:
    rng = random.Random(0)
    for _ in range(150):
        parent = space.sample(rng)
        before = dict(parent)
        child = moves.mutate(space, parent, rng)
        assert is_inside(space, child)
        assert space.expand(child) != space.expand(parent)
        assert parent == before


def test_mutation_is_reproducible() -> None:
    parent = LSTN.sample(random.Random(1))
    assert moves.mutate(LSTN, parent, random.Random(2)) == moves.mutate(LSTN, parent, random.Random(2))


def test_every_kind_of_move_occurs() -> None:
    rng, parent = random.Random(0), LSTN.encode(LSTN.seeds["lstn"])
    assert parent is not None
    children = [moves.mutate(LSTN, parent, rng) for _ in range(400)]
    changed = [
        {name for name in parent.keys() | child.keys() if parent.get(name) != child.get(name)} for child in children
    ]
    singles = {next(iter(names)).split(".")[-1] for names in changed if len(names) == 1}
    assert singles >= {
        "width",
        "decoder",
        "encoder",
        "stride",
        "padded",
        "max_pool",
        "kernel",
        "norm",
        "pool_to",
        "hidden",
        "look",
    }
    assert {"stem.stride", "unit1.stride"} in changed, "two strides exchanged"
    assert {child["units"] for child in children} == {4, 5, 6}
    assert {str(child["unit2.kind"]) for child in children} == {"bottleneck", "plain", "residual", "separable"}


def test_widths_move_to_their_neighbours() -> None:
    rng, parent = random.Random(0), LSTN.encode(LSTN.seeds["stn"])
    assert parent is not None
    widths = {moves.mutate(LSTN, parent, rng)["stem.width"] for _ in range(300)}
    assert widths == {4, 8, 12}


def test_a_look_moves_to_its_neighbours() -> None:
    rng, parent = random.Random(0), LSTN.encode(LSTN.seeds["places"])
    assert parent is not None
    assert {moves.mutate(LSTN, parent, rng)["look"] for _ in range(300)} == {48, 64, 96}
    assert {moves.mutate(LSTN, {**parent, "look": "image"}, rng)["look"] for _ in range(300)} == {128, "image"}


def test_a_head_moves_to_any_other_reading() -> None:
    rng, parent = random.Random(0), LSTN.encode(LSTN.seeds["places"])
    assert parent is not None
    read = {moves.mutate(LSTN, parent, rng)["head.pool_to"] for _ in range(400)}
    assert read == set(LSTN.values["head.pool_to"])


def test_a_space_of_one_has_no_mutant() -> None:
    one = tiny(
        norm=["none"],
        units=[0],
        stem_kernel=[3],
        stem_stride=[1],
        stem_width=[4],
        stem_padded=[True],
        tail_width=[0],
        head_pool_to=[1],
        head_hidden=[0],
    )
    assert one.count() == 1
    with pytest.raises(SpaceError, match="holds nothing else"):
        moves.mutate(one, one.sample(random.Random(0)), random.Random(0))


@pytest.mark.parametrize("gflops", [0.02, 0.002, 0.0003])
def test_repair_meets_the_budget_at_both_sizes(gflops: float) -> None:
    def within(arch: Arch) -> bool:
        return fits(arch, 64) and fits(arch, 224) and cost(arch, 224).gflops <= gflops

    rng = random.Random(0)
    for _ in range(100):
        choices = LSTN.sample(rng)
        found = moves.repair(LSTN, choices, within, rng)
        assert found is not None
        assert within(LSTN.expand(found))
        assert is_inside(LSTN, found)
        assert found == choices or not within(LSTN.expand(choices)), "what fits stays as it is"


def test_repair_takes_a_lighter_warp_where_nothing_else_is_cheap_enough() -> None:
    space = SPACES["every warp"]
    gflops, least = moves.cheapest(space, 32)
    rng = random.Random(0)
    for _ in range(20):
        found = moves.repair(space, space.sample(rng), lambda arch: cost(arch, 32).gflops <= gflops, rng)
        assert found is not None
        assert found["head.warp"] == least["head.warp"]


ONE_NET = {"norm": ["none"], "units": [0], "stem_kernel": [3], "stem_stride": [2], "stem_width": [4],
           "stem_padded": [False], "tail_width": [0], "head_pool_to": [1], "head_hidden": [0]}  # fmt: skip


@pytest.mark.parametrize("budget_look", [24, 40, 64])
def test_repair_takes_the_largest_look_within_the_budget(budget_look: int) -> None:
    space = tiny(**{**ONE_NET, "look": ["image", 64, 24, 40]})
    start, rng = space.walk(lambda name, values: values[0]), random.Random(0)
    limit = cost(space.expand({**start, "look": budget_look}), 224).gflops
    found = moves.repair(space, start, lambda arch: cost(arch, 224).gflops <= limit, rng)
    assert found is not None and found["look"] == budget_look


def test_repair_takes_a_larger_look_when_the_map_vanishes() -> None:
    space = tiny(**{**ONE_NET, "look": [8, "image", 24], "stem_kernel": [9]})
    start = space.walk(lambda name, values: values[0])
    assert not fits(space.expand(start), 224)
    found = moves.repair(space, start, lambda arch: fits(arch, 224), random.Random(0))
    assert found is not None and found["look"] == 24


def test_repair_reads_the_map_more_cheaply() -> None:
    space = tiny(**{**ONE_NET, "head_pool_to": ["soft-argmax", "flatten", 4], "head_hidden": [32]})
    flat = space.walk(lambda name, values: "flatten" if "flatten" in values else values[0])
    for limit, reading in (("soft-argmax", "soft-argmax"), (4, 4)):
        most = cost(space.expand({**flat, "head.pool_to": limit}), 64).flops
        found = moves.repair(space, flat, lambda arch, most=most: cost(arch, 64).flops <= most, random.Random(0))  # type: ignore[misc]
        assert found is not None and found["head.pool_to"] == reading


def test_repair_makes_room_when_the_map_vanishes() -> None:
    space = tiny(units=[3], unit_stride=[1, 2], unit_kernel=[3], unit_max_pool=[1, 2], head_pool_to=[2])
    choices = space.walk(lambda name, values: False if name.endswith("padded") else max(values, key=str))
    assert not fits(space.expand(choices), 16)
    found = moves.repair(space, choices, lambda arch: fits(arch, 16), random.Random(0))
    assert found is not None
    assert fits(space.expand(found), 16)


def test_repair_gives_up_when_nothing_fits() -> None:
    assert moves.repair(LSTN, LSTN.sample(random.Random(0)), lambda arch: False, random.Random(0)) is None


@functools.cache
def every_arch(name: str) -> list[Arch]:
    """All architectures of one of SPACES."""
    return [SPACES[name].expand(choices) for choices in every_choice(SPACES[name])]


@functools.cache
def every_gflops(name: str, image_size: int) -> list[float | None]:
    """What each of them costs; None where it cannot be built."""
    return [cost(arch, image_size).gflops if fits(arch, image_size) else None for arch in every_arch(name)]


# -- the cheapest ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sizes", [(32, None), (32, 8), (20, 11), (9, 32), (224, 12)], ids=str)
@pytest.mark.parametrize("name", SPACES)
def test_cheapest_is_the_minimum_of_all(name: str, sizes: tuple[int, int | None]) -> None:
    space, (image_size, trial_size) = SPACES[name], sizes
    both = zip(every_gflops(name, image_size), every_gflops(name, trial_size or image_size), strict=True)
    buildable = [gflops for gflops, at_trial in both if gflops is not None and at_trial is not None]
    if not buildable:
        with pytest.raises(ArchError, match="no architecture of search space 'tiny' can be built at image size"):
            moves.cheapest(space, image_size, trial_size)
        return
    gflops, choices = moves.cheapest(space, image_size, trial_size)
    assert gflops == min(buildable)
    arch = space.expand(choices)
    assert is_inside(space, choices)
    assert cost(arch, image_size).gflops == gflops
    assert fits(arch, trial_size or image_size)


def test_the_cheapest_may_have_a_residual_unit() -> None:
    _, choices = moves.cheapest(SPACES["residual units"], 32)
    assert choices["unit1.kind"] == "residual"


@pytest.mark.parametrize("units", [[0, 1, 2, 3, 4, 5, 6], [6]], ids=str)
def test_cheapest_of_the_whole_space_costs_some_thousand_blocks(
    units: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    space = Space(name="lstn", values={**LSTN.values, "units": tuple(units)})
    costed: list[int] = []  # of some 10^13 architectures

    def counted(*args: Any, **options: Any) -> Any:
        costed.append(1)
        return layer_costs(*args, **options)

    monkeypatch.setattr(moves, "layer_costs", counted)
    gflops, _ = moves.cheapest(space, 224, 64)
    assert len(costed) < 40_000
    rng = random.Random(0)
    archs = [space.expand(space.sample(rng)) for _ in range(300)]
    assert gflops <= min(cost(arch, 224).gflops for arch in archs if fits(arch, 64) and fits(arch, 224))
