"""The run folder: who may write in it, and which run may go on in it."""

import dataclasses
import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from small_search import make_folder, make_settings, write_space

from lstn_search.errors import RunError
from lstn_search.runs.folder import RunFolder
from lstn_search.spec.ladder import Ladder
from lstn_search.spec.settings import SearchSettings
from lstn_search.spec.space import load_space
from lstn_search.spec.task import Task

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> SearchSettings:
    return make_settings(load_space(write_space(tmp_path_factory.mktemp("space"))))


def refusal(path: Path, settings: SearchSettings, *, resume: bool = False) -> str:
    with pytest.raises(RunError) as error:
        RunFolder.create(path, settings, resume=resume)
    assert "\n" not in str(error.value)
    return str(error.value)


# -- what is in it -----------------------------------------------------------------------------------------------------


def test_a_new_folder_says_what_was_asked_for_and_on_what(settings: SearchSettings, tmp_path: Path) -> None:
    make_folder(tmp_path / "a" / "run", settings)
    manifest = json.loads((tmp_path / "a" / "run" / "manifest.json").read_text())
    assert SearchSettings.from_dict(manifest["settings"]) == settings
    assert {"python", "lstn-search", "torch", "torchvision", "timm", "optuna", "numpy"} <= set(manifest["versions"])
    assert manifest["hardware"]["cores"] == os.cpu_count()


def test_open_reads_what_create_wrote(settings: SearchSettings, tmp_path: Path) -> None:
    make_folder(tmp_path, settings).write_manifest(counts={"trained": 3})
    folder = RunFolder.open(tmp_path)
    assert folder.settings == settings
    assert folder.manifest["counts"] == {"trained": 3}


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "holds no run"), ("{", "cannot be read"), ("{}", "cannot be read"), ('{"settings": {"task": 3}}', "read")],
)
def test_a_folder_without_a_manifest_is_no_run(tmp_path: Path, content: str | None, message: str) -> None:
    if content is not None:
        (tmp_path / "manifest.json").write_text(content)
    with pytest.raises(RunError, match=message):
        RunFolder.open(tmp_path)


def test_a_path_below_a_file_is_no_run(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(RunError, match="holds no run"):
        RunFolder.open(tmp_path / "file" / "run")


# -- who may go on in it -----------------------------------------------------------------------------------------------


def test_a_run_is_not_overwritten(settings: SearchSettings, tmp_path: Path) -> None:
    make_folder(tmp_path, settings)
    before = (tmp_path / "manifest.json").read_bytes()
    assert refusal(tmp_path, settings) == (
        f"{tmp_path} already holds this run; add --resume to go on with it, or choose another --out"
    )
    assert (tmp_path / "manifest.json").read_bytes() == before


def test_a_run_goes_on_with_what_its_manifest_held(settings: SearchSettings, tmp_path: Path) -> None:
    make_folder(tmp_path, settings).write_manifest(references={"control": [], "oracle": []})
    assert make_folder(tmp_path, settings, resume=True).manifest["references"] == {"control": [], "oracle": []}


def test_resume_also_begins(settings: SearchSettings, tmp_path: Path) -> None:
    assert make_folder(tmp_path / "new", settings, resume=True).settings == settings


@pytest.mark.parametrize("resume", [True, False])
@pytest.mark.parametrize(
    ("changes", "task_changes", "message"),
    [
        ({"budget_gflops": 0.5}, {}, "budget gflops 0.0004, not 0.5"),
        ({"sampler": "random"}, {"batch_size": 32}, "batch size 64, not 32"),
        ({}, {"trial_size": 32, "backbone": "resnet18"}, "backbone 'test_resnet', not 'resnet18'"),
        ({}, {"view": "none"}, "view 'affine', not 'none'"),
        ({"space_digest": "0"}, {}, "other choices or seed points in space 'small'"),
        ({"space_digest": "0", "space_name": "lstn"}, {}, "space name 'small', not 'lstn'"),
        ({"seed": 1}, {"seed": 1}, "seed 0, not 1"),
        ({"ladder": Ladder(epochs=(1, 2))}, {}, "ladder '1,3,9', not '1,2'"),
        ({"ladder": Ladder(recover=(25,))}, {}, "ladder '1,3,9', not '25%,1,3,9'"),
        ({"objectives": ("accuracy", "params")}, {}, "objectives 'accuracy,gflops', not 'accuracy,params'"),
        ({"ladder": Ladder(eta=2)}, {}, "eta 3, not 2"),
    ],
    ids=lambda value: None if isinstance(value, dict) else value,
)
def test_other_settings_are_refused_and_the_first_is_named(
    settings: SearchSettings, tmp_path: Path, changes: Any, task_changes: Any, message: str, resume: bool
) -> None:
    make_folder(tmp_path, settings)
    before = (tmp_path / "manifest.json").read_bytes()
    other = dataclasses.replace(settings, task=dataclasses.replace(settings.task, **task_changes), **changes)
    assert f"was made with {message}; give the same settings" in refusal(tmp_path, other, resume=resume)
    assert (tmp_path / "manifest.json").read_bytes() == before


def test_a_run_from_before_there_were_objectives_goes_on(settings: SearchSettings, tmp_path: Path) -> None:
    folder = make_folder(tmp_path, settings)
    old = {name: value for name, value in folder.manifest["settings"].items() if name != "objectives"}
    folder.write_manifest(settings=old)
    assert RunFolder.open(tmp_path).settings == settings
    assert make_folder(tmp_path, settings, resume=True).manifest["settings"] == settings.to_dict()


def test_data_may_have_moved(settings: SearchSettings, tmp_path: Path) -> None:
    task = Task(dataset="caltech101", data_dir="/old")
    make_folder(tmp_path, dataclasses.replace(settings, task=task))
    moved = dataclasses.replace(settings, task=dataclasses.replace(task, data_dir="/new"))
    assert make_folder(tmp_path, moved, resume=True).settings == moved


@pytest.mark.parametrize(
    ("dataset", "data_dir"), [("folder:/new", None), ("folder:/old", "/new"), ("folder:x", "/new")]
)
def test_a_folder_of_images_may_have_moved(
    settings: SearchSettings, tmp_path: Path, dataset: str, data_dir: str | None
) -> None:
    """Its first name stays, as in the keys of what is kept; until its images were compared the manifest does too."""
    task = Task(dataset="folder:/old")
    make_folder(tmp_path, dataclasses.replace(settings, task=task))
    before = (tmp_path / "manifest.json").read_bytes()
    moved = dataclasses.replace(settings, task=dataclasses.replace(task, dataset=dataset, data_dir=data_dir))
    folder = make_folder(tmp_path, moved, resume=True)
    assert folder.settings.task == dataclasses.replace(task, data_dir="/new")
    assert folder.settings.task.compared("verification") == task.compared("verification")
    assert (tmp_path / "manifest.json").read_bytes() == before
    folder.write_manifest(data={"fingerprint": "0"})
    assert RunFolder.open(tmp_path).settings == folder.settings
    other = dataclasses.replace(settings, task=dataclasses.replace(task, dataset="cifar10", data_dir="/new"))
    assert "was made with dataset 'folder:/old', not 'cifar10'" in refusal(tmp_path, other, resume=True)


def test_a_run_from_before_a_setting_goes_on_with_what_there_was(settings: SearchSettings, tmp_path: Path) -> None:
    settings = dataclasses.replace(settings, task=dataclasses.replace(settings.task, recover_loss="mse"))
    make_folder(tmp_path, settings)
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    del manifest["settings"]["task"]["recover_loss"]
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    assert RunFolder.open(tmp_path).settings == settings
    other = dataclasses.replace(settings, task=dataclasses.replace(settings.task, recover_loss="corner"))
    assert "was made with recover loss 'mse', not 'corner'" in refusal(tmp_path, other, resume=True)
    assert make_folder(tmp_path, settings, resume=True).settings == settings


def test_a_run_of_an_earlier_recipe_is_read_and_not_gone_on_with(settings: SearchSettings, tmp_path: Path) -> None:
    make_folder(tmp_path, settings)
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    del manifest["recipe"]
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    assert RunFolder.open(tmp_path).settings == settings
    assert "was trained by an earlier release" in refusal(tmp_path, settings, resume=True)


def test_other_people_s_files_are_left_alone(settings: SearchSettings, tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").touch()
    assert refusal(tmp_path, settings, resume=True) == f"{tmp_path} is not empty and holds no run; choose another --out"
    assert [entry.name for entry in tmp_path.iterdir()] == ["thesis.tex"]


@pytest.mark.parametrize("place", ["file", "file/run", "/proc/run", "/dev/null/run"])
def test_a_folder_that_cannot_be_written(settings: SearchSettings, tmp_path: Path, place: str) -> None:
    (tmp_path / "file").touch()
    message = refusal(tmp_path / place, settings)
    assert "cannot be written (" in message
    assert message.endswith("; choose another --out")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
@pytest.mark.parametrize("mode", [0o000, 0o500])
def test_a_folder_without_permission(settings: SearchSettings, tmp_path: Path, mode: int) -> None:
    tmp_path.chmod(mode)
    try:
        assert "cannot be written (Permission denied)" in refusal(tmp_path, settings)
        assert "cannot be written (Permission denied)" in refusal(tmp_path / "run", settings)
    finally:
        tmp_path.chmod(0o700)


def test_a_file_is_written_whole_or_not_at_all(settings: SearchSettings, tmp_path: Path) -> None:
    folder = make_folder(tmp_path, settings)
    folder.write_text("trials.csv", "old")
    (tmp_path / "pareto.csv").mkdir()
    with pytest.raises(RunError, match=r"pareto\.csv cannot be written"):
        folder.write_text("pareto.csv", "new")
    assert sorted(entry.name for entry in tmp_path.iterdir()) == [".lock", "manifest.json", "pareto.csv", "trials.csv"]
    assert (tmp_path / "trials.csv").read_text() == "old"


def test_discard_leaves_nothing_of_ours(settings: SearchSettings, tmp_path: Path) -> None:
    for name, others in (("new", 0), ("shared", 1)):
        folder = make_folder(tmp_path / name, settings)
        if others:
            (tmp_path / name / "notes").touch()
        folder.discard()
    assert [str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")] == ["shared", "shared/notes"]


def test_what_a_search_leaves_that_was_killed_as_it_began_is_no_obstacle(
    settings: SearchSettings, tmp_path: Path
) -> None:
    make_folder(tmp_path, settings).write_manifest(counts={})
    (tmp_path / ".manifest.json.0123abcd").write_text('{"settings": {"ta')
    (tmp_path / ".holder").write_text("process 1 on ")
    assert make_folder(tmp_path, settings, resume=True).manifest["counts"] == {}
    (tmp_path / "manifest.json").rename(tmp_path / ".manifest.json.tmp")
    assert make_folder(tmp_path, settings).manifest["settings"]


def test_a_discarded_folder_may_be_used_again(settings: SearchSettings, tmp_path: Path) -> None:
    """Its workers have written logs."""
    folder = make_folder(tmp_path, settings)
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "worker-0.log").touch()
    folder.discard()
    assert not tmp_path.exists()
    make_folder(tmp_path, settings)


# -- one at a time -----------------------------------------------------------------------------------------------------


def test_one_search_at_a_time(settings: SearchSettings, tmp_path: Path) -> None:
    """Also within one process; and the lock goes with `release`."""
    folder = RunFolder.create(tmp_path, settings, resume=False)
    message = refusal(tmp_path, settings)
    assert message == refusal(tmp_path, settings, resume=True)
    assert message.startswith(
        f"{tmp_path} is in use by another search (process {os.getpid()} on {socket.gethostname()}, "
    )
    assert message.endswith("); wait for it, or choose another --out")
    folder.release()
    RunFolder.create(tmp_path, settings, resume=True).release()


def test_a_refused_folder_is_not_kept_locked(settings: SearchSettings, tmp_path: Path) -> None:
    make_folder(tmp_path, settings)
    refusal(tmp_path, settings)
    refusal(tmp_path, dataclasses.replace(settings, budget_gflops=1.0), resume=True)
    RunFolder.create(tmp_path, settings, resume=True).release()


def test_the_lock_goes_when_its_holder_is_killed(settings: SearchSettings, tmp_path: Path) -> None:
    code = (
        "import sys, time, json; from pathlib import Path; from lstn_search.runs.folder import RunFolder\n"
        "from lstn_search.spec.settings import SearchSettings\n"
        "settings = SearchSettings.from_dict(json.loads(sys.argv[2]))\n"
        "folder = RunFolder.create(Path(sys.argv[1]), settings, resume=False)\n"
        "print('mine', flush=True); time.sleep(3600)"
    )
    command = [sys.executable, "-c", code, str(tmp_path), json.dumps(settings.to_dict())]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None and holder.stdout.readline() == "mine\n"
        assert f"in use by another search (process {holder.pid} on " in refusal(tmp_path, settings, resume=True)
        holder.send_signal(signal.SIGKILL)
        holder.wait()
    RunFolder.create(tmp_path, settings, resume=True).release()
