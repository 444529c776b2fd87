"""A manifest is what a search wrote, or one line; so is the study beside it."""

import json
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import FrozenTrial, create_trial

from lstn_search.errors import LstnError, RunError
from lstn_search.runs.entries import read_trials
from lstn_search.runs.manifest import package_version, read_manifest
from lstn_search.runs.run import Run
from lstn_search.spec.results import TrialResult


def changed(run: Run, tmp_path: Path, **changes: Any) -> Path:
    """The manifest of a run with other values; those within tables are named `data__val`."""
    manifest = json.loads((run.folder.path / "manifest.json").read_text())
    for name, value in changes.items():
        *tables, key = name.split("__")
        table = manifest
        for part in tables:
            table = table[part]
        table[key] = value
    file = tmp_path / "manifest.json"
    file.write_text(json.dumps(manifest))
    return file


def test_what_a_search_wrote_is_read_as_it_is(small_run: Run) -> None:
    file = small_run.folder.path / "manifest.json"
    assert read_manifest(file) == json.loads(file.read_text())


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"data": None}, "data: input should be .*, got None"),
        ({"data__val": "many"}, "data.val: input should be a valid integer.*, got 'many'"),
        ({"data__mean": [1, 2]}, "data.mean"),
        ({"references": {"control": 3, "oracle": []}}, "references.control"),
        ({"references": {"control": [{"status": "fine"}], "oracle": []}}, "references.control.0.status"),
        ({"precision": "fp8"}, "precision: input should be 'auto', 'fp32' or 'bf16', got 'fp8'"),
        ({"counts": 3}, "counts"),
        ({"settings": None}, "settings"),
        ({"settings__task": None}, "task: must be a table of fields, got None"),
        ({"settings__task__epochs": 10**400}, "a number of 401 digits"),
        ({"settings__task__device": "cpu:99"}, "there is no device 'cpu:99'"),
        ({"settings__ladder": {"epochs": 3}}, "the ladder's epochs must be a list of numbers, got 3"),
        ({"settings__objectives": [[]]}, "unknown objective"),
        ({"settings__space_name": "../x"}, "space '../x' holds"),
        ({"settings__new": 1}, "settings: unknown field 'new'"),
        ({"id": None}, "id: input should be a valid string, got None"),
        ({"seconds": float("nan")}, "expected value"),
    ],
    ids=str,
)
def test_what_no_search_wrote_is_one_line(small_run: Run, tmp_path: Path, changes: dict[str, Any], part: str) -> None:
    file = changed(small_run, tmp_path, **changes)
    with pytest.raises(RunError, match=part) as caught:
        read_manifest(file)
    assert str(caught.value).startswith(f"{file} cannot be read (")
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"recipe": 99}, "it trains by recipe 99, this one by"),
        ({"versions__lstn-search": "99.1"}, f"by 99.1, and this is {package_version('lstn-search')}"),
        ({"recipe": 99, "settings__task__new": 1}, "it trains by recipe 99"),
    ],
    ids=str,
)
def test_a_newer_version_is_named(small_run: Run, tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    if package_version("lstn-search") == "not installed" and "recipe" not in changes:
        pytest.skip("the package is not installed, so it has no version")
    with pytest.raises(RunError, match=f"was made by a newer version of lstn-search .{words}.*; update lstn-search"):
        read_manifest(changed(small_run, tmp_path, **changes))


# -- the study ---------------------------------------------------------------------------------------------------------


def proposal(run: Run, **attrs: Any) -> FrozenTrial:
    """The first trial of a study, with other attributes."""
    entry = run.entries[0].candidate
    trial = create_trial(
        value=0.0, user_attrs={"kind": "seed", "name": entry.name, "arch": entry.arch.to_json()} | attrs
    )
    trial.number = 0
    return trial


def test_trials_are_read_with_their_results(small_run: Run) -> None:
    result = TrialResult(status="ok", frozen_top1=50.0)
    (entry,) = read_trials(small_run.folder.settings, [proposal(small_run)], [(0, 0, result)])
    assert entry.candidate.arch == small_run.entries[0].candidate.arch
    assert entry.results == [result]


@pytest.mark.parametrize(
    ("attrs", "part"),
    [
        ({"name": "../../x"}, "trial 0: name '../../x' holds"),
        ({"name": None}, "trial 0: name None is no name"),
        ({"arch": "{"}, "trial 0: not JSON"),
        ({"arch": 3}, "trial 0: must be a table"),
    ],
)
def test_a_trial_that_no_search_wrote_is_one_line(small_run: Run, attrs: dict[str, Any], part: str) -> None:
    with pytest.raises(LstnError, match=part):
        read_trials(small_run.folder.settings, [proposal(small_run, **attrs)], [])


@pytest.mark.parametrize(("number", "rung"), [(0, 1), (7, 0), (0, -1)])
def test_a_result_without_those_before_it_is_one_line(small_run: Run, number: int, rung: int) -> None:
    with pytest.raises(RunError, match=f"a result of rung {rung} of trial {number}, but none before it; restore"):
        read_trials(small_run.folder.settings, [proposal(small_run)], [(number, rung, TrialResult(status="ok"))])
