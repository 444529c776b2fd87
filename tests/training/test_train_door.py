"""The doors for one architecture: `train` up to a rung, for a loop of your own, and `evaluate` at the schedule."""

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from small_search import LADDER
from small_training import ARCH, OTHER_ARCH, run_trial, same_numbers, small_task

from lstn_search.api import evaluate, train
from lstn_search.errors import SettingError
from lstn_search.runs.checkpoints import load_trained
from lstn_search.runs.folder import checkpoint_file
from lstn_search.runs.run import Run
from lstn_search.shipping.place import RECORD
from lstn_search.spec.arch import Arch
from lstn_search.spec.results import TrialResult
from lstn_search.spec.task import Task
from lstn_search.training.evaluation import evaluate as evaluate_inside
from lstn_search.training.prepared import Prepared
from lstn_search.training.warm import Warm
from lstn_search.training.workbench import Workbench


@pytest.fixture(scope="module")
def task(small_dataset: Path, warm: Warm) -> Task:
    """That of the session's real search, whose seed point `good` is ARCH. Its backbone is in the cache."""
    return small_task(small_dataset, recover_steps=60)


def test_a_training_goes_on_from_its_checkpoints_and_is_that_of_the_search(
    task: Task, small_run: Run, small_cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said: list[str] = []
    results = [
        train(ARCH, task, rung=rung, ladder=LADDER, checkpoints=tmp_path, cache_dir=small_cache, on_stage=said.append)
        for rung in (0, 1, 2)
    ]
    assert [what for what in said if "backbone" not in what and what != "data"] == ["recover", "joint 1/1", "joint 2/2"]
    searched = small_run.find("good")
    assert searched.candidate.arch == ARCH
    assert [same_numbers(result) for result in results] == [same_numbers(result) for result in searched.results]
    load_trained(checkpoint_file(tmp_path, ARCH, 2), ARCH, task.trial_size)
    assert capsys.readouterr() == ("", "")  # a library does not print


def test_without_checkpoints_it_starts_again_and_gives_the_same_numbers(
    task: Task, small_run: Run, small_cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said: list[str] = []
    for rung in (1, 2):
        said.clear()
        result = train(ARCH, task, rung=rung, ladder=LADDER, cache_dir=small_cache, on_stage=said.append)
        assert same_numbers(result) == same_numbers(small_run.find("good").results[rung])
        stages = [what for what in said if "backbone" not in what and what != "data"]
        assert stages == ["recover", *[f"joint {epoch}/{epoch}" for epoch in range(1, rung + 1)]]
    assert capsys.readouterr() == ("", "")


def torn(file: Path) -> None:
    file.write_bytes(b"half of it")


def of_another(file: Path) -> None:
    torch.save(torch.load(file, weights_only=True) | {"arch": OTHER_ARCH.to_json()}, file)


def of_other_shapes(file: Path) -> None:
    state = torch.load(file, weights_only=True)
    state["localizer"] = {name: torch.zeros(3) for name in state["localizer"]}
    torch.save(state, file)


def without_its_parts(file: Path) -> None:
    torch.save({"arch": ARCH.to_json()}, file)


Climbed = tuple[Task, Path, TrialResult]


@pytest.fixture(scope="module")
def climbed(task: Task, small_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Climbed:
    """A shorter task, a folder with the checkpoint of its rung 0, and what rung 1 comes to."""
    short, place = dataclasses.replace(task, recover_steps=5), tmp_path_factory.mktemp("climbed")
    train(ARCH, short, checkpoints=place, cache_dir=small_cache)
    return short, place, train(ARCH, short, rung=1, ladder=LADDER, cache_dir=small_cache)


@pytest.mark.parametrize("damage", [torn, of_another, of_other_shapes, without_its_parts])
def test_a_damaged_checkpoint_is_made_again(
    climbed: Climbed,
    small_cache: Path,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    damage: Callable[[Path], None],
) -> None:
    """That costs time and no result; what was wrong is said."""
    task, place, expected = climbed
    shutil.copytree(place, tmp_path, dirs_exist_ok=True)
    damage(checkpoint_file(tmp_path, ARCH, 0))
    said: list[str] = []
    result = train(ARCH, task, rung=1, ladder=LADDER, checkpoints=tmp_path, cache_dir=small_cache, on_stage=said.append)
    assert said == ["recover", "joint 1/1"]
    assert same_numbers(result) == same_numbers(expected)
    (record,) = caplog.records
    file = checkpoint_file(tmp_path, ARCH, 0)
    assert record.getMessage() == f"{file} cannot be used: rung 0 is climbed again"


def test_the_papers_protocol_is_one_rung(task: Task, small_dataset: Path, small_cache: Path, tmp_path: Path) -> None:
    scratch = small_task(small_dataset, protocol="paper", view="none", localizer_lr_scale=1.0, epochs=1, max_epochs=1)
    result = train(OTHER_ARCH, scratch, checkpoints=tmp_path, cache_dir=small_cache)
    bench = Workbench(scratch, cache_dir=small_cache, progress=False)
    assert same_numbers(result) == same_numbers(run_trial(bench, OTHER_ARCH, None)[0])
    load_trained(checkpoint_file(tmp_path, OTHER_ARCH, 0), OTHER_ARCH, scratch.trial_size)
    with pytest.raises(SettingError, match=r"the rungs are 0 \(recover\) to 0, got 1"):
        train(OTHER_ARCH, scratch, rung=1, ladder=LADDER, checkpoints=tmp_path, cache_dir=small_cache)


def test_what_diverges_is_a_result_and_leaves_no_checkpoint(task: Task, small_cache: Path, tmp_path: Path) -> None:
    absurd = dataclasses.replace(task, recover_lr=1e30)
    for rung in (0, 2):
        result = train(ARCH, absurd, rung=rung, ladder=LADDER, checkpoints=tmp_path, cache_dir=small_cache)
        assert result.status == "failed" and "recover loss is" in result.reason
        assert list(tmp_path.rglob("*.pt")) == []


@pytest.mark.parametrize("rung", [3, -1, True, 1.0])
def test_a_rung_there_is_not_is_one_line(rung: int, task: Task) -> None:
    with pytest.raises(SettingError, match=rf"the rungs are 0 \(recover\) to 2, got {rung!r}$"):
        train(ARCH, task, rung=rung, ladder=LADDER)


# -- evaluate ----------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("unproved")
def test_evaluate_reports_what_the_room_inside_reports(
    bench: Workbench, warm: Warm, small_cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said: list[str] = []
    report = evaluate(ARCH, bench.task, name="dots", out=tmp_path / "out", cache_dir=small_cache, on_stage=said.append)
    inside, _ = evaluate_inside(
        Prepared(bench, warm), ARCH, name="dots", cache_dir=small_cache, on_stage=lambda what: None
    )
    assert report.arch is not None and inside.arch is not None
    assert (report.task, report.control, report.oracle) == (inside.task, inside.control, inside.oracle)
    assert (report.arch.test, report.arch.test_clean) == (inside.arch.test, inside.arch.test_clean)
    assert (report.arch.name, report.arch.params, report.arch.gflops) == (
        "dots",
        inside.arch.params,
        inside.arch.gflops,
    )
    assert same_numbers(report.arch.result) == same_numbers(inside.arch.result)
    assert said[-3:] == ["dots: recover", "dots: joint 1/2", "dots: joint 2/2"]
    assert json.loads((tmp_path / "out" / "report.json").read_text()) == json.loads(json.dumps(report.to_dict()))
    assert Arch.load(tmp_path / "out" / "arch.json") == ARCH
    assert capsys.readouterr() == ("", "")


def test_evaluate_without_an_architecture_is_the_references_alone(
    bench: Workbench, warm: Warm, small_cache: Path, tmp_path: Path
) -> None:
    report = evaluate(None, bench.task, out=tmp_path / "out", cache_dir=small_cache)
    inside, model = evaluate_inside(
        Prepared(bench, warm), None, name="none", cache_dir=small_cache, on_stage=lambda what: None
    )
    assert (report, model, report.arch) == (inside, None, None)
    assert {file.name for file in (tmp_path / "out").iterdir()} == {"report.json", RECORD}
