"""Rank correlations: counted by hand, bootstrapped a second way, and what is said about planted rankings."""

import dataclasses
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console
from scipy.stats import kendalltau
from small_search import make_settings
from small_training import ARCH

from lstn_search.cli import fidelity as command
from lstn_search.ranking.facts import fidelity_info, warnings, write_fidelity
from lstn_search.ranking.rank import NUM_RESAMPLES, correlate, verdict
from lstn_search.runs.entries import Candidate, Entry
from lstn_search.runs.folder import RunFolder
from lstn_search.runs.run import Run
from lstn_search.spec.ladder import Ladder
from lstn_search.spec.results import TrialResult
from lstn_search.spec.space import Space
from lstn_search.spec.task import Task

Values = Sequence[float]


def numbered(values: Values) -> dict[int, float]:
    return dict(enumerate(values))


def tau_by_hand(a: Values, b: Values) -> float:
    """Tau-b from its definition, pair by pair."""
    agree = disagree = tied_a = tied_b = 0
    for i in range(len(a)):
        for j in range(i):
            if a[i] == a[j] and b[i] == b[j]:
                continue
            if a[i] == a[j]:
                tied_a += 1
            elif b[i] == b[j]:
                tied_b += 1
            elif (a[i] > a[j]) == (b[i] > b[j]):
                agree += 1
            else:
                disagree += 1
    untied = agree + disagree
    return (agree - disagree) / float(np.sqrt((untied + tied_a) * (untied + tied_b)))


def noisy(num: int, noise: float, seed: int = 0) -> tuple[list[float], list[float]]:
    """A measure, and the same with noise."""
    rng = np.random.default_rng(seed)
    a = rng.standard_normal(num)
    return a.tolist(), (a + noise * rng.standard_normal(num)).tolist()


# -- tau and its interval ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("levels", [1000, 8, 3])
@pytest.mark.parametrize("seed", range(4))
def test_tau_is_the_count_of_pairs(levels: int, seed: int) -> None:
    a, b = np.random.default_rng(seed).integers(levels, size=(2, 20)).tolist()
    found = correlate("a", numbered(a), "b", numbered(b))
    assert found.tau == pytest.approx(tau_by_hand(a, b))
    assert found.num == 20


@pytest.mark.parametrize(("num", "levels"), [(6, 1000), (13, 1000), (13, 3), (30, 5)])
def test_the_interval_is_that_of_resamples_drawn_one_by_one(num: int, levels: int) -> None:
    a, b = noisy(num, 0.7, seed=num)
    a, b = (np.round(np.array(values) * levels / 4).tolist() for values in (a, b))
    drawn = np.random.default_rng(5).integers(num, size=(NUM_RESAMPLES, num))
    taus = [kendalltau([a[i] for i in row], [b[i] for i in row]).statistic for row in drawn]
    expected = np.nanpercentile(taus, [2.5, 97.5])
    found = correlate("a", numbered(a), "b", numbered(b), seed=5)
    assert (found.low, found.high) == pytest.approx(tuple(expected), abs=1e-5)


def test_the_interval_of_very_many_is_narrowed_from_a_sample() -> None:
    a, b = noisy(3000, 1.0)
    found = correlate("a", numbered(a), "b", numbered(b))
    rng = np.random.default_rng(1)
    rows = rng.integers(3000, size=(300, 3000))
    taus = [kendalltau(np.take(a, row), np.take(b, row)).statistic for row in rows]
    assert (found.low, found.high) == pytest.approx(tuple(np.percentile(taus, [2.5, 97.5])), abs=0.01)


def test_the_interval_holds_the_truth_about_95_times_in_100() -> None:
    """Of normal samples with tau 0.5, and hardly one in 40 of unrelated ones is called a hint."""
    covered = hints = 0
    for seed in range(200):
        found = [correlate("a", numbered(a), "b", numbered(b)) for a, b in (noisy(12, 1.0, seed), noisy(12, 1e9, seed))]
        assert found[0].low is not None and found[0].high is not None
        covered += found[0].low <= 0.5 <= found[0].high
        hints += found[1].verdict in ("trust it", "a hint, no more")
    assert covered >= 180
    assert hints <= 12


def test_equal_seeds_give_equal_intervals() -> None:
    a, b = (numbered(values) for values in noisy(10, 1.0))
    assert correlate("a", a, "b", b, seed=3) == correlate("a", a, "b", b, seed=3)
    assert correlate("a", a, "b", b, seed=3).low != correlate("a", a, "b", b, seed=4).low


def test_only_architectures_with_both_count() -> None:
    a, b = {1: 1.0, 2: 2.0, 3: 3.0, 4: 0.0}, {2: 5.0, 3: 6.0, 9: 1.0}
    found = correlate("a", a, "b", b)
    assert (found.num, found.num_left_out, found.tau) == (2, 2, 1)
    assert "n = 2 of 4" in found.sentence


# -- the rule ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("num", "tau", "low", "high", "said"),
    [
        (5, 1.0, None, None, "too few to say"),
        (0, None, None, None, "too few to say"),
        (6, 1.0, 1.0, 1.0, "trust it"),
        (9, 0.7, 0.51, 0.9, "trust it"),
        (9, 0.7, 0.5, 0.9, "a hint, no more"),
        (9, 0.4, 0.01, 0.7, "a hint, no more"),
        (9, 0.4, 0.0, 0.7, "too few to say"),
        (50, 0.1, -0.1, 0.3, "do not trust it: it does not rank"),
        (50, -0.3, -0.5, -0.1, "do not trust it: it ranks the wrong way round"),
        (9, None, None, None, "cannot say: one side is the same for all"),
    ],
)
def test_the_rule(num: int, tau: float | None, low: float | None, high: float | None, said: str) -> None:
    assert verdict(num, tau, low, high) == said


@pytest.mark.parametrize(
    ("a", "b", "said"),
    [
        (range(8), range(8), "trust it"),
        (range(8), range(8, 0, -1), "do not trust it: it ranks the wrong way round"),
        (*noisy(60, 1e9), "do not trust it: it does not rank"),
        (range(5), range(5), "too few to say"),
        (range(8), [1] * 8, "cannot say: one side is the same for all"),
        ([1, 1, 1, 1, 2, 2, 2, 2], [5, 5, 5, 5, 7, 7, 7, 7], "trust it"),
    ],
)
def test_planted_rankings(a: Values, b: Values, said: str) -> None:
    found = correlate("this", numbered(a), "that", numbered(b))
    assert found.verdict == said
    assert found.sentence.startswith(f"this against that: {said} (")


# -- a run -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def plant(small_space: Space, tmp_path: Path) -> Callable[..., Run]:
    """A run whose architectures have these numbers: corner errors, then accuracies by rung, None where it stopped."""

    def make(errors: Values, *rungs: Sequence[float | None], **changes: Any) -> Run:
        ladder = Ladder(epochs=tuple(2 * 3**i for i in range(len(rungs))), eta=changes.pop("eta", 3))
        settings = make_settings(small_space, ladder=ladder, **changes)
        entries = []
        for number, error in enumerate(errors):
            first = TrialResult(status="ok", corner_error_px=error, alignment_mse=error**2, frozen_top1=50 - error)
            results = [first]
            for values in rungs:
                value = values[number]
                if value is not None:
                    results.append(TrialResult(status="ok", val_top1=value))
            candidate = Candidate(
                number=number, name=f"t{number}", arch=ARCH, is_seed=False, params=1000 + number, macs=1,
                gflops=1e-4 / (1 + number), costs=(), over_budget=False,
            )  # fmt: skip
            entries.append(Entry(candidate=candidate, results=results))
        return Run(folder=RunFolder(tmp_path, {"settings": settings.to_dict(), "id": "0" * 32}), entries=entries)

    return make


def test_every_pair_of_rungs_then_the_cost_against_the_longest(plant: Callable[..., Run]) -> None:
    accuracies = [float(i) for i in range(8)]
    info = fidelity_info(plant([20 - a for a in accuracies], accuracies, accuracies))
    recover = ["corner error", "alignment error", "frozen-backbone accuracy"]
    short, long = "accuracy after 2 epochs", "accuracy after 6 epochs"
    pairs = [*((a, b) for a in recover for b in (short, long)), (short, long), ("parameters", long), ("GFLOPs", long)]
    assert [(c.a, c.b) for c in info.correlations] == pairs
    assert info.longest == long
    expected = dict.fromkeys(pairs, 1.0) | {("GFLOPs", long): -1.0}
    assert {(c.a, c.b): c.tau for c in info.correlations} == pytest.approx(expected)
    assert info.warnings == ()
    assert (info.deployment, info.num) == (None, 8)
    assert "not measured" in info.deployment_sentence


def test_a_rung_that_few_have_reached_is_not_the_longest_schedule(plant: Callable[..., Run]) -> None:
    accuracies = [float(i) for i in range(12)]
    info = fidelity_info(plant([20 - a for a in accuracies], accuracies, [None] * 7 + accuracies[7:]))
    assert info.longest == "accuracy after 2 epochs"
    assert {c.verdict for c in info.correlations if c.b == "accuracy after 6 epochs"} == {"too few to say"}


def test_recover_is_no_schedule_where_anything_was_trained_jointly(plant: Callable[..., Run]) -> None:
    info = fidelity_info(plant([float(i) for i in range(9)], [50.0, 60.0] + [None] * 7))
    assert info.longest == "accuracy after 2 epochs"
    assert {(c.num, c.verdict) for c in info.correlations} == {(2, "too few to say")}


def test_a_search_whose_rungs_do_not_rank_says_so(plant: Callable[..., Run]) -> None:
    errors, accuracies = noisy(60, 1e9, seed=2)
    run = plant([error + 10 for error in errors], accuracies, eta=1, sampler="random")
    (warning,) = warnings(run)
    assert warning.startswith("corner error against accuracy after 2 epochs: do not trust it: it does not rank (tau ")
    assert "survivors" not in warning
    assert fidelity_info(run).notes == ()


def test_survivors_rank_worse_than_all_and_that_is_said(plant: Callable[..., Run]) -> None:
    good, accuracies = noisy(150, 0.6)
    errors = [10 - value for value in good]
    everyone = fidelity_info(plant(errors, accuracies, eta=1, sampler="random"))
    bar = sorted(errors)[50]
    climbed = [value if error < bar else None for error, value in zip(errors, accuracies, strict=True)]
    survivors = fidelity_info(plant(errors, climbed))
    taus = [info.correlations[0].tau for info in (everyone, survivors)]
    assert taus[0] is not None and taus[1] is not None and taus[1] < taus[0] - 0.15
    assert (survivors.correlations[0].num, survivors.correlations[0].num_left_out) == (50, 100)
    assert any("range restriction" in note and "--eta 1 --sampler random" in note for note in survivors.notes)
    assert everyone.notes == ()


def test_seed_points_over_the_budget_are_left_out(plant: Callable[..., Run]) -> None:
    run = plant([float(i) for i in range(9)], [9.0 - i for i in range(9)])
    run.entries[4].candidate = dataclasses.replace(run.entries[4].candidate, name="costly", over_budget=True)
    info = fidelity_info(run)
    assert {c.num for c in info.correlations} == {info.num} == {8}
    assert "left out, being over the budget: costly" in info.notes


def test_failures_and_numbers_that_are_none_do_not_count(plant: Callable[..., Run]) -> None:
    run = plant([float(i) for i in range(9)], [9.0 - i for i in range(9)])
    run.entries[0].results[1] = TrialResult(status="failed", reason="diverged")
    run.entries[1].results[0] = dataclasses.replace(run.entries[1].results[0], corner_error_px=float("nan"))
    found = {c.a: c for c in fidelity_info(run).correlations}
    assert (found["corner error"].num, found["alignment error"].num, found["parameters"].num) == (7, 8, 8)


def test_a_run_without_joint_training_compares_nothing_but_cost(plant: Callable[..., Run]) -> None:
    info = fidelity_info(plant([3.0, 2.0, 1.0]))
    assert [(c.a, c.b) for c in info.correlations] == [("parameters", "corner error"), ("GFLOPs", "corner error")]
    assert fidelity_info(plant([])).longest is None


def test_of_the_papers_protocol_only_cost_is_compared(small_space: Space, tmp_path: Path) -> None:
    settings = make_settings(small_space, Task.paper(dataset="glyphs"))
    run = Run(folder=RunFolder(tmp_path, {"settings": settings.to_dict(), "id": "0" * 32}), entries=[])
    for number in range(6):
        candidate = Candidate(
            number=number,
            name="t",
            arch=ARCH,
            is_seed=False,
            params=number,
            macs=1,
            gflops=1,
            costs=(),
            over_budget=False,
        )
        run.entries.append(Entry(candidate=candidate, results=[TrialResult(status="ok", val_top1=float(number))]))
    by_name = {c.a: c for c in fidelity_info(run).correlations}
    assert by_name["parameters"].b == "accuracy after training"
    assert by_name["parameters"].tau == pytest.approx(1)
    assert by_name["GFLOPs"].verdict == "cannot say: one side is the same for all"


def test_what_is_written_is_what_was_found(plant: Callable[..., Run]) -> None:
    run = plant([float(i) for i in range(9)], [9.0 - i for i in range(9)])
    info = fidelity_info(run)
    write_fidelity(run, info)
    content = json.loads((run.folder.path / "fidelity.json").read_text())
    assert content == json.loads(json.dumps(info.to_dict()))
    assert [row["sentence"] for row in content["correlations"]] == [c.sentence for c in info.correlations]
    assert (content["deployment"], content["longest"]) == (None, "accuracy after 2 epochs")


def test_a_table_of_80_columns(plant: Callable[..., Run]) -> None:
    accuracies = noisy(60, 1e9)[1]
    info = fidelity_info(plant([float(i) for i in range(60)], accuracies, accuracies))
    console = Console(width=80, record=True, file=None, quiet=False)
    with console.capture() as capture:
        console.print(command._table(info))
    lines = [line.rstrip() for line in capture.get().splitlines()]
    assert max(map(len, lines)) <= 80
    for found in info.correlations:
        said = found.verdict.partition(":")[0]
        assert any(line.startswith(f"  {found.a} ") and line.endswith(f" {said}") for line in lines), found
