"""Starting from an earlier run: its front is trained first, what does not fit is named, and a resume needs no run."""

import dataclasses
import logging
from pathlib import Path

import pytest
from small_search import BUDGET_GFLOPS, make_folder, make_settings, play

from lstn_search.errors import RunError, SettingError
from lstn_search.runs.run import Run
from lstn_search.spec.cost import cost
from lstn_search.spec.settings import SearchSettings
from lstn_search.spec.space import Space
from lstn_search.study.start import front_of_earlier
from lstn_search.study.study import Study


def settings_from(run: Run, space: Space, **changes: object) -> SearchSettings:
    return make_settings(space, start_from=str(run.folder.path), **changes)


def test_its_front_comes_first_under_names_of_its_own(small_run: Run, small_space: Space, tmp_path: Path) -> None:
    settings = settings_from(small_run, small_space)
    given = front_of_earlier(settings, tmp_path / "run")
    assert given is not None and list(given) == [entry.candidate.name for entry in small_run.front]
    bare = dataclasses.replace(small_space, seeds={})
    folder = make_folder(tmp_path / "run", settings)
    folder.write_manifest(start_from=given)
    entries = play(Study(folder, bare), len(given) + 1)
    assert [entry.candidate.arch for entry in entries[: len(given)]] == [
        entry.candidate.arch for entry in small_run.front
    ]
    assert [entry.candidate.name for entry in entries[: len(given)]] == [f"t{number}" for number in range(len(given))]
    assert not any(entry.candidate.is_seed for entry in entries)
    trials, _ = folder.read_study()
    assert [trial.user_attrs.get("given as") for trial in trials[: len(given)]] == list(given)
    assert front_of_earlier(settings, tmp_path / "run") is None  # it has begun: the manifest knows
    again = play(Study(folder, bare), len(given) + 2)
    assert len({entry.candidate.arch.digest for entry in again}) == len(again)


def test_what_is_over_the_budget_is_named(
    small_run: Run, small_space: Space, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    front = small_run.front
    least = cost(front[0].candidate.arch, 48).gflops
    with caplog.at_level(logging.WARNING):
        given = front_of_earlier(settings_from(small_run, small_space, budget_gflops=least), tmp_path)
    assert given is not None and set(given) == {
        entry.candidate.name for entry in front if entry.candidate.gflops <= least
    }
    left_out = [entry.candidate.name for entry in front if entry.candidate.name not in given]
    assert bool(left_out) == bool(caplog.records)
    assert all(f"{name} (" in caplog.text for name in left_out)
    with pytest.raises(SettingError, match=r"nothing of .+ can be started from: .+ GFLOPs over the budget\).*; leave"):
        front_of_earlier(settings_from(small_run, small_space, budget_gflops=least / 2), tmp_path)


def test_what_is_no_run_is_one_line(small_space: Space, tmp_path: Path) -> None:
    settings = make_settings(small_space, start_from=str(tmp_path), budget_gflops=BUDGET_GFLOPS)
    with pytest.raises(RunError, match=r"holds no run \(no manifest\.json\); give the folder a search wrote"):
        front_of_earlier(settings, tmp_path / "new")
    assert front_of_earlier(make_settings(small_space), tmp_path) is None
