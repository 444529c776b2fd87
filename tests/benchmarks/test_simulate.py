"""The simulation: what must hold whatever is drawn, and that what is drawn is what was measured."""

import inspect
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import scale
import typer
from simulate import STRATEGIES, Strategy, simulate
from typer.testing import CliRunner
from world import BUDGET_GFLOPS, Accuracy, Timing, World

from lstn_search.errors import SettingError
from lstn_search.spec import pareto
from lstn_search.spec.ladder import Ladder

SIZES = (1, 3, 16, 128)

app = typer.Typer(add_completion=False)
app.command()(scale.main)


@pytest.fixture(scope="module")
def world() -> World:
    return World(trials=200)


def tau(first: np.ndarray, second: np.ndarray) -> float:
    """Kendall's tau, by counting pairs."""
    agree = np.sign(first[:, None] - first[None]) * np.sign(second[:, None] - second[None])
    return float(agree.sum() / (len(first) * (len(first) - 1)))


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("size", SIZES)
def test_no_cluster_does_more_than_its_workers_can(world: World, strategy: Strategy, size: int) -> None:
    outcome = simulate(world, strategy, size)
    assert outcome.makespan_seconds >= outcome.busy_seconds / size
    assert 0 < outcome.utilisation <= 1
    longest = max(world.run(number, 0).seconds for number in range(len(world.networks)))
    assert outcome.makespan_seconds > longest


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_one_worker_is_never_idle(world: World, strategy: Strategy) -> None:
    outcome = simulate(world, strategy, 1)
    assert outcome.utilisation > 0.99
    no_driver = World(trials=200, timing=Timing(driver_seconds=0))
    assert simulate(no_driver, strategy, 1).utilisation == pytest.approx(1)


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("size", SIZES)
def test_every_architecture_runs_rung_0_and_fewer_run_each_next_one(
    world: World, strategy: Strategy, size: int
) -> None:
    outcome = simulate(world, strategy, size)
    assert outcome.rung_runs[0] == len(world.networks) == 203
    assert list(outcome.rung_runs) == sorted(outcome.rung_runs, reverse=True)
    assert outcome.num_jobs == sum(outcome.rung_runs)


@pytest.mark.parametrize("size", SIZES)
def test_halving_promotes_exactly_one_in_eta_besides_the_seed_points(size: int) -> None:
    steady = World(trials=160, ladder=Ladder(eta=2), timing=Timing(failure=0), accuracy=Accuracy(dead=0))
    assert simulate(steady, "synchronous", size).rung_runs == (163, 83, 43, 23)
    assert simulate(steady, "no ladder", size).rung_runs == (163,) * 4
    climbed = simulate(steady, "asynchronous", size).rung_runs[1:]
    assert all(count >= least for count, least in zip(climbed, (83, 43, 23), strict=True))


def test_without_a_ladder_all_compute_is_the_sum_of_all_trials() -> None:
    timing = Timing(failure=0, jitter=0, recover_spread=0, epoch_spread=0, overhead_seconds=2, driver_seconds=0)
    steady = World(trials=40, ladder=Ladder(epochs=(2, 5)), timing=timing, accuracy=Accuracy(dead=0))
    outcome = simulate(steady, "no ladder", 1)
    drawn = 40 * (2 + timing.recover_seconds + 5 * timing.epoch_seconds)
    assert outcome.busy_seconds == pytest.approx(drawn + 3 * (2 + timing.recover_seconds + 5 * timing.epoch_seconds))
    assert outcome.makespan_seconds == pytest.approx(outcome.busy_seconds)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_the_final_front_is_one_and_within_the_budget(world: World, strategy: Strategy) -> None:
    outcome = simulate(world, strategy, 16)
    scores = [world.run(number, world.ladder.top).score or 0.0 for number in outcome.front]
    gflops = [world.networks[number].gflops for number in outcome.front]
    assert pareto.front(list(zip(scores, gflops, strict=True))) == list(range(len(outcome.front)))
    assert max(gflops) <= BUDGET_GFLOPS
    assert not any(world.networks[number].is_dead for number in outcome.front)
    assert 0 < outcome.front_share < 1
    assert 0.8 < outcome.hypervolume_share <= 1


def test_the_seed_decides_everything() -> None:
    def outcomes(seed: int) -> list[dict[str, object]]:
        return [simulate(World(trials=60, seed=seed), strategy, 7).to_dict() for strategy in STRATEGIES]

    assert outcomes(1) == outcomes(1)
    assert outcomes(1) != outcomes(2)


def test_failed_attempts_are_tried_again_and_cost_time() -> None:
    calm = simulate(World(trials=200, timing=Timing(failure=0)), "no ladder", 1)
    rough = simulate(World(trials=200, timing=Timing(failure=0.3, retries=5)), "no ladder", 1)
    assert calm.num_failed == 0
    assert rough.num_failed > 100
    assert rough.busy_seconds > calm.busy_seconds
    hopeless = simulate(World(trials=20, timing=Timing(failure=1.0, retries=1)), "asynchronous", 4)
    assert hopeless.rung_runs == (23, 0, 0, 0)
    assert hopeless.num_failed == 46
    assert hopeless.front == ()


def test_the_driver_bounds_the_search(world: World) -> None:
    slow = World(trials=200, timing=Timing(driver_seconds=5))
    outcome = simulate(slow, "asynchronous", 1024)
    assert outcome.makespan_seconds > 5 * outcome.num_jobs
    assert simulate(world, "asynchronous", 1024).makespan_seconds < outcome.makespan_seconds


def test_accuracies_have_the_mean_spread_and_noise_that_were_measured() -> None:
    drawn = World(trials=2000)
    nets = [net for net in drawn.networks if not net.is_seed]
    scores = [[drawn.run(net.number, rung).score or 0.0 for net in nets] for rung in range(4)]
    top = np.array(scores[3])
    whole = top > 0  # two failures in a row are rare
    joint = np.array([net.accuracy for net in nets]) + np.random.default_rng(0).normal(0, 1.25, len(nets))
    assert joint.mean() == pytest.approx(62.9, abs=0.3)
    assert joint.std() == pytest.approx(3.5, abs=0.3)
    assert tau(np.array([net.gflops for net in nets]), joint) == pytest.approx(0.11, abs=0.04)
    assert tau(np.array(scores[0])[whole], joint[whole]) == pytest.approx(0.62, abs=0.03)
    assert tau(np.array(scores[1])[whole], joint[whole]) == pytest.approx(0.32, abs=0.03)
    four_epochs = World(trials=2000, ladder=Ladder(epochs=(4,)))
    after_four = np.array([four_epochs.run(net.number, 1).score or 0.0 for net in nets])
    assert tau(after_four[whole], joint[whole]) == pytest.approx(0.43, abs=0.03)


def test_times_have_the_range_that_was_measured() -> None:
    drawn = World(trials=1000, timing=Timing(failure=0, overhead_seconds=0))
    recover = np.array([drawn.run(number, 0).seconds for number in range(3, 1003)])
    epoch = np.array([drawn.run(number, 1).seconds for number in range(3, 1003)]) / 2
    assert np.quantile(recover, [0.1, 0.5, 0.9]) == pytest.approx([8, 13, 22], rel=0.1)
    assert np.quantile(epoch, [0.05, 0.5, 0.95]) == pytest.approx([6.5, 9, 12.5], rel=0.1)
    assert drawn.run(0, 0).seconds == pytest.approx(25, rel=0.15)
    assert drawn.run(0, 1).seconds / 2 == pytest.approx(12.5, rel=0.15)


@pytest.mark.parametrize(
    "arguments",
    [["--workers", "1,x"], ["--workers", "0"], ["--trials", "0"], ["--ladder", "6,2"], ["--epoch-seconds", "0"]],
)
def test_bad_options_are_refused(arguments: list[str]) -> None:
    with pytest.raises(SettingError):
        CliRunner().invoke(app, list(arguments), catch_exceptions=False, standalone_mode=False)


def test_the_command_prints_every_cluster_within_100_columns() -> None:
    done = CliRunner().invoke(app, ["--trials", "50", "--workers", "1,16,1024"])
    assert done.exit_code == 0
    assert all(len(line) <= 100 for line in done.output.splitlines())
    sizes = [line.split()[0] for line in done.output.splitlines() if line.count("%") == 4]
    assert sizes == ["1", "16", "1,024"]


def test_the_command_prints_json_for_a_program() -> None:
    done = CliRunner().invoke(app, ["--trials", "50", "--workers", "1,16", "--json"])
    outcomes = json.loads(done.stdout)
    assert [(o["strategy"], o["num_workers"]) for o in outcomes] == [(s, n) for n in (1, 16) for s in STRATEGIES]
    expected = simulate(World(trials=50), "asynchronous", 16).to_dict()
    assert next(o for o in outcomes if o["num_workers"] == 16) == json.loads(json.dumps(expected))


def test_the_commands_defaults_are_the_simulations() -> None:
    parameters = inspect.signature(scale.main).parameters
    for name in ("recover_seconds", "epoch_seconds", "driver_seconds"):
        assert parameters[name].default == getattr(Timing(), name)
    assert Ladder.parse(parameters["ladder"].default, parameters["eta"].default) == World(trials=1).ladder


def test_the_simulation_needs_no_torch() -> None:
    code = "import sys, simulate; sys.exit('torch' in sys.modules)"
    folder = Path(scale.__file__).parent
    assert subprocess.run([sys.executable, "-c", code], check=False, cwd=folder).returncode == 0
