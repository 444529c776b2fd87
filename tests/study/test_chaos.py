"""Kills, cut writes, full disks and Ctrl-C: what was finished stays, and the search goes on.

Real processes and a real study; training is made up (chaos_jobs.py) where it is not the point. `make chaos` is the long
version, and all real.
"""

import contextlib
import csv
import dataclasses
import json
import math
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import chaos
import chaos_jobs
import pytest
import sqlalchemy
from small_search import (
    LADDER,
    NUM_SEEDS,
    NUM_TRIALS,
    InlineEngine,
    make_folder,
    make_settings,
    options_of,
    play,
    write_space,
)
from small_training import ARCH, same_numbers

from lstn_search.errors import RunError
from lstn_search.jobs.base import WorkerSetup
from lstn_search.jobs.local import LocalEngine
from lstn_search.jobs.work import climb
from lstn_search.runs.folder import checkpoint_file
from lstn_search.runs.run import Run, open_run
from lstn_search.spec.ladder import Ladder
from lstn_search.spec.results import TrialResult
from lstn_search.spec.space import Space, load_space
from lstn_search.spec.task import Task
from lstn_search.study.search import search
from lstn_search.study.study import Study
from lstn_search.training.prepared import Prepared
from lstn_search.training.warm import Warm
from lstn_search.training.workbench import Workbench

pytestmark = [
    pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="finds processes in /proc"),
    pytest.mark.usefixtures("unproved"),
]

TRIALS = 3
MADE_UP = chaos.ROOT / "tests" / "chaos_search.py"


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a busy machine the end of an orphan takes as long as it takes."""
    monkeypatch.setattr(chaos, "ORPHAN_SECONDS", math.inf)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The images and the cache of every search here."""
    folder = tmp_path_factory.mktemp("chaos")
    chaos.draw_images(folder / "images")
    return folder


@pytest.fixture(scope="module")
def pretence(folder: Path) -> chaos.Scene:
    """A search with one worker, and made-up training."""
    return chaos.Scene(folder=folder, workers=1, trials=TRIALS, space=str(write_space(folder)), program=MADE_UP)


@pytest.fixture(scope="module")
def pretended(pretence: chaos.Scene) -> tuple[Path, float]:
    """The folder of such a search that nobody killed, and how many seconds it took on this machine today."""
    out, start = pretence.folder / "pretended", time.monotonic()
    victim = pretence.start(out)
    assert victim.ended_within(None)
    assert victim.process.returncode == 0, victim.output
    return out, time.monotonic() - start


def finish(scene: chaos.Scene, out: Path) -> None:
    """Resume a search and see that it gets to its end and is complete."""
    before = dict(chaos.recorded(out))
    victim = scene.start(out)
    assert victim.ended_within(None), victim.output
    assert victim.process.returncode == 0, victim.output
    tally = chaos.Tally()
    results = chaos.inspect(out, before, Counter(victim.finished_rungs), tally)
    chaos.inspect_finished(scene, out, results, tally)
    assert tally.incidents == []


def table(out: Path) -> list[dict[str, str]]:
    """trials.csv, but for the seconds."""
    with (out / "trials.csv").open() as file:
        return [{k: v for k, v in row.items() if "seconds" not in k} for row in csv.DictReader(file)]


def test_nothing_is_lost_when_drivers_and_workers_are_killed_at_random_instants(
    pretence: chaos.Scene, pretended: tuple[Path, float]
) -> None:
    tally, (_, seconds) = chaos.Tally(), pretended
    scene = dataclasses.replace(pretence, workers=2)
    chaos.run(scene, kills=3, seed=1, seconds={"search": seconds}, tally=tally)
    assert tally.kills == 3
    assert tally.results > scene.trials + len(scene.seeds)  # some have climbed
    assert tally.incidents == []


def test_a_search_that_was_killed_ends_as_one_that_was_not(
    small_run: Run, small_space: Space, small_cache: Path, tmp_path: Path
) -> None:
    """With real training and one worker, digit for digit: Ctrl-C, and killed later."""
    settings, out = small_run.folder.settings, tmp_path / "killed"
    options = [*options_of(settings.task, out), "--space", str(write_space(tmp_path)), "--trials", str(NUM_TRIALS)]
    command = [sys.executable, "cli.py", *options, "--cache-dir", str(small_cache), "--resume"]
    results: chaos.Results = {}
    printed: Counter[str] = Counter()
    tally = chaos.Tally()
    for how, num_rungs in ((signal.SIGINT, NUM_SEEDS + 1), (signal.SIGKILL, 2)):
        victim = chaos.Victim(command, tmp_path / "log")
        victim.wait_for_rungs(num_rungs)
        victim.process.send_signal(how)
        assert victim.ended_within(None)
        assert victim.process.returncode == (130 if how == signal.SIGINT else -how), victim.output
        assert victim.orphans() == {}
        printed += Counter(victim.finished_rungs)
        results = chaos.inspect(out, results, printed, tally)
        assert not any(word in victim.output for word in ("Traceback", "warning:", "error:"))
        if how == signal.SIGINT:
            assert (
                f"interrupted; what was trained is in {out}. To go on: the same command with --resume" in victim.output
            )
            assert "Pareto front at 48 px" in victim.output
            assert {"trials.csv", "pareto.csv", "pareto.json", "pareto.png", "best"} <= {f.name for f in out.iterdir()}
    assert NUM_SEEDS + 1 < len(results) < len(table(small_run.folder.path))
    run = search(small_space, settings, out, InlineEngine.make(small_cache), trials=NUM_TRIALS, resume=True)
    chaos.inspect(out, results, printed, tally)
    assert tally.incidents == []
    assert {row["rung"] for row in table(out)} == {"0", "1", "2"}
    assert table(out) == table(small_run.folder.path)
    assert [entry.candidate for entry in run.front] == [entry.candidate for entry in small_run.front]


def test_ctrl_c_twice(pretence: chaos.Scene, pretended: tuple[Path, float], monkeypatch: pytest.MonkeyPatch) -> None:
    """At once, and while the tables are being written; the job under way would never have ended."""
    out = pretence.folder / "ctrl-c"
    for num_finished, seconds in ((1, 0.05), (2, 1.0)):
        monkeypatch.setenv(chaos_jobs.HANGS, pretence.seeds[num_finished])
        victim = pretence.start(out)
        victim.wait_for_rungs(1)
        assert len(victim.workers) == 1
        for _ in range(2):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(victim.process.pid, signal.SIGINT)
            time.sleep(seconds)
        assert victim.ended_within(None)
        assert victim.process.returncode == 130
        assert "Traceback" not in victim.output
        assert victim.orphans() == {}
        assert [entry.candidate.name for entry in open_run(out).entries] == list(pretence.seeds[:num_finished])
    monkeypatch.delenv(chaos_jobs.HANGS)
    finish(pretence, out)
    assert table(out) == table(pretended[0])


# -- the disk ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A small disk of our own; only root may have one."""
    place = tmp_path / "disk"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", str(place)]
    if not shutil.which("mount") or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("may not mount a disk")
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)


def test_a_full_disk_is_one_line_and_the_search_goes_on_when_there_is_room(
    pretence: chaos.Scene, pretended: tuple[Path, float], disk: Path
) -> None:
    out = disk / "run"
    victim = chaos.Victim(pretence.command(out), pretence.folder / "full disk.log")
    victim.wait_for_rungs(2)
    with contextlib.suppress(OSError), (disk / "something else").open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))
    assert victim.ended_within(None)
    assert victim.process.returncode == 2, victim.output
    assert "Traceback" not in victim.output
    (line,) = [line for line in victim.output.splitlines() if line.startswith("error: ")]
    assert "make room" in line
    assert victim.orphans() == {}
    (disk / "something else").unlink()
    victim = chaos.Victim(pretence.command(out), pretence.folder / "full disk.log")
    assert victim.ended_within(None)
    assert victim.process.returncode == 0, victim.output
    assert table(out) == table(pretended[0])


@pytest.mark.parametrize("when", ["the journal is half written", "the study is half written"])
def test_a_write_that_was_cut_is_undone(small_run: Run, tmp_path: Path, when: str) -> None:
    """What lies on the disk in the middle of SQLite's transaction, before and after it has touched the study."""
    undisturbed, out = (shutil.copytree(small_run.folder.path, tmp_path / name) for name in ("undisturbed", "run"))
    with contextlib.closing(sqlite3.connect(undisturbed / "study.db", isolation_level=None)) as database:
        database.execute("PRAGMA cache_size = 1")  # else it would write to the study at the end only
        database.execute("BEGIN IMMEDIATE")
        database.execute("UPDATE trial_user_attributes SET value_json = '0'")
        if "study" in when:
            shutil.copy(undisturbed / "study.db", out)
        journal = (undisturbed / "study.db-journal").read_bytes()
        database.execute("ROLLBACK")
    (out / "study.db-journal").write_bytes(journal if "study" in when else journal[: len(journal) // 2])
    was_touched = (out / "study.db").read_bytes() != (undisturbed / "study.db").read_bytes()
    assert was_touched == ("study" in when)
    assert open_run(out).entries == open_run(undisturbed).entries


def test_a_search_that_was_killed_as_it_began_its_study_has_trained_nothing(small_run: Run, tmp_path: Path) -> None:
    shutil.copytree(small_run.folder.path, tmp_path, dirs_exist_ok=True)
    (tmp_path / "study.db").write_bytes(b"")
    with pytest.raises(RunError, match="holds no study of it"):
        open_run(tmp_path)  # the manifest knows that seven were trained
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    del manifest["counts"], manifest["study_begun"]
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    assert open_run(tmp_path).entries == []


def test_half_a_study_is_one_line(small_run: Run, tmp_path: Path) -> None:
    shutil.copytree(small_run.folder.path, tmp_path, dirs_exist_ok=True)
    content = (tmp_path / "study.db").read_bytes()
    (tmp_path / "study.db").write_bytes(content[: len(content) // 2])
    with pytest.raises(RunError, match=r"study\.db cannot be used \(database disk image is malformed\); .* --resume$"):
        open_run(tmp_path)


Climbed = tuple[Prepared, Path, TrialResult]


@pytest.fixture(scope="module")
def climbed(bench: Workbench, warm: Warm, small_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Climbed:
    """A folder with the checkpoint of rung 1, and what rung 2 comes to."""
    place = tmp_path_factory.mktemp("climbed")
    short = dataclasses.replace(bench.task, recover_steps=20)
    prepared = Prepared(Workbench(short, cache_dir=small_cache, progress=False), warm)
    for rung in range(3):
        result = climb(prepared, ARCH, LADDER, rung, place, lambda stage: None)
    checkpoint_file(place, ARCH, 0).unlink()
    checkpoint_file(place, ARCH, 2).unlink()
    return prepared, place, result


@pytest.mark.parametrize("damage", ["lost", "torn"])
def test_a_checkpoint_that_is_lost_or_torn_costs_time_and_no_result(
    climbed: Climbed, tmp_path: Path, damage: str
) -> None:
    prepared, place, expected = climbed
    shutil.copytree(place, tmp_path, dirs_exist_ok=True)
    file = checkpoint_file(tmp_path, ARCH, 1)
    content = file.read_bytes()
    file.unlink()
    if damage == "torn":
        file.write_bytes(content[: len(content) // 2])
    again = climb(Prepared(prepared.bench, prepared.warm), ARCH, LADDER, 2, tmp_path, lambda stage: None)
    assert same_numbers(again) == same_numbers(expected)
    assert again.epochs == 2


class Killed(BaseException):
    """The end of a process."""


def test_killed_before_any_of_its_transactions_a_search_goes_on_as_if_nothing_had_happened(tmp_path: Path) -> None:
    """With made-up results: killed before transaction 1, 2, 3, ..., one after the other in a search of its own."""
    space = load_space(write_space(tmp_path))
    space = dataclasses.replace(space, seeds={"good": space.seeds["good"]})
    settings = make_settings(space, sampler="random")
    left = 10**9

    def count(connection: sqlalchemy.Connection) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            connection.connection.rollback()  # as the next process would
            raise Killed

    def proposals(name: str) -> list[tuple[int, str, str, list[TrialResult]]]:
        study = Study(make_folder(tmp_path / name, settings, resume=True), space)
        entries = play(study, 1)
        return [(e.candidate.number, e.candidate.name, e.candidate.arch.digest, e.results) for e in entries]

    Study(make_folder(tmp_path / "begun", settings), space)
    shutil.copytree(tmp_path / "begun", tmp_path / "whole")
    whole = proposals("whole")
    sqlalchemy.event.listen(sqlalchemy.Engine, "commit", count)
    try:
        was_killed, transactions = True, 0
        while was_killed:
            was_killed, left = False, transactions
            shutil.copytree(tmp_path / "begun", tmp_path / f"killed {transactions}")
            try:
                proposals(f"killed {transactions}")
            except Killed:
                was_killed, left = True, 10**9
                assert proposals(f"killed {transactions}") == whole
            transactions += 1
    finally:
        sqlalchemy.event.remove(sqlalchemy.Engine, "commit", count)
    assert transactions > 3 * len(whole)  # a proposal, its result, and what the sampler is told


# -- workers that die --------------------------------------------------------------------------------------------------


def search_with_deaths(out: Path, deaths: str, monkeypatch: pytest.MonkeyPatch, *, retries: int) -> Run:
    """A search of two trials without training; see chaos_jobs.py."""
    monkeypatch.setenv(chaos_jobs.DEATHS, deaths)
    space = load_space(write_space(out.parent))

    def make_engine(task: Task, ladder: Ladder, folder: Path) -> LocalEngine:
        setup = WorkerSetup(task=task, ladder=ladder, folder=folder.resolve(), cache_dir=out.parent)
        return LocalEngine(setup, 2, chaos_jobs.run_job)

    task = Task(dataset="glyphs", image_size=48, trial_size=24, device="cpu")  # "auto" would import torch to look
    settings = make_settings(space, task, ladder=Ladder(epochs=(1,)))
    return search(space, settings, out, make_engine, trials=2, retries=retries)


def test_what_killed_its_worker_is_run_again_and_then_recorded_as_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "run"
    run = search_with_deaths(out, "prepare:1,control:1,good:1,costly:99", monkeypatch, retries=1)
    attempts = Counter((out / "logs" / "attempts").read_text().split())
    assert (attempts["prepare"], attempts["control"], attempts["oracle"], attempts["costly"]) == (2, 2, 1, 2)
    assert attempts["good"] == 2 + 2  # recover, and the joint rung
    assert run.find("good").results[0].status == "ok"
    costly = run.find("costly").results
    assert [(r.status, r.reason) for r in costly] == [("failed", "its worker was killed by SIGKILL (out of memory?)")]
    assert len(run.entries) == 2 + 3
    assert open_run(out).entries == run.entries


def test_a_task_that_cannot_be_prepared_leaves_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(RunError, match=r"could not be prepared: its worker was killed by SIGKILL"):
        search_with_deaths(tmp_path / "run", "prepare:99", monkeypatch, retries=1)
    assert not (tmp_path / "run").exists()
