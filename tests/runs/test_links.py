"""A run folder of a stranger: no link in it is followed, and nothing is removed that the run did not write."""

import contextlib
import os
import shutil
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from hostile import snapshot
from small_search import make_folder, make_settings, play

from lstn_search.errors import RunError, SettingError
from lstn_search.pages.page import PAGE, PICTURES
from lstn_search.ranking.facts import FIDELITY_FILE
from lstn_search.runs.folder import RunFolder, checkpoint_file
from lstn_search.runs.links import OURS
from lstn_search.runs.run import Run, open_run
from lstn_search.spec.results import TrialResult
from lstn_search.spec.space import Space
from lstn_search.study.search import Search, SearchWatcher, search
from lstn_search.study.study import Study
from lstn_search.verification.outputs import TABLE_FILE
from lstn_search.verification.result import VERIFICATION_FILE

KINDS = ["to a file", "to a folder", "to nothing", "a pipe"]


def begun(path: Path, space: Space) -> Study:
    study = Study(make_folder(path, make_settings(space)), space)
    play(study, 1)
    study.folder.write_manifest(data={"fingerprint": "none"})
    return study


def put(kind: str, path: Path, victim: Path) -> None:
    """In the place of `path`."""
    if path.is_dir():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    if kind == "a pipe":
        os.mkfifo(path)
    else:
        path.symlink_to({"to a file": victim / "file", "to a folder": victim, "to nothing": victim / "new"}[kind])


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    folder = tmp_path / "victim"
    folder.mkdir()
    (folder / "file").write_text("precious")
    return folder


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", [*OURS, "checkpoints/0123456789abcdef-0.pt", "logs/worker-0.log", "verify/logs/a/b"])
def test_what_is_no_file_or_folder_of_the_run_s_own_is_refused(
    small_space: Space, tmp_path: Path, victim: Path, name: str, kind: str
) -> None:
    path = tmp_path / "run"
    make_folder(path, make_settings(small_space)).write_manifest(data={"fingerprint": "none"})
    put(kind, path / name, victim)
    before = snapshot(tmp_path)
    for ask in (
        lambda: open_run(path),
        lambda: RunFolder.create(path, make_settings(small_space), resume=True),
        lambda: RunFolder.create(path, make_settings(small_space), resume=False),
    ):
        with pytest.raises(RunError) as error:
            ask()
        words = "is neither a file nor a folder" if kind == "a pipe" else "is a link, and no link in a run is followed"
        assert str(error.value).startswith(f"{path / name} {words}; ")
        assert snapshot(tmp_path) == before


def test_what_the_run_s_owner_put_there_is_not_asked_about(small_space: Space, tmp_path: Path, victim: Path) -> None:
    """And the folder itself may be reached by a link."""
    begun(tmp_path / "disk" / "run", small_space)
    (tmp_path / "disk" / "run" / "images").symlink_to(victim)
    (tmp_path / "run").symlink_to(tmp_path / "disk" / "run")
    assert len(open_run(tmp_path / "run").entries) == 1 + len(small_space.seeds)
    RunFolder.create(tmp_path / "run", make_settings(small_space), resume=True).release()


def test_the_list_holds_whatever_is_written_into_a_run(small_run: Run) -> None:
    written = {entry.name for entry in small_run.folder.path.iterdir()}
    assert written | {PAGE, PICTURES, FIDELITY_FILE, VERIFICATION_FILE, TABLE_FILE, "verify", "fidelity"} <= set(OURS)


# -- temporary names ---------------------------------------------------------------------------------------------------


def test_no_name_can_be_foreseen_and_written_through(small_space: Space, tmp_path: Path, victim: Path) -> None:
    """Those that earlier releases took, and any that ends as theirs did."""
    path = tmp_path / "run"
    study = begun(path, small_space)
    names = ("manifest.json", "trials.csv", "pareto.csv", "pareto.json", "pareto.png", ".holder", ".lock", "best")
    for name in names:
        for guess in (f".{name}.tmp", f".{name}", f"{name}.tmp"):
            if guess not in OURS:
                (path / guess).symlink_to(victim / "file")
    folder = RunFolder.create(path, study.settings, resume=True)
    for name in ("trials.csv", "pareto.csv", "pareto.json"):
        folder.write_text(name, "new")
    folder.release()
    assert (victim / "file").read_text() == "precious"
    assert [entry.name for entry in victim.iterdir()] == ["file"]


# -- what is removed ---------------------------------------------------------------------------------------------------


def test_what_a_kill_left_half_written_is_removed_and_nothing_else(small_space: Space, tmp_path: Path) -> None:
    study = begun(tmp_path, small_space)
    left = [".manifest.json.abcd0123", ".trials.csv.00000000", ".pareto.png.a2345678", "..holder.01234567"]
    others = [".manifest.json.swp", ".trials.csv.original", "manifest.json.00000000", ".best.original", "notes.pt"]
    for name in left + others:
        (tmp_path / name).write_text("mine")
    (tmp_path / ".best.0a1b2c3d").mkdir()
    (tmp_path / ".best.0a1b2c3d" / "model.py").touch()
    before = snapshot(tmp_path)
    RunFolder.create(tmp_path, study.settings, resume=True).release()
    gone = {*left, ".best.0a1b2c3d", ".best.0a1b2c3d/model.py"}
    assert before.keys() - snapshot(tmp_path).keys() == gone


def test_of_the_checkpoints_only_the_run_s_own_that_are_not_needed_are_removed(
    small_space: Space, tmp_path: Path
) -> None:
    study = begun(tmp_path, small_space)
    candidate = study.ask()
    assert candidate is not None
    study.record(candidate, 0, TrialResult(status="inert", corner_error_px=9.0))
    file = checkpoint_file(tmp_path, study.entries[0].candidate.arch, 0)
    file.parent.mkdir()
    kept = {file.name, "best.pt", ".mine.pt.0123abcd", "0123456789abcdef-0.pt", ".0123456789abcdef-0.pt.0123abcd"}
    of_dead = checkpoint_file(tmp_path, candidate.arch, 0).name
    removed = {of_dead, file.name.replace("-0", "-1"), f".{file.name}.0123abcd", f".{of_dead}.0123abcd"}
    for name in kept | removed:
        (file.parent / name).touch()
    Search(study.folder, small_space, trials=1, watcher=SearchWatcher())
    assert {path.name for path in file.parent.iterdir()} == kept


@pytest.mark.parametrize("was_there", [True, False])
def test_a_search_that_cannot_begin_removes_only_a_folder_that_it_has_made(
    small_space: Space, tmp_path: Path, was_there: bool
) -> None:
    """What is there may be a stranger's manifest beside someone's files."""
    path, settings = tmp_path / "run", make_settings(small_space)
    if was_there:
        make_folder(path, settings)
        (path / "logs").mkdir()
        (path / "logs" / "diary").touch()
    before = snapshot(tmp_path).keys()

    def no_engine(*what: object) -> Any:
        raise SettingError("there is no engine")

    with pytest.raises(SettingError, match="there is no engine"):
        search(small_space, settings, path, no_engine, trials=1, resume=was_there)
    assert snapshot(tmp_path).keys() == before


def test_a_pipe_as_a_study_is_no_study(small_space: Space, tmp_path: Path) -> None:
    """SQLite would wait for whom writes into it, for ever."""
    study = begun(tmp_path, small_space)
    study.folder.write_manifest(storage="sqlite:///mine.db")
    os.mkfifo(tmp_path / "mine.db")
    with pytest.raises(RunError, match="holds no study of it"):
        open_run(tmp_path)


def test_a_cut_transaction_is_undone_for_readers_in_a_copy(small_space: Space, tmp_path: Path) -> None:
    study = begun(tmp_path / "run", small_space)
    expected = open_run(tmp_path / "run").entries
    assert expected == study.entries
    out = Path(shutil.copytree(tmp_path / "run", tmp_path / "killed"))
    with contextlib.closing(sqlite3.connect(tmp_path / "run" / "study.db", isolation_level=None)) as database:
        database.execute("PRAGMA cache_size = 1")  # else it would write to the study at the end only
        database.execute("BEGIN IMMEDIATE")
        database.execute("UPDATE trial_user_attributes SET value_json = '0'")
        for name in ("study.db", "study.db-journal"):
            shutil.copy(tmp_path / "run" / name, out)
        database.execute("ROLLBACK")
    before = snapshot(out)
    assert open_run(out).entries == expected
    assert snapshot(out) == before
