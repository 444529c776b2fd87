"""What a search was asked to do, and which budgets make sense."""

import json
import math
import random
from typing import Any

import pytest
from small_search import make_settings, write_space

from lstn_search.errors import BudgetError, LstnError, SettingError
from lstn_search.spec.cost import cost
from lstn_search.spec.settings import SearchSettings, _round_up, check_budget
from lstn_search.spec.space import Space, load_space
from lstn_search.spec.task import Task

LSTN = load_space("lstn")
NOT_OBJECTIVES = "are not accuracy and then one or more costs, each once; write for example accuracy,gflops"


@pytest.fixture(scope="module")
def space(tmp_path_factory: pytest.TempPathFactory) -> Space:
    return load_space(write_space(tmp_path_factory.mktemp("space")))


@pytest.mark.parametrize("budget", [0, -1, math.nan, math.inf, -math.inf, "0.03", None])
def test_a_budget_is_a_positive_number(space: Space, budget: Any) -> None:
    with pytest.raises(BudgetError, match="the budget must be a positive number of GFLOPs, got"):
        make_settings(space, budget_gflops=budget)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sampler": "tep"}, "unknown sampler 'tep'; did you mean 'tpe'?"),
        ({"sampler": "grid"}, "unknown sampler 'grid'; known: evolution, nsga2, random, tpe"),
        ({"objectives": ("accuracy", "glfops")}, "unknown objective 'glfops'; did you mean 'gflops'?"),
        ({"objectives": ("accuracy", "prams")}, "unknown objective 'prams'; did you mean 'params'?"),
        ({"objectives": ("accuracy",)}, f"objectives 'accuracy' {NOT_OBJECTIVES}"),
        ({"objectives": ()}, f"objectives '' {NOT_OBJECTIVES}"),
        ({"objectives": ("gflops", "accuracy")}, f"objectives 'gflops,accuracy' {NOT_OBJECTIVES}"),
        ({"objectives": ("accuracy", "gflops", "gflops")}, f"objectives 'accuracy,gflops,gflops' {NOT_OBJECTIVES}"),
        ({"objectives": ("accuracy", "accuracy")}, f"objectives 'accuracy,accuracy' {NOT_OBJECTIVES}"),
        ({"budget_scope": "net"}, "unknown budget scope 'net'; known: localizer, stn"),
    ],
)
def test_an_unknown_word_gets_a_suggestion(space: Space, changes: dict[str, str], message: str) -> None:
    with pytest.raises(SettingError) as error:
        make_settings(space, **changes)
    assert str(error.value) == message


def test_settings_survive_json(space: Space) -> None:
    task = Task(dataset="folder:/somewhere", image_size=96, seed=3)
    settings = make_settings(space, task, sampler="nsga2", budget_scope="stn", seed=3)
    assert SearchSettings.from_dict(json.loads(json.dumps(settings.to_dict()))) == settings


def test_settings_written_before_there_were_objectives_have_the_default(space: Space) -> None:
    settings = make_settings(space)
    old = settings.to_dict()
    assert old.pop("objectives") == ["accuracy", "gflops"]
    assert SearchSettings.from_dict(old) == settings
    assert [cost.name for cost in settings.costs] == ["gflops"]


def test_violation_is_cost_less_budget(space: Space) -> None:
    arch = space.seeds["good"]
    gflops = cost(arch, 48).gflops
    assert make_settings(space, budget_gflops=gflops).violation(arch) == 0
    assert make_settings(space, budget_gflops=gflops / 2).violation(arch) == pytest.approx(gflops / 2)
    grid_and_sampler = 48 * 48 * (6 + 2 + 4 + 4 + 3 * 4) / 1e9
    stn = make_settings(space, budget_gflops=gflops, budget_scope="stn")
    assert stn.violation(arch) == pytest.approx(grid_and_sampler)


@pytest.mark.parametrize("scope", ["localizer", "stn"])
@pytest.mark.parametrize(("image_size", "trial_size"), [(224, 64), (64, 24), (32, 32), (1024, 64)])
def test_the_cheapest_cost_that_is_named_works(scope: str, image_size: int, trial_size: int) -> None:
    task = Task(dataset="glyphs", image_size=image_size, trial_size=trial_size)
    with pytest.raises(BudgetError, match="raise --budget-gflops") as error:
        check_budget(make_settings(LSTN, task, budget_gflops=1e-9, budget_scope=scope), LSTN)
    named = float(str(error.value).split("the cheapest needs ")[1].split(":")[0])
    check_budget(make_settings(LSTN, task, budget_gflops=named, budget_scope=scope), LSTN)
    with pytest.raises(BudgetError):
        check_budget(make_settings(LSTN, task, budget_gflops=named - 2e-6, budget_scope=scope), LSTN)


def test_rounding_up_never_rounds_down() -> None:
    rng = random.Random(0)
    for _ in range(10_000):
        gflops = rng.randrange(1, 10 ** rng.randrange(4, 12)) / 1e9 + rng.choice((0, 0.00140492))
        assert gflops <= float(_round_up(gflops)) <= gflops + 1.000001e-6


def test_a_space_that_no_image_size_can_build_is_refused() -> None:
    deep = {"units": (5,), "unit.kind": ("plain",), "unit.padded": (False,), "unit.stride": (2,)}
    only_deep = Space(name="deep", values={**LSTN.values, **deep})
    with pytest.raises(LstnError):
        check_budget(make_settings(only_deep, Task(dataset="glyphs", image_size=16, trial_size=16)), only_deep)
