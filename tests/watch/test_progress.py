"""What is said while something is under way: what is counted, how long it takes, and that 60 columns are enough."""

import dataclasses
import io
import json
import logging
from types import SimpleNamespace
from typing import Any

import pytest

from lstn_search.runs.run import Run
from lstn_search.spec.ladder import Ladder
from lstn_search.spec.results import TrialResult
from lstn_search.spec.space import load_space
from lstn_search.watch.console import PlainConsole
from lstn_search.watch.forecast import in_words, work_left
from lstn_search.watch.progress import SearchProgress
from lstn_search.watch.tables import front_facts, front_table, short_front, trained_words

LSTN = load_space("lstn")


def search_of(run: Run, trials: int) -> Any:
    """What a watcher is told of a search, whose study is that of a run."""
    return SimpleNamespace(run=run, trials=trials, study=SimpleNamespace(entries=run.entries, space=LSTN))


def told(run: Run, *, console: PlainConsole | None = None) -> SearchProgress:
    """The view of a search of which every rung has just ended."""
    source = search_of(run, 40)
    progress = SearchProgress(console, 40)
    progress.on_stage("t1", "joint 1/2")
    progress.on_ready(source)
    for entry in run.entries:
        progress.on_result(source, entry)
    return progress


def test_every_line_fits_60_columns(complete_run: Run) -> None:
    console = PlainConsole(width=60, file=io.StringIO(), force_terminal=True, color_system=None)
    progress = told(complete_run, console=console)
    console.print(progress._render())
    console.print(short_front(complete_run))
    console.print(front_table(complete_run, width=60))
    assert isinstance(console.file, io.StringIO)
    lines = console.file.getvalue().splitlines()
    assert len(lines) > len(complete_run.entries)
    assert [line for line in lines if len(line) > 60] == []
    assert any(line.endswith("over budget") for line in lines) and not any("…" in line for line in lines[:-20])


def test_seeds_and_trials_are_counted_apart(complete_run: Run) -> None:
    trained = [entry.candidate.is_seed for entry in complete_run.entries if entry.results]
    words = told(complete_run)._count().split()
    assert words == ["seeds", f"{sum(trained)}/{len(LSTN.seeds)}", "trials", f"{trained.count(False)}/40"]


def test_without_a_console_the_lines_go_to_the_log(complete_run: Run, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "lstn_search"), SearchProgress(None, 40):
        told(complete_run)
    said = [record.getMessage() for record in caplog.records if record.levelno == logging.INFO]
    assert said[0] == "a search of 40 trials, besides the seed points"
    assert any(line.startswith("about ") and "left" in line for line in said)
    assert all(any(f" {entry.candidate.name} " in line for line in said) for entry in complete_run.entries)


@pytest.mark.parametrize(
    ("ladder", "words"),
    [
        (Ladder(recover=(25,), epochs=(2, 6)), ["25% rec", "recover", "2 ep", "6 ep"]),
        (Ladder(epochs=(3,)), ["recover", "3 ep"]),
    ],
)
def test_a_row_says_how_far_it_was_trained(ladder: Ladder, words: list[str]) -> None:
    result = TrialResult(status="ok", frozen_top1=50.0)
    assert [trained_words(ladder, rung, result) for rung in range(ladder.top + 1)] == words
    paper = dataclasses.replace(result, val_top1=60.0, epochs=280)
    assert trained_words(Ladder(epochs=()), 0, paper) == "280 ep"


def test_the_work_left_is_that_of_the_rungs_to_come(complete_run: Run) -> None:
    """Against a sum by hand: every rung takes a second, so what is left is the number of rungs."""
    entries = [
        dataclasses.replace(
            entry, results=[dataclasses.replace(one, seconds=1.0, status="ok") for one in entry.results]
        )
        for entry in complete_run.entries
        if entry.results
    ]
    run: Any = dataclasses.replace(complete_run, entries=entries)
    ladder = run.folder.settings.ladder
    seeds = [len(entry.results) for entry in entries if entry.candidate.is_seed]
    others = [len(entry.results) for entry in entries if not entry.candidate.is_seed]
    by_hand = len(LSTN.seeds) * (ladder.top + 1) - sum(seeds)
    for rung, wanted in enumerate((90, 30, 10, 4)):
        by_hand += max(0, wanted - sum(num > rung for num in others))
    assert (ladder.top, ladder.eta) == (3, 3)
    assert work_left(search_of(run, 90)) == pytest.approx(by_hand)
    assert work_left(search_of(dataclasses.replace(run, entries=[]), 90)) is None


def test_times_are_said_as_one_waits_for_them() -> None:
    times = {10: "under a minute", 70: "1 min", 600: "10 min", 6001: "1 h 40 min", 7200: "2 h", 40_000: "11 h"}
    assert {seconds: in_words(seconds) for seconds in times} == times


def test_the_facts_are_those_of_the_run_and_are_json(complete_run: Run) -> None:
    facts = json.loads(json.dumps(front_facts(complete_run)))
    assert [(row["name"], row["gflops"], row["top1"]) for row in facts["front"]] == [
        (entry.candidate.name, entry.candidate.gflops, entry.accuracy) for entry in complete_run.front
    ]
    assert complete_run.best and facts["best"] == complete_run.best.candidate.name
    assert {row["name"] for row in facts["front"] + facts["seed_points"]} >= set(LSTN.seeds)
    assert [row["top1"] for row in facts["oracle"]] == [row.accuracy for row in complete_run.references.oracle]
