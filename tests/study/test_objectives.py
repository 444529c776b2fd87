"""A search of three objectives: its front, its picks, that it can stop anywhere, and that two are a special case."""

import csv
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy
from rich.console import Console
from small_search import LADDER, NUM_SEEDS, PretendEngine, make_settings, write_space

from lstn_search.errors import SettingError
from lstn_search.pictures.front_plot import front_info
from lstn_search.runs.entries import Entry
from lstn_search.runs.run import Run, open_run
from lstn_search.spec.cost import cost
from lstn_search.spec.space import Space, load_space
from lstn_search.study.search import Search, SearchWatcher, search
from lstn_search.watch.tables import front_table

THREE = ("accuracy", "gflops", "params")
TRIALS = 20
"""Of the search that most tests look at."""


class Interrupter(SearchWatcher):
    """Ctrl-C after so many rungs."""

    def __init__(self, num_rungs: int) -> None:
        self.left = num_rungs

    def on_result(self, source: Search, result: Entry) -> None:
        self.left -= 1
        if self.left == 0:
            raise KeyboardInterrupt


@pytest.fixture(autouse=True, scope="module")
def unsafe_but_fast() -> Iterator[None]:
    """These tests do not switch the power off, so SQLite need not wait for the disk."""

    def relax(connection: Any, _: Any) -> None:
        connection.execute("PRAGMA synchronous=OFF")

    sqlalchemy.event.listen(sqlalchemy.Engine, "connect", relax)
    yield
    sqlalchemy.event.remove(sqlalchemy.Engine, "connect", relax)


@pytest.fixture(scope="module")
def space(tmp_path_factory: pytest.TempPathFactory) -> Space:
    return load_space(write_space(tmp_path_factory.mktemp("space")))


def run_search(
    space: Space,
    out: Path,
    objectives: tuple[str, ...] = THREE,
    *,
    sampler: str = "tpe",
    trials: int = 8,
    stop_after: int = 0,
) -> Run:
    settings = make_settings(space, objectives=objectives, sampler=sampler, ladder=LADDER)
    watcher = Interrupter(stop_after) if stop_after else None
    return search(space, settings, out, PretendEngine.make(out), trials=trials, resume=out.exists(), watcher=watcher)


@pytest.fixture(scope="module")
def run(space: Space, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return run_search(space, tmp_path_factory.mktemp("runs") / "three", trials=TRIALS)


def unbeaten(run: Run, names: tuple[str, ...]) -> set[str]:
    """By definition, from the networks themselves."""
    offered = [entry for entry in run.entries if entry.on_offer]

    def losses(entry: Entry) -> tuple[float, ...]:
        facts = cost(entry.candidate.arch, run.task.image_size)
        return (-entry.accuracy, *(getattr(facts, name) for name in names))

    return {
        entry.candidate.name
        for entry in offered
        if not any(
            losses(other) != losses(entry) and all(a <= b for a, b in zip(losses(other), losses(entry), strict=True))
            for other in offered
        )
    }


def test_the_front_is_what_nothing_beats_in_all_three(run: Run) -> None:
    names = [entry.candidate.name for entry in run.front]
    assert set(names) == unbeaten(run, ("gflops", "params"))
    assert set(names) > unbeaten(run, ("gflops",)), "some stand there for their parameters alone"
    assert [entry.candidate.gflops for entry in run.front] == sorted(entry.candidate.gflops for entry in run.front)
    assert len(run.entries) == TRIALS + NUM_SEEDS
    assert all(entry.rung == LADDER.top for entry in run.front)


def test_a_run_is_read_as_it_was_written(run: Run) -> None:
    read = open_run(run.folder.path)
    assert read.folder.settings.objectives == THREE
    assert read.entries == run.entries
    assert [entry.candidate.costs for entry in read.entries] == [
        (entry.candidate.gflops, entry.candidate.params) for entry in run.entries
    ]
    with (run.folder.path / "pareto.csv").open() as file:
        assert [row["name"] for row in csv.DictReader(file)] == [entry.candidate.name for entry in run.front]


def test_picks(run: Run) -> None:
    best = max(run.front, key=lambda entry: entry.accuracy)
    assert run.best is run.pick("best") is best
    assert run.pick("knee") in run.front
    for limit in {entry.candidate.params for entry in run.front}:
        small = [entry for entry in run.front if entry.candidate.params <= limit]
        assert run.pick(f"max-params={limit}") == max(small, key=lambda entry: entry.accuracy)
    with pytest.raises(SettingError, match="no point of the front needs at most 1 params; the cheapest: "):
        run.pick("max-params=1")


@pytest.mark.parametrize(("sampler", "stop_after"), [("tpe", 14), ("nsga2", 9), ("evolution", 20)])
def test_interrupted_and_resumed_it_ends_in_the_same_front(
    space: Space, tmp_path: Path, sampler: str, stop_after: int
) -> None:
    whole = run_search(space, tmp_path / "whole", sampler=sampler)
    with pytest.raises(KeyboardInterrupt):
        run_search(space, tmp_path / "again", sampler=sampler, stop_after=stop_after)
    again = run_search(space, tmp_path / "again", sampler=sampler)
    assert again.entries == whole.entries
    assert again.front == whole.front
    assert (tmp_path / "again" / "pareto.csv").read_bytes() == (tmp_path / "whole" / "pareto.csv").read_bytes()


def test_parameters_may_take_the_place_of_gflops(space: Space, tmp_path: Path) -> None:
    run = run_search(space, tmp_path / "run", ("accuracy", "params"))
    assert {entry.candidate.name for entry in run.front} == unbeaten(run, ("params",))
    params, accuracies = zip(*((entry.candidate.params, entry.accuracy) for entry in run.front), strict=True)
    for values in (params, accuracies):
        assert all(a < b for a, b in itertools.pairwise(values)), "along a front of one cost both rise"
    assert not any(entry.candidate.over_budget for entry in run.front), "the budget is of GFLOPs all the same"
    info = front_info(run)
    assert [point.cost for point in info.points] == [entry.candidate.params for entry in run.entries]
    assert info.cost.heading == "params"
    with pytest.raises(SettingError, match="pick 'max-gflops=1' is unknown"):
        run.pick("max-gflops=1")


def test_table_and_picture_say_what_the_front_is_of(run: Run, space: Space, tmp_path: Path) -> None:
    console = Console(width=100, record=True)
    console.print(front_table(run))
    text = console.export_text()
    assert "Pareto front of accuracy, GFLOPs and params at 48 px" in text
    assert text.count("params") == 2, "in the title and over the one column"
    assert front_info(run).title.endswith("seed 0; front of accuracy, GFLOPs and params")
    assert {point.name for point in front_info(run).points if point.on_front} == {
        entry.candidate.name for entry in run.front
    }
    two = run_search(space, tmp_path / "two", ("accuracy", "gflops"))
    assert front_info(two).title.endswith("seed 0")
    assert front_table(two).title == "Pareto front at 48 px"
