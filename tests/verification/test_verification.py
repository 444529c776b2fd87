"""A verification stops anywhere and goes on: nothing finished is lost, nothing is trained twice. Trainings are made up.

Real training: test_verify_training.py.
"""

import dataclasses
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from small_search import write_space
from verify_jobs import DEATHS, FACTS, pretend, scores
from verify_runs import TwoSlots, inline, make_run, verify

from lstn_search.errors import RunError, SettingError
from lstn_search.jobs.base import Ended, Engine, Job, WorkerSetup
from lstn_search.jobs.local import LocalEngine
from lstn_search.program import program
from lstn_search.runs.folder import RunFolder
from lstn_search.runs.run import open_run
from lstn_search.spec.ladder import Ladder
from lstn_search.spec.space import load_space
from lstn_search.spec.task import Task
from lstn_search.verification.plan import Plan, make_plan
from lstn_search.verification.records import Record, Records
from lstn_search.verification.result import Verification, read_verification
from lstn_search.verification.verify import Trainings, VerifyWatcher

BLOCK = ("control", "oracle", "costly", "good", "t3", "outside")
"""What --top 1 trains with each seed, in this order: the references, then the dearest first."""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run to copy."""
    folder = tmp_path_factory.mktemp("verify")
    return make_run(folder / "run", load_space(write_space(folder)))


@pytest.fixture
def run(made: Path, tmp_path: Path) -> Path:
    return shutil.copytree(made, tmp_path / "run")


def plan_for(run: Path, *, top: int = 1, seeds: int = 2, **options: Any) -> Plan:
    return make_plan(open_run(run), top=top, seeds=seeds, **options)


def attempts(run: Path) -> list[str]:
    """Every job that a worker began, in order, with its kind."""
    file = run / "verify" / "attempts"
    return file.read_text().splitlines() if file.exists() else []


def without_seconds(verification: Verification) -> dict[str, Any]:
    return {name: value for name, value in verification.to_dict().items() if name not in ("seconds", "command")}


class Interrupt(VerifyWatcher):
    """Ctrl-C after so many finished trainings."""

    def __init__(self, after: int) -> None:
        self.left = after
        self.seen: Verification | None = None

    def on_result(self, source: Trainings, result: Record) -> None:
        self.left -= 1
        if not self.left:
            raise KeyboardInterrupt

    def on_finish(self, source: Trainings) -> None:
        self.seen = source.summarize()


# -- the plan -----------------------------------------------------------------------------------------------------


def test_the_finalists_are_the_top_of_the_front_and_every_seed_point_once(run: Path) -> None:
    opened = open_run(run)
    front = sorted(opened.front, key=lambda entry: -entry.accuracy)
    for top in (1, 2, 99):
        plan = plan_for(run, top=top)
        expected = {"good", "costly", "outside"} | {entry.candidate.name for entry in front[:top]}
        assert {row.name for row in plan.contenders} == expected
        assert len(plan.contenders) == len(expected)
        assert [row.gflops for row in plan.contenders] == sorted(row.gflops for row in plan.contenders)
        assert {row.name for row in plan.contenders if row.is_front_pick} == {e.candidate.name for e in front[:top]}


def test_the_schedule_is_the_longest_of_the_search_or_longer(run: Path) -> None:
    assert (plan_for(run).task.epochs, plan_for(run).task.recover_steps) == (2, 60)
    assert all(row.is_comparable and row.searched_epochs == 2 for row in plan_for(run).contenders)
    longer = plan_for(run, epochs=5, recover_steps=100)
    assert (longer.task.epochs, longer.task.recover_steps) == (5, 100)
    assert not any(row.is_comparable for row in longer.contenders)
    with pytest.raises(SettingError, match="epochs must be at least 2, what the search trained, got 1"):
        plan_for(run, epochs=1)


def test_seed_points_to_compare_with_can_be_named(run: Path) -> None:
    everyone = {row.name for row in plan_for(run).contenders if row.is_seed}
    assert len(everyone) > 1
    (name, other) = sorted(everyone)[:2]
    found = {row.name for row in plan_for(run).contenders if not row.is_seed}
    for against in ([name], [other, name], []):
        plan = plan_for(run, against=against)
        assert {row.name for row in plan.contenders} == found | set(against)
        assert f" --against {','.join(against) or repr('')}" in plan.command
    assert "--against" not in plan_for(run).command
    with pytest.raises(SettingError, match=r"'ltsn' is no seed point that .+ has trained; known: "):
        plan_for(run, against=["ltsn"])


def test_a_verification_without_seed_points_says_what_it_can(run: Path) -> None:
    found = verify(plan_for(run, against=[]), run, inline(run))
    assert [row.is_seed for row in found.finalists] == [False]
    assert found.complete_seeds == (1000, 1001) and found.sentences
    more = verify(plan_for(run), run, inline(run))
    assert len(more.finalists) > 1 and more.finalists[-1].name != found.finalists[0].name


def test_seeds_are_fresh_whatever_the_seed_of_the_search(run: Path) -> None:
    assert plan_for(run, seeds=3).seeds == (1000, 1001, 1002)
    opened = open_run(run)
    opened.folder.manifest["settings"]["task"]["seed"] = 1001
    assert make_plan(opened, seeds=3).seeds == (1000, 1002, 1003)


def test_numbers_without_meaning_and_an_empty_front(run: Path) -> None:
    with pytest.raises(SettingError, match="top must be at least 1, got 0"):
        plan_for(run, top=0)
    with pytest.raises(SettingError, match="seeds must be at least 2, since an interval needs two, got 1"):
        plan_for(run, seeds=1)
    for options, message in (({"minutes": 0.0}, "minutes must be above 0"), ({"retries": -1}, "retries must be at")):
        with pytest.raises(SettingError, match=message):
            verify(plan_for(run), run, inline(run), **options)
    opened = open_run(run)
    opened.entries = opened.entries[:0]
    with pytest.raises(SettingError, match=r"the front of .+ is empty: none of its 0 trained"):
        make_plan(opened)
    assert not (run / "verify").exists()


# -- order --------------------------------------------------------------------------------------------------------


def test_one_seed_after_the_other_and_every_training_once(run: Path) -> None:
    found = verify(plan_for(run), run, inline(run))
    expected = [[f"prepare seed {seed}", *(f"{name} {seed}" for name in BLOCK)] for seed in (1000, 1001)]
    said = [line if line.startswith("prepare") else line.partition(" ")[2] for line in attempts(run)]
    assert said == [*expected[0], *expected[1]]
    for row in found.rows:
        assert [(seed.val_top1, seed.test_top1) for seed in row.seeds] == [scores(row.name, s) for s in (1000, 1001)]
    assert read_verification(run) == found
    assert found.command == f"{program()} verify {run} --top 1 --seeds 2"
    assert found.versions["torch"] and found.hardware["cores"]


def test_no_worker_waits_for_a_backbone_while_there_is_other_work(run: Path) -> None:
    """With two workers: a seed's trainings begin when its backbone is ready, and no backbone is prepared twice."""
    engines: list[Engine] = []
    verify(plan_for(run, seeds=3), run, inline(run, made=engines, slots=2))
    (engine,) = engines
    assert isinstance(engine, TwoSlots)
    log = engine.log
    assert log[:2] == ["+seed 1000", "+seed 1001"]
    assert sorted(line for line in log if line.startswith("+seed")) == ["+seed 1000", "+seed 1001", "+seed 1002"]
    for seed in (1000, 1001, 1002):
        first = min(log.index(f"+{name} {seed}") for name in BLOCK)
        assert log.index(f"-seed {seed}") < first
    assert log.index("+seed 1002") < max(log.index(f"-{name} 1001") for name in BLOCK)


# -- stopping and going on --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("after", [1, 6, 9])
def test_ctrl_c_loses_nothing_and_the_same_command_goes_on(made: Path, run: Path, tmp_path: Path, after: int) -> None:
    watcher = Interrupt(after)
    with pytest.raises(KeyboardInterrupt):
        verify(plan_for(run), run, inline(run), watcher=watcher)
    assert watcher.seen and sum(len(row.seeds) for row in watcher.seen.rows) == after
    complete = (1000,) if after >= len(BLOCK) else ()
    assert watcher.seen.complete_seeds == complete
    assert read_verification(run) == (watcher.seen if complete else None)
    found = verify(plan_for(run), run, inline(run))
    trained = [line for line in attempts(run) if not line.startswith("prepare")]
    assert len(trained) == len(set(trained)) == 2 * len(BLOCK)
    undisturbed = shutil.copytree(made, tmp_path / "undisturbed")
    expected = verify(plan_for(undisturbed), undisturbed, inline(undisturbed))
    assert without_seconds(found) == without_seconds(expected)


def test_a_second_time_nothing_is_trained_and_more_seeds_are_added(run: Path) -> None:
    first = verify(plan_for(run), run, inline(run))
    before = attempts(run)
    assert verify(plan_for(run), run, lambda *_: pytest.fail("no worker is needed")) == first
    more = verify(plan_for(run, seeds=3), run, inline(run))
    assert {line.rpartition(" ")[2] for line in attempts(run)[len(before) :]} == {"1002"}
    assert more.complete_seeds == (1000, 1001, 1002)
    assert verify(plan_for(run), run, inline(run)) == first


def test_a_longer_schedule_is_another_verification(run: Path) -> None:
    first = verify(plan_for(run), run, inline(run))
    with pytest.raises(KeyboardInterrupt):
        verify(plan_for(run, epochs=5), run, inline(run), watcher=Interrupt(3))
    assert read_verification(run) == first  # what has no complete seed replaces nothing
    longer = verify(plan_for(run, epochs=5), run, inline(run))
    assert longer.task["epochs"] == 5 and longer.complete_seeds == (1000, 1001)
    assert len(list((run / "verify").glob("*.json"))) == 4 * len(BLOCK)


@pytest.mark.parametrize("damage", ["", "{", "null", "[]", '{"key": 1}', '{"settings": 3}'])
def test_a_damaged_record_is_trained_again(run: Path, damage: str) -> None:
    first = verify(plan_for(run), run, inline(run))
    (file,) = (run / "verify").glob("control-s1001-*.json")
    file.write_text(damage)
    before = attempts(run)
    assert verify(plan_for(run), run, inline(run)) == first
    assert attempts(run)[len(before) :] == ["prepare seed 1001", "evaluate control 1001"]


def test_after_its_minutes_nothing_is_started(run: Path) -> None:
    found = verify(plan_for(run), run, inline(run), minutes=1e-9)
    assert attempts(run) == [] and found.complete_seeds == ()
    assert found.sentences == (
        "No seed is complete yet: each takes 6 trainings.",
        "Left out, as not every finalist is done: seeds 1000, 1001; the same command goes on.",
    )
    assert read_verification(run) is None


def test_kill_9_at_any_instant_loses_nothing(run: Path, made: Path, tmp_path: Path) -> None:
    """Driver and workers are real processes."""
    root = Path(__file__).resolve().parents[2]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join((str(root), str(root / "tests")))}
    command = [sys.executable, str(root / "tests" / "verify_runs.py"), "drive", str(run), "2"]
    said: list[str] = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        said += [process.stdout.readline().strip() for _ in range(4)]
        process.kill()
    files = {file.name for file in (run / "verify").glob("*.json")}
    assert len(files) >= 4 and "" not in said
    found = verify(plan_for(run, top=2), run, inline(run))
    assert len(found.complete_seeds) == 2
    undisturbed = shutil.copytree(made, tmp_path / "undisturbed")
    expected = verify(plan_for(undisturbed, top=2), undisturbed, inline(undisturbed))
    assert without_seconds(found) == without_seconds(expected)


def test_two_verifications_of_a_run_are_refused_with_the_holders_name(run: Path) -> None:
    with Records(run, plan_for(run).task).locked():
        line = rf"verify is in use by another verification \(process {os.getpid()} on .+, since .+\); wait for it"
        with pytest.raises(RunError, match=line):
            verify(plan_for(run), run, inline(run))
    assert verify(plan_for(run), run, inline(run)).complete_seeds == (1000, 1001)
    assert not (run / "verify" / ".holder").exists()


def test_a_folder_that_cannot_be_written_is_one_line(run: Path) -> None:
    (run / "verify").write_text("a file")
    with pytest.raises(RunError, match=r"verify cannot be written \(.+\); verify a copy of the run"):
        verify(plan_for(run), run, inline(run))


# -- workers that die -------------------------------------------------------------------------------------------------


def test_a_dead_worker_is_tried_once_more_then_recorded_and_healed_next_time(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With real workers, killed by SIGKILL: twice at one job, once at another and at a preparation."""

    def workers(task: Task, ladder: Ladder, folder: Path) -> Engine:
        return LocalEngine(WorkerSetup(task=task, ladder=ladder, folder=folder, cache_dir=folder), 1, pretend)

    monkeypatch.setenv(DEATHS, "good 1001:2,t3 1000:1,seed 1000:1")
    found = verify(plan_for(run), run, workers)
    counts = {line: attempts(run).count(line) for line in attempts(run)}
    assert {line: count for line, count in counts.items() if count > 1} == {
        "prepare seed 1000": 2, "evaluate t3 1000": 2, "evaluate good 1001": 2
    }  # fmt: skip
    good = next(row for row in found.finalists if row.name == "good")
    assert good.verdicts == ("failed in 1 of 2 seeds",)
    assert "killed by SIGKILL" in good.seeds[1].reason
    assert found.pick not in (None, "good")
    monkeypatch.delenv(DEATHS)
    healed = verify(plan_for(run), run, workers)
    assert attempts(run)[-2:] == ["prepare seed 1001", "evaluate good 1001"]
    assert next(row for row in healed.finalists if row.name == "good").verdicts == ("better than no STN",)


def test_a_preparation_that_always_dies_ends_it(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def job(setup: WorkerSetup, job: Job, say: object) -> Ended:
        return Ended(job=job, died="its worker ended with exit code 3")

    with pytest.raises(RunError, match="the task could not be prepared for seed 1000: its worker ended with exit cod"):
        verify(plan_for(run), run, inline(run, job))


def test_what_the_user_can_cure_ends_it_and_keeps_what_is_done(run: Path) -> None:
    def job(setup: WorkerSetup, job: Job, say: Callable[[str], None]) -> Ended:
        ended = pretend(setup, job, say)
        return dataclasses.replace(ended, user_error="the disk is full") if job.name == "control 1001" else ended

    with pytest.raises(RunError, match="the disk is full"):
        verify(plan_for(run), run, inline(run, job))
    kept = read_verification(run)
    assert kept and kept.complete_seeds == (1000,)


def test_a_run_that_was_trained_in_another_way_is_refused(run: Path) -> None:
    RunFolder.open(run).write_manifest(recipe=1)
    with pytest.raises(
        RunError, match=r"was trained by an earlier release, .+ nothing can be trained beside it; search"
    ):
        plan_for(run)
    assert not (run / "verify").exists()


def test_other_images_than_those_of_the_search_are_refused(run: Path) -> None:
    folder = RunFolder.open(run)
    folder.write_manifest(data=FACTS | {"fingerprint": "e" * 64})
    with pytest.raises(
        RunError,
        match=r"was made on other images of glyphs .+; restore the images, or say where they are with --data-dir",
    ):
        verify(plan_for(run), run, inline(run))
    assert not list((run / "verify").glob("*.json"))


def test_a_full_disk_is_one_line(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, content: bytes) -> None:
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr("lstn_search.runs.folder.write_atomically", full)
    with pytest.raises(RunError, match=r"control-s1000-.+\.json cannot be written \(No space left on device\); make"):
        verify(plan_for(run), run, inline(run))


def test_poses_that_moved_are_taken_from_where_they_are_and_nothing_is_trained_again(run: Path) -> None:
    folder = RunFolder.open(run)
    settings = folder.settings.to_dict()
    folder.write_manifest(settings=settings | {"task": settings["task"] | {"poses": "before.csv"}})
    verify(plan_for(run), run, inline(run))
    engines: list[Engine] = []
    moved = plan_for(run, seeds=3, poses="now.csv")
    verify(moved, run, inline(run, made=engines))
    assert moved.task.poses == "now.csv" and [engine.setup.task.poses for engine in engines] == ["now.csv"]
    assert len(attempts(run)) == len(set(attempts(run)))
