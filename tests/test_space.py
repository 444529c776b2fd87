"""Search spaces: choices to architectures and back, the moves, the cheapest network, and files with mistakes."""

import copy
import functools
import itertools
import random
import re
import time
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import optuna
import pytest

from lstn_search import space as space_module
from lstn_search.arch import Arch, Head, Layer
from lstn_search.choices import Choices, Value
from lstn_search.cost import cost, fits
from lstn_search.errors import ArchError, SpaceError
from lstn_search.space import Space, load_space, resolve_arch, space_folder, space_names

LSTN = load_space("lstn")

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
        unit_kind=["plain", "separable"], unit_kernel=[1, 3], unit_encoder=[5], units=[1, 2], norm=["none"]
    ),
    "no norm to leave out": tiny(norm=["conv-bn-act", "conv-act-bn"], stem_max_pool=[1, 3], unit_decoder=[8]),
    "always two units": tiny(units=[2], head_pool_to=[3, 2, 1], unit_encoder=[4], unit_decoder=[6], norm=["none"]),
    "separable stem": tiny(stem_kind=["separable", "plain"], units=[0, 1], tail_width=[5, 2], head_hidden=[16]),
}


@functools.cache
def every_arch(name: str) -> set[Arch]:
    """All architectures of one of SPACES."""
    return {SPACES[name].expand(choices) for choices in every_choice(SPACES[name])}


# -- choices and architectures -----------------------------------------------------------------------------------------


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


def is_inside(space: Space, choices: Choices) -> bool:
    """Whether a walk can return exactly these choices, in this order."""
    seen: list[bool] = []

    def suggest(name: str, values: tuple[Value, ...]) -> Value:
        seen.append(choices[name] in values)
        return choices[name]

    return list(space.walk(suggest).items()) == list(choices.items()) and all(seen)


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


@pytest.mark.parametrize(("name", "inside"), [("stn", True), ("lstn", True), ("light", True), ("vstn", False)])
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


# -- moves -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("space", [LSTN, *SPACES.values()], ids=["lstn", *SPACES])
def test_mutants_are_inside_and_different(space: Space) -> None:
    rng = random.Random(0)
    for _ in range(150):
        parent = space.sample(rng)
        before = dict(parent)
        child = space.mutate(parent, rng)
        assert is_inside(space, child)
        assert space.expand(child) != space.expand(parent)
        assert parent == before


def test_mutation_is_reproducible() -> None:
    parent = LSTN.sample(random.Random(1))
    assert LSTN.mutate(parent, random.Random(2)) == LSTN.mutate(parent, random.Random(2))


def test_every_kind_of_move_occurs() -> None:
    rng, parent = random.Random(0), LSTN.encode(LSTN.seeds["lstn"])
    assert parent is not None
    children = [LSTN.mutate(parent, rng) for _ in range(400)]
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
    }
    assert {"stem.stride", "unit1.stride"} in changed, "two strides exchanged"
    assert {child["units"] for child in children} == {4, 5}
    assert {str(child["unit2.kind"]) for child in children} == {"bottleneck", "plain", "separable"}


def test_widths_move_to_their_neighbours() -> None:
    rng, parent = random.Random(0), LSTN.encode(LSTN.seeds["stn"])
    assert parent is not None
    widths = {LSTN.mutate(parent, rng)["stem.width"] for _ in range(300)}
    assert widths == {6, 8, 12}


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
        one.mutate(one.sample(random.Random(0)), random.Random(0))


@pytest.mark.parametrize("gflops", [0.02, 0.002, 0.0003])
def test_repair_meets_the_budget_at_both_sizes(gflops: float) -> None:
    def within(arch: Arch) -> bool:
        return fits(arch, 64) and fits(arch, 224) and cost(arch, 224).gflops <= gflops

    rng = random.Random(0)
    for _ in range(100):
        choices = LSTN.sample(rng)
        found = LSTN.repair(choices, within, rng)
        assert found is not None
        assert within(LSTN.expand(found))
        assert is_inside(LSTN, found)
        assert found == choices or not within(LSTN.expand(choices)), "what fits stays as it is"


def test_repair_makes_room_when_the_map_vanishes() -> None:
    space = tiny(units=[3], unit_stride=[1, 2], unit_kernel=[3], unit_max_pool=[1, 2], head_pool_to=[2])
    choices = space.walk(lambda name, values: False if name.endswith("padded") else max(values, key=str))
    assert not fits(space.expand(choices), 16)
    found = space.repair(choices, lambda arch: fits(arch, 16), random.Random(0))
    assert found is not None
    assert fits(space.expand(found), 16)


def test_repair_gives_up_when_nothing_fits() -> None:
    assert LSTN.repair(LSTN.sample(random.Random(0)), lambda arch: False, random.Random(0)) is None


# -- the cheapest ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sizes", [(32, None), (32, 8), (20, 11), (9, 32), (224, 12)], ids=str)
@pytest.mark.parametrize("name", SPACES)
def test_cheapest_is_the_minimum_of_all(name: str, sizes: tuple[int, int | None]) -> None:
    space, (image_size, trial_size) = SPACES[name], sizes
    buildable = [arch for arch in every_arch(name) if fits(arch, image_size) and fits(arch, trial_size or image_size)]
    if not buildable:
        with pytest.raises(ArchError, match="no architecture of search space 'tiny' can be built at image size"):
            space.cheapest(image_size, trial_size)
        return
    gflops, choices = space.cheapest(image_size, trial_size)
    assert gflops == min(cost(arch, image_size).gflops for arch in buildable)
    arch = space.expand(choices)
    assert is_inside(space, choices)
    assert cost(arch, image_size).gflops == gflops
    assert fits(arch, trial_size or image_size)


@pytest.mark.parametrize("units", [[0, 1, 2, 3, 4, 5], [5]], ids=str)
def test_cheapest_of_the_whole_space_takes_less_than_a_second(units: list[int]) -> None:
    space = Space(name="lstn", values={**LSTN.values, "units": tuple(units)})
    start = time.perf_counter()
    gflops, _ = space.cheapest(224, 64)
    assert time.perf_counter() - start < 1
    rng = random.Random(0)
    archs = [space.expand(space.sample(rng)) for _ in range(300)]
    assert gflops <= min(cost(arch, 224).gflops for arch in archs if fits(arch, 64) and fits(arch, 224))


# -- files -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", space_names())
def test_every_named_space_loads_and_can_be_built(name: str) -> None:
    space = load_space(name)
    assert space.name == name
    assert space.description
    assert load_space(space_folder() / f"{name}.toml") == space
    assert space.cheapest(224, 64)[0] > 0
    for seed in space.seeds.values():
        assert fits(seed, 224)
        assert fits(seed, 64)
    assert all(space.sources.values())


def test_the_mission_s_seed_points_are_there() -> None:
    assert {"stn", "vstn", "lstn", "light"} <= set(LSTN.seeds)


def edited(edit: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    """The tables of lstn.toml after an edit."""
    data = tomllib.loads((space_folder() / "lstn.toml").read_text())
    edit(data)
    return data


def put(path: str, value: Any) -> Callable[[dict[str, Any]], None]:
    """An edit: set one value, such as `unit.kernel`."""

    def edit(data: dict[str, Any]) -> None:
        *groups, key = path.split(".")
        for group in groups:
            data = data[group]
        data[key] = value

    return edit


def drop(path: str) -> Callable[[dict[str, Any]], None]:
    """An edit: remove one key."""

    def edit(data: dict[str, Any]) -> None:
        *groups, key = path.split(".")
        for group in groups:
            data = data[group]
        del data[key]

    return edit


MISTAKES = [
    (put("unit.kernal", [3]), "unknown key 'unit.kernal'; did you mean 'kernel'?"),
    (put("unti", {}), "unknown key 'unti'; did you mean 'unit' or 'units'?"),
    (drop("unit.kernel"), "unit.kernel is missing; add a list of its values"),
    (drop("stem"), "table [stem] is missing; add it with the lists kind, kernel, stride, width, padded, max_pool"),
    (put("stem", 3), "stem must be a table, got 3"),
    (put("unit.kernel", 3), "unit.kernel must be a list of values, got 3; write unit.kernel = [3]"),
    (put("unit.kernel", []), "unit.kernel is an empty list; give it at least one value"),
    (put("unit.kernel", [3, 5, 3]), "unit.kernel[2]: 3 stands in the list twice; remove one"),
    (put("unit.kernel", [3, 4]), "unit.kernel[1]: 4 is even; use an odd kernel"),
    (put("unit.kernel", [3, "5"]), "unit.kernel[1]: '5' is not a whole number"),
    (put("unit.kernel", [3, 5.0]), "unit.kernel[1]: 5.0 is not a whole number"),
    (put("unit.kernel", [3, True]), "unit.kernel[1]: true is not a whole number"),
    (put("unit.stride", [0]), "unit.stride[0]: 0 is out of range; use 1 to 4096"),
    (put("units", [0, 99]), "units[1]: 99 is out of range; use 0 to 32"),
    (put("unit.padded", [0, 1]), "unit.padded[0]: 0 is not true or false"),
    (put("unit.kind", ["plain", "bottelneck"]), "unit.kind[1]: 'bottelneck' is unknown; did you mean 'bottleneck'?"),
    (put("stem.kind", ["bottleneck"]), "stem.kind[0]: 'bottleneck' is unknown; known: plain, separable"),
    (put("norm", ["conv-bn-act", "batch"]), "norm[1]: 'batch' is unknown; known: conv-act-bn, conv-bn-act, none"),
    (put("head.pool_to", ["flaten", 1]), "head.pool_to[0]: 'flaten' is unknown; did you mean 'flatten'?"),
    (put("head.pool_to", [False]), "head.pool_to[0]: false is not 'flatten' or a whole number"),
    (put("description", 3), "description must be text in quotes, got 3"),
    (put("seeds", [1]), "seeds must be a table, got [1]"),
    (put("seeds.stn.layer", []), "unknown key 'seeds.stn.layer'; did you mean 'layers'?"),
    (put("seeds.stn.source", 1), "seeds.stn.source must be text in quotes, got 1"),
    (put("seeds.lstn.norm", "bn"), "seeds.lstn.norm: 'bn' is unknown; known: conv-act-bn"),
    (drop("seeds.stn.layers"), "seeds.stn: field 'layers' is missing; add it"),
    (put("seeds.stn.layers", [{"kernel": 3}]), "seeds.stn: layers[0]: field 'out_channels' is missing; add it"),
    (put("seeds.stn.head", {"hiden": 3}), "seeds.stn: head: unknown field 'hiden'; did you mean 'hidden'?"),
]


@pytest.mark.parametrize(("edit", "message"), MISTAKES, ids=[message[:40] for _, message in MISTAKES])
def test_a_mistake_is_one_line_with_its_place_and_cure(edit: Callable[[dict[str, Any]], None], message: str) -> None:
    with pytest.raises(SpaceError) as caught:
        Space.from_dict(edited(edit), name="mine", where="my.toml")
    assert str(caught.value).startswith(f"my.toml: {message}")
    assert "\n" not in str(caught.value)


def test_malformed_toml_names_file_and_line(tmp_path: Path) -> None:
    path = tmp_path / "broken.toml"
    path.write_text('norm = ["none"]\nunits = [0, 1\n[stem]\n')
    with pytest.raises(SpaceError, match=r"broken\.toml: not valid TOML \(.*line 3"):
        load_space(path)


@pytest.mark.parametrize("name", ["missing.toml", "folder.toml", "binary.toml"])
def test_an_unreadable_file_is_one_line(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder.toml").mkdir()
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SpaceError, match=f"{name}: cannot be read"):
        load_space(tmp_path / name)


def test_unknown_names_suggest() -> None:
    with pytest.raises(SpaceError, match="search space 'lsnt' is unknown; did you mean 'lstn'"):
        load_space("lsnt")
    with pytest.raises(ArchError, match="architecture 'vsnt' is unknown; did you mean 'vstn'"):
        resolve_arch("vsnt", LSTN)


def test_resolve_arch_takes_a_seed_or_a_file(tmp_path: Path) -> None:
    light = LSTN.seeds["light"]
    path = tmp_path / "net.json"
    path.write_text(light.to_json())
    assert resolve_arch("light", LSTN) == resolve_arch(str(path), LSTN) == light
    with pytest.raises(ArchError, match=r"other\.json: cannot be read"):
        resolve_arch(str(tmp_path / "other.json"), LSTN)


def test_an_installed_package_finds_its_own_spaces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    installed = tmp_path / "site-packages" / "lstn_search"
    (installed / "search_spaces").mkdir(parents=True)
    (installed / "search_spaces" / "mine.toml").touch()
    monkeypatch.setattr(space_module, "__file__", str(installed / "space.py"))
    assert space_names() == ["mine"]
