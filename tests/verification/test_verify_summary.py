"""From trainings to verdicts: simulated verifications whose truth is known, and what counts when something failed."""

import csv
import dataclasses
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from verify_jobs import evaluation
from verify_runs import contender, plan_of, records_of

from lstn_search.cli.verification_table import verification_table
from lstn_search.errors import RunError
from lstn_search.verification.outputs import COLUMNS, write_outputs
from lstn_search.verification.plan import Plan
from lstn_search.verification.records import Record
from lstn_search.verification.result import Finalist, Verification, read_verification
from lstn_search.verification.statistics import bootstrap_interval
from lstn_search.verification.summary import summarize

LSTN, FOUND = contender("lstn", 8, gflops=0.026), contender("t7", 4, gflops=0.002)
PLAN = plan_of(FOUND, LSTN)
Pairs = list[tuple[float, float]]


def simulate(seed: int, *, gain: float, sd: float = 1.0, plan: Plan = PLAN) -> Verification:
    """Control at 50, oracle at 70, L-STN at 60 and t7 `gain` above it; what a seed adds to all, and independent noise.

    Rounded to whole images, as accuracies are.
    """
    rng = np.random.default_rng(seed)
    shared = rng.normal(0, 2, (len(plan.seeds), 2))
    truth = {"control": 50.0, "oracle": 70.0, "lstn": 60.0, "t7": 60.0 + gain}
    rows: dict[str, Sequence[tuple[float, float]]] = {}
    for name, top1 in truth.items():
        images = np.round((top1 + shared + rng.normal(0, sd, shared.shape)) / 100 * plan.num_test)
        rows[name] = [(val, test) for val, test in (images * 100 / plan.num_test).tolist()]
    return summarize(plan, records_of(plan, rows))


def of(verification: Verification, name: str) -> Finalist:
    """The finalist of this name."""
    return next(row for row in verification.rows if row.name == name)


def pairs(*tests: float, val: float = 60.0) -> Pairs:
    """A (validation, test) a seed."""
    return [(val, test) for test in tests]


@pytest.fixture
def plain() -> Verification:
    """Two seeds with round numbers."""
    plan = plan_of(FOUND, LSTN, seeds=(1000, 1001))
    rows: dict[str, Sequence[tuple[float, float]]] = {
        "control": [(50, 50), (52, 52)],
        "oracle": [(70, 70), (72, 72)],
        "t7": [(59, 60), (62, 63)],
        "lstn": [(60, 59), (64, 65)],
    }
    return summarize(plan, records_of(plan, rows))


# -- verdicts whose truth is known ------------------------------------------------------------------------------------


def test_a_planted_equal_pair_is_not_distinguishable() -> None:
    """A 95 % interval is wrong for 5 of 100 on average; in the long run, see test_verify_statistics.py."""
    verdicts = [of(simulate(seed, gain=0), "t7").verdicts for seed in range(100)]
    assert sum("not distinguishable from L-STN" in verdict for verdict in verdicts) >= 95


def test_a_planted_better_one_is_found() -> None:
    verdicts = [of(simulate(seed, gain=3), "t7").verdicts for seed in range(40)]
    assert sum("better than L-STN" in verdict for verdict in verdicts) >= 36


def test_a_planted_worse_one_is_found_and_both_beat_no_stn() -> None:
    for name in ("t7", "lstn"):
        assert of(simulate(0, gain=-4), name).verdicts[0] == "better than no STN"
    assert of(simulate(0, gain=-4), "t7").verdicts[1] == "worse than L-STN"
    assert of(simulate(0, gain=-4), "lstn").verdicts == ("better than no STN",)


def test_what_is_no_better_than_the_control_has_no_benefit() -> None:
    for gain in (-10, -13):
        assert of(simulate(1, gain=gain), "t7").verdicts == ("no benefit over no STN", "worse than L-STN")


def test_the_verdict_is_about_test_and_the_pick_about_validation() -> None:
    plan = plan_of(FOUND, LSTN)
    rows = {"control": pairs(50, 51, 50, 52, 51), "oracle": pairs(70, 71, 70, 72, 71)}
    rows["lstn"] = [(60 + s / 10, 66 - s / 10) for s in range(5)]
    rows["t7"] = [(66 - s / 10, 60 + s / 10) for s in range(5)]
    found = summarize(plan, records_of(plan, rows))
    assert found.pick == "t7"
    assert "worse than L-STN" in of(found, "t7").verdicts


# -- numbers ------------------------------------------------------------------------------------------------------


def test_every_number_by_hand(plain: Verification) -> None:
    t7, lstn = of(plain, "t7"), of(plain, "lstn")
    assert (t7.mean_val, t7.mean_test, t7.num_seeds) == (60.5, 61.5, 2)
    quantile = 12.7062  # of Student's t with one degree of freedom, at 97.5 %
    assert t7.low_test == pytest.approx(61.5 - quantile * 1.5, abs=0.01)
    assert t7.gap_closed == pytest.approx((50 + 55) / 2)
    assert t7.high_gap == pytest.approx(52.5 + quantile * 2.5, abs=0.01)
    assert t7.versus_control and t7.versus_lstn
    assert (t7.versus_control.mean, t7.versus_lstn.mean) == (10.5, -0.5)
    assert t7.versus_lstn.high == pytest.approx(-0.5 + quantile * 1.5, abs=0.01)
    assert (t7.versus_lstn.bootstrap_low, t7.versus_lstn.bootstrap_high) == bootstrap_interval([1.0, -2.0])
    assert (t7.behind_best, t7.behind_best_se) == pytest.approx((1.5, 0.5))
    assert (lstn.behind_best, lstn.versus_lstn) == (0, None)
    assert plain.pick == "lstn"
    assert plain.control and plain.oracle
    assert (plain.control.gap_closed, plain.oracle.gap_closed) == (0, 100)
    assert plain.seconds == 8


def test_the_winners_curse_is_search_minus_verified(plain: Verification) -> None:
    assert of(plain, "t7").optimism == pytest.approx(60 - 60.5)
    assert of(plain, "lstn").optimism == pytest.approx(60 - 62)
    assert plain.sentences[-1] == (
        "Validation in the search minus its verified mean: -0.5 points for 1 architecture found, "
        "-2.0 points for 1 seed point."
    )
    longer = plan_of(dataclasses.replace(FOUND, is_comparable=False))
    rows = {name: pairs(60, 61, 60, 62, 61) for name in ("control", "oracle", "t7")}
    found = summarize(longer, records_of(longer, rows))
    assert (of(found, "t7").searched_top1, of(found, "t7").optimism) == (60.0, None)
    assert not any("minus its verified mean" in sentence for sentence in found.sentences)


def test_the_sentences_have_the_numbers_behind_the_verdicts() -> None:
    found = simulate(5, gain=4)
    t7 = of(found, "t7")
    assert t7.versus_lstn and t7.versus_lstn.low is not None
    sentence = next(sentence for sentence in found.sentences if sentence.startswith("t7: "))
    assert f"better than L-STN ({t7.versus_lstn.mean:+.1f} points, {t7.versus_lstn.low:+.1f} to " in sentence
    assert "one standard error" in next(sentence for sentence in found.sentences if sentence.startswith("Pick: t7"))
    assert found.sentences[0].startswith("Seeds 1000 to 1004, with 60 recover steps and 4 joint epochs each")


def test_without_an_lstn_there_is_nothing_said_about_it() -> None:
    plan = plan_of(FOUND)
    rows = {"control": pairs(50, 51, 50, 52, 51), "oracle": pairs(70, 71, 70, 72, 71), "t7": pairs(60, 61, 60, 62, 61)}
    found = summarize(plan, records_of(plan, rows))
    assert of(found, "t7").versus_lstn is None
    assert "L-STN" not in " ".join(found.sentences)


# -- what is missing, dead or failed ----------------------------------------------------------------------------------


def test_seeds_for_which_not_all_is_done_are_left_out(plain: Verification) -> None:
    plan = plan_of(FOUND, LSTN, seeds=(1000, 1001, 1002))
    rows = {name: [(r.val_top1 or 0.0, r.test_top1 or 0.0) for r in of(plain, name).seeds] for name in
            ("control", "oracle", "t7", "lstn")}  # fmt: skip
    rows["t7"].append((99.0, 99.0))
    found = summarize(plan, records_of(plan, rows))
    assert found.complete_seeds == (1000, 1001)
    assert [row.counted for row in of(found, "t7").seeds] == [True, True, False]
    assert of(found, "t7").mean_test == of(plain, "t7").mean_test
    assert found.pick == plain.pick
    assert "Left out, as not every finalist is done: seed 1002; the same command goes on." in found.sentences


def test_nothing_and_one_seed() -> None:
    nothing = summarize(PLAN, {})
    assert (nothing.complete_seeds, nothing.pick) == ((), None)
    assert nothing.sentences[0] == "No seed is complete yet: each takes 4 trainings."
    rows = {name: pairs(60) for name in ("control", "oracle", "t7", "lstn")}
    one = summarize(PLAN, records_of(PLAN, rows))
    assert (of(one, "t7").mean_test, of(one, "t7").low_test, of(one, "t7").verdicts, one.pick) == (60, None, (), None)
    assert "One seed gives no interval, so there is no verdict." in one.sentences[0]


@pytest.mark.parametrize("status", ["inert", "collapsed"])
def test_a_localizer_that_died_with_one_seed_is_named_and_never_picked(status: str) -> None:
    good = {name: pairs(60, 61, 60, 62, 61) for name in ("control", "oracle", "lstn")}
    records = records_of(PLAN, good) | records_of(PLAN, {"t7": pairs(80, 81, 80, 82, 81, val=90)})
    key = (FOUND.arch.digest, 1003)
    records[key] = dataclasses.replace(records[key], evaluation=evaluation(90, 82, status=status))
    found = summarize(PLAN, records)
    assert of(found, "t7").verdicts == (f"{status} in 1 of 5 seeds", "better than no STN", "better than L-STN")
    assert (found.pick, of(found, "t7").behind_best) == ("lstn", None)
    printed = Console(width=80, record=True, file=sys.stderr)
    printed.print(verification_table(found))
    assert status in printed.export_text()


def test_what_is_over_the_budget_is_never_picked() -> None:
    plan = plan_of(FOUND, dataclasses.replace(LSTN, over_budget=True))
    rows = {name: pairs(60, 61, 60, 62, 61) for name in ("control", "oracle", "t7")}
    rows["lstn"] = pairs(80, 81, 80, 82, 81, val=90)
    found = summarize(plan, records_of(plan, rows))
    assert found.pick == "t7"
    assert "better than no STN" in of(found, "lstn").verdicts


def test_a_failure_has_no_mean_and_leaves_the_others_theirs() -> None:
    good = {name: pairs(60, 61, 60, 62, 61) for name in ("control", "oracle", "lstn", "t7")}
    records = records_of(PLAN, good)
    diverged, died = (FOUND.arch.digest, 1000), (FOUND.arch.digest, 1001)
    records[diverged] = dataclasses.replace(
        records[diverged], evaluation=evaluation(0, 0, status="failed", reason="the loss is nan", val_top1=None)
    )
    records[died] = Record(key=died[0], name="t7", seed=1001, died="its worker was killed by SIGKILL")
    found = summarize(PLAN, records)
    assert len(found.complete_seeds) == 5
    assert (of(found, "t7").mean_test, of(found, "t7").versus_control) == (None, None)
    assert of(found, "t7").verdicts == ("failed in 2 of 5 seeds",)
    assert "t7: failed in 2 of 5 seeds (the loss is nan)." in found.sentences
    assert of(found, "lstn").versus_control is not None and found.pick == "lstn"


def test_trainings_under_other_conditions_are_no_pair() -> None:
    rows = {name: pairs(60, 61, 60, 62, 61) for name in ("control", "oracle", "t7", "lstn")}
    records = records_of(PLAN, rows)
    for change, seed in (({"device": "cuda:1"}, 1001), ({"autocast": True}, 1003)):
        key = (FOUND.arch.digest, seed)
        records[key] = dataclasses.replace(records[key], **change)  # type: ignore[arg-type]
    assert summarize(PLAN, records).complete_seeds == (1000, 1002, 1004)


def test_no_gap_no_share_of_it() -> None:
    rows = {name: pairs(60, 61, 60, 62, 61) for name in ("control", "t7", "lstn")}
    rows["oracle"] = pairs(70, 71, 60, 72, 71)
    found = of(summarize(PLAN, records_of(PLAN, rows)), "t7")
    assert (found.gap_closed, found.mean_test) == (None, 60.8)
    upright = dataclasses.replace(PLAN, task=dataclasses.replace(PLAN.task, view="none"))
    del rows["oracle"]
    found_upright = summarize(upright, records_of(upright, rows))
    assert found_upright.oracle is None and len(found_upright.complete_seeds) == 5


# -- files and table --------------------------------------------------------------------------------------------------


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    found = simulate(0, gain=1)
    assert read_verification(tmp_path) is None
    write_outputs(tmp_path, found)
    assert read_verification(tmp_path) == found
    with (tmp_path / "verify.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["name"] for row in rows] == ["control", "t7", "lstn", "oracle"]
    assert list(rows[0]) == COLUMNS
    assert float(rows[1]["versus_lstn_mean"]) == of(found, "t7").versus_lstn.mean  # type: ignore[union-attr]
    assert rows[1]["verdicts"] == "; ".join(of(found, "t7").verdicts)
    assert [row["pick"] == "True" for row in rows] == [row.name == found.pick for row in found.rows]


@pytest.mark.parametrize("text", ["", "{}", "[1]", '{"finalists": 3}'])
def test_a_damaged_file_is_one_line(tmp_path: Path, text: str) -> None:
    (tmp_path / "verify.json").write_text(text)
    with pytest.raises(RunError, match=r"verify\.json cannot be read .*; delete it and run verify again"):
        read_verification(tmp_path)


def test_the_table_fits_80_columns_and_says_what_the_result_says() -> None:
    found = simulate(0, gain=1)
    console = Console(width=80, record=True, file=sys.stderr)
    console.print(verification_table(found))
    text = console.export_text()
    assert "…" not in text.replace("to …:", "")
    line = next(line for line in text.splitlines() if line.startswith("t7"))
    t7 = of(found, "t7")
    assert t7.high_test is not None and t7.mean_test is not None
    assert f"{t7.mean_test:.1f} ±{t7.high_test - t7.mean_test:.1f}" in line
    assert json.dumps(found.to_dict())  # JSON types only
