"""Search spaces: choices to architectures and back."""

import dataclasses
import itertools
import random
import re

import optuna
import pytest
from tiny_spaces import SPACES, every_choice, is_inside, with_warp

from lstn_search.spec.arch import Arch, Head, Layer
from lstn_search.spec.cost import cost, fits
from lstn_search.spec.space import load_space
from lstn_search.spec.warp_families import DEFAULT_WARP, WARP_FAMILIES

LSTN = load_space("lstn")


@pytest.mark.parametrize("name", SPACES)
def test_count_is_what_walking_counts(name: str) -> None:
    every = [tuple(choices.items()) for choices in every_choice(SPACES[name])]
    assert len(set(every)) == len(every) == SPACES[name].count()


@pytest.mark.parametrize("name", SPACES)
def test_encode_inverts_expand(name: str) -> None:
    space = SPACES[name]
    for choices in itertools.islice(every_choice(space), 0, None, 7):
        arch = space.expand(choices)
        found = space.encode(arch)
        assert found is not None
        assert space.expand(found) == arch
        assert is_inside(space, found)


def test_random_choices_of_the_named_space_come_back() -> None:
    rng = random.Random(5)
    archs = [LSTN.expand(LSTN.sample(rng)) for _ in range(400)]
    assert {arch.look for arch in archs} == {None, 32, 48, 64, 96, 128}
    assert {arch.head.pool_to for arch in archs} == {None, "soft-argmax", 1, 2, 4}
    for arch in archs:
        found = LSTN.encode(arch)
        assert found is not None and LSTN.expand(found) == arch and is_inside(LSTN, found)


def test_the_paper_s_nets_look_at_the_image_as_it_is() -> None:
    for name in ("stn", "lstn", "light"):
        choices = LSTN.encode(LSTN.seeds[name])
        assert choices is not None and choices["look"] == "image"
    places = LSTN.encode(LSTN.seeds["places"])
    assert places is not None and (places["look"], places["head.pool_to"]) == (64, "soft-argmax")


@pytest.mark.parametrize("look", [None, 64, 80])
def test_a_look_is_a_choice_only_where_the_space_lists_it(look: int | None) -> None:
    arch = dataclasses.replace(LSTN.seeds["light"], look=look)
    assert (LSTN.encode(arch) is not None) == (look != 80)
    without = dataclasses.replace(LSTN, values={name: v for name, v in LSTN.values.items() if name != "look"})
    choices = without.encode(arch)
    assert (choices is not None) == (look is None)
    assert choices is None or "look" not in choices
    assert LSTN.count() == without.count() * len(LSTN.values["look"])


def test_the_space_holds_nets_on_both_sides_of_the_usual_budget_at_a_look_of_64() -> None:
    rng = random.Random(0)
    archs = [LSTN.expand({**LSTN.sample(rng), "look": 64}) for _ in range(1000)]
    above = [cost(arch, 224).gflops > 0.03 for arch in archs if fits(arch, 64)]
    assert 5 < sum(above) < len(above) - 500


@pytest.mark.parametrize(
    ("image_size", "trial_size", "looks"),
    [(224, 64, (32, 48, 64)), (224, 100, (32, 48, 64, 96)), (224, 224, ("image", 32, 48, 64, 96, 128)),
     (64, 64, ("image", 32, 48)), (30, 30, ("image",)), (224, 20, ("image", 32, 48, 64, 96, 128))],
)  # fmt: skip
def test_a_search_asks_only_for_looks_that_its_trials_can_show(
    image_size: int, trial_size: int, looks: tuple[object, ...]
) -> None:
    space = LSTN.for_trials(image_size=image_size, trial_size=trial_size)
    assert space.values["look"] == looks
    assert {name: space.values[name] for name in space.values if name != "look"} == {
        name: LSTN.values[name] for name in LSTN.values if name != "look"
    }
    if trial_size >= min(int(look) for look in LSTN.values["look"] if look != "image"):
        rng = random.Random(0)
        assert all(space.expand(space.sample(rng)).is_same_at(image_size, trial_size) for _ in range(100))


def test_a_space_without_looks_stays_as_it_is() -> None:
    assert SPACES["tiny"].for_trials(image_size=224, trial_size=64) is SPACES["tiny"]


def test_a_seed_point_whose_look_trials_cannot_show_has_a_relative_that_they_can() -> None:
    space, lstn = LSTN.for_trials(image_size=224, trial_size=64), LSTN.seeds["lstn"]
    choices = space.relative(lstn)
    assert space.encode(lstn) is None
    assert choices is not None and space.expand(choices) == dataclasses.replace(lstn, look=64)
    assert LSTN.relative(lstn) == LSTN.encode(lstn)
    assert space.relative(LSTN.seeds["vstn"]) is None, "three of its convolutions have no ReLU"


def test_only_names_that_matter_occur() -> None:
    rng = random.Random(0)
    for _ in range(200):
        choices = LSTN.sample(rng)
        units = {int(match[1]) for name in choices if (match := re.match(r"unit(\d+)\.", name))}
        assert units == set(range(1, int(choices["units"]) + 1))
        for number in units:
            assert (f"unit{number}.decoder" in choices) == (choices[f"unit{number}.kind"] == "bottleneck")


def test_samples_are_reproducible_and_spread() -> None:
    one, two = random.Random(3), random.Random(3)
    samples = [LSTN.sample(one) for _ in range(300)]
    assert samples == [LSTN.sample(two) for _ in range(300)]
    for name, field in (
        ("norm", "norm"),
        ("units", "units"),
        ("stem.width", "stem.width"),
        ("head.pool_to", "head.pool_to"),
    ):
        assert {choices[name] for choices in samples} == set(LSTN.values[field])


def test_the_paper_s_unit_is_a_bottleneck() -> None:
    choices = LSTN.encode(LSTN.seeds["lstn"])
    assert choices is not None
    assert [choices[f"unit{n}.kind"] for n in range(1, 6)] == ["bottleneck"] * 5
    assert [choices[f"unit{n}.stride"] for n in range(1, 6)] == [1, 1, 2, 1, 1]
    assert [choices[f"unit{n}.padded"] for n in range(1, 6)] == [False, False, True, True, False]
    assert choices["tail.width"] == 10


@pytest.mark.parametrize(
    ("name", "inside"), [("stn", True), ("lstn", True), ("light", True), ("places", True), ("vstn", False)]
)
def test_which_seeds_are_inside(name: str, inside: bool) -> None:
    choices = LSTN.encode(LSTN.seeds[name])
    assert (choices is not None) == inside
    assert choices is None or LSTN.expand(choices) == LSTN.seeds[name]


@pytest.mark.parametrize(
    "arch",
    [
        Arch(layers=(Layer(out_channels=9, kernel=7),), head=Head(hidden=32)),
        Arch(layers=(Layer(out_channels=8, kernel=7),), head=Head(hidden=33)),
        Arch(layers=(Layer(out_channels=8, kernel=7),), head=Head(hidden=32), in_channels=1),
        Arch(layers=(Layer(out_channels=8, kernel=7, padding=1),), head=Head(hidden=32)),
        Arch(layers=(Layer(out_channels=8, kernel=7), Layer(out_channels=8, kernel=3, norm="conv-bn-act"))),
        Arch(layers=(Layer(out_channels=8, kernel=7, padding=3),) * 9),
    ],
    ids=["stem width", "hidden", "grey images", "padding", "mixed norms", "too many units"],
)
def test_outside_the_space(arch: Arch) -> None:
    assert LSTN.encode(arch) is None


@pytest.mark.parametrize("warp", WARP_FAMILIES)
def test_a_warp_is_a_choice_only_where_the_space_lists_it(warp: str) -> None:
    arch = with_warp(LSTN.seeds["light"], warp)
    choices = LSTN.encode(arch)
    assert (choices is not None) == (warp == DEFAULT_WARP)
    assert choices is None or "head.warp" not in choices
    listing = dataclasses.replace(LSTN, values={**LSTN.values, "head.warp": tuple(WARP_FAMILIES)})
    choices = listing.encode(arch)
    assert choices is not None
    assert choices["head.warp"] == warp
    assert listing.count() == LSTN.count() * len(WARP_FAMILIES)


def test_optuna_can_walk_a_space() -> None:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=0, n_startup_trials=5))

    def objective(trial: optuna.Trial) -> float:
        choices = LSTN.walk(lambda name, values: trial.suggest_categorical(name, values))
        assert choices == trial.params
        return -len(LSTN.expand(choices).layers)

    lstn = LSTN.encode(LSTN.seeds["lstn"])
    assert lstn is not None
    study.enqueue_trial(lstn)
    study.optimize(objective, n_trials=12)
    assert LSTN.expand(study.trials[0].params) == LSTN.seeds["lstn"]
