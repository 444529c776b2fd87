"""The size of a trial against the size of deployment: what is trained for it, kept, and said."""

import dataclasses
import itertools
import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from scipy.stats import kendalltau
from small_search import InlineEngine
from small_training import same_numbers

from lstn_search.errors import RunError, SettingError
from lstn_search.jobs.base import Ended, Engine, Event, Job, WorkerSetup
from lstn_search.ranking.deployment import Deployments, DeploymentWatcher, measure_deployment, spread_over
from lstn_search.ranking.facts import fidelity_info
from lstn_search.runs.entries import Entry
from lstn_search.runs.run import Run, open_run
from lstn_search.spec.ladder import Ladder
from lstn_search.spec.results import TrialResult
from lstn_search.spec.task import Task
from lstn_search.training.prepared import prepare
from lstn_search.training.trial import start_trial

# -- trial size against deployment size --------------------------------------------------------------------------------


@pytest.mark.parametrize("num", [1, 2, 7, 40, 100])
def test_every_beginning_is_spread_evenly(num: int) -> None:
    order = spread_over(num, seed=1)
    assert sorted(order) == list(range(num))
    for taken in (6, 12, 24):
        if taken < num:
            places = [-1, *sorted(order[:taken]), num]
            gaps = [high - low for low, high in itertools.pairwise(places)]
            assert max(gaps) <= 3 * num / taken
    assert num < 7 or order != spread_over(num, seed=2)


Jobs = list[tuple[str, int]]


class Noting(InlineEngine):
    """Notes the jobs it is given; some it does not run, since their worker died."""

    def __init__(self, setup: WorkerSetup, fail: Callable[[Job], str | None]) -> None:
        super().__init__(setup)
        self.fail = fail
        self.noted: Jobs = []

    def submit(self, job: Job) -> None:
        self.noted.append((job.name, job.rung))
        super().submit(job)

    def events(self, timeout: float | None = None) -> Sequence[Event]:
        reason = self.fail(self._jobs[-1])
        return super().events(timeout) if reason is None else [Ended(job=self._jobs.pop(), died=reason)]


def again(
    run: Run, cache: Path, num: int = 6, *, fail: Callable[[Job], str | None] = lambda job: None, **changes: Any
) -> Jobs:
    """Measure at deployment size; the jobs that were asked for."""
    engines: list[Noting] = []

    def start(task: Task, ladder: Ladder, folder: Path) -> Engine:
        assert ladder == run.folder.settings.ladder
        engines.append(Noting(WorkerSetup(task=task, ladder=ladder, folder=folder, cache_dir=cache), fail))
        return engines[0]

    measure_deployment(run, num, start, **changes)
    return engines[0].noted if engines else []


@pytest.fixture(scope="module")
def measured(small_run: Run, small_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, Jobs]:
    """A copy of the small search, six of whose architectures were trained again at deployment size."""
    copy = shutil.copytree(small_run.folder.path, tmp_path_factory.mktemp("fidelity") / "run")
    run = open_run(copy)
    return run, again(run, small_cache)


def results_at_deployment(run: Run) -> dict[str, dict[str, Any]]:
    rows = [json.loads(file.read_text()) for file in (run.folder.path / "fidelity").glob("*.json")]
    return {row["name"]: row for row in rows}


def test_what_is_trained_is_the_same_task_at_deployment_size(measured: tuple[Run, Jobs], small_cache: Path) -> None:
    """The kept numbers are those of a recover stage run here."""
    run, jobs = measured
    within = [entry for entry in run.entries if not entry.candidate.over_budget]
    assert jobs[0] == ("prepare", 0)
    assert sorted(jobs[1:]) == sorted((entry.candidate.name, 0) for entry in within)
    task = run.folder.settings.task
    prepared = prepare(dataclasses.replace(task, trial_size=task.image_size), small_cache, lambda what: None)
    assert prepared.bench.dataset.images_NHWC.shape[1] == task.image_size
    entry = within[0]
    here = start_trial(prepared, entry.candidate.arch).begin()
    kept = TrialResult.from_dict(results_at_deployment(run)[entry.candidate.name]["result"])
    assert same_numbers(kept) == same_numbers(here)


def test_the_two_sizes_are_correlated(measured: tuple[Run, Jobs]) -> None:
    run, _ = measured
    kept = results_at_deployment(run)
    small = {entry.candidate.name: entry.results[0].corner_error_px for entry in run.entries}
    pairs = [(small[name], row["result"]["corner_error_px"]) for name, row in kept.items()]
    found = fidelity_info(run).deployment
    assert found is not None
    assert (found.a, found.b, found.num) == ("corner error at 24 px", "corner error at 48 px", 6)
    assert found.tau == pytest.approx(kendalltau(*zip(*pairs, strict=True)).statistic)
    assert fidelity_info(run).deployment_sentence == found.sentence


def test_nothing_is_trained_twice(measured: tuple[Run, Jobs], small_cache: Path, tmp_path: Path) -> None:
    run = open_run(shutil.copytree(measured[0].folder.path, tmp_path / "run"))
    assert again(run, small_cache) == []
    before = results_at_deployment(run)
    lost = next((run.folder.path / "fidelity").glob("*.json"))
    name = json.loads(lost.read_text())["name"]
    lost.write_text(lost.read_text()[:40])  # no write of ours leaves that
    assert again(run, small_cache) == [("prepare", 0), (name, 0)]
    results = [TrialResult.from_dict(rows[name]["result"]) for rows in (before, results_at_deployment(run))]
    assert same_numbers(results[0]) == same_numbers(results[1])


def test_a_higher_rung_goes_on_from_what_is_there(
    measured: tuple[Run, Jobs], small_cache: Path, tmp_path: Path
) -> None:
    run = open_run(shutil.copytree(measured[0].folder.path, tmp_path / "run"))
    reached = [e.candidate.name for e in run.entries if e.rung >= 1 and not e.candidate.over_budget]
    with pytest.raises(
        SettingError, match=f"{len(reached)} architectures within the budget that were measured at rung 1"
    ):
        again(run, small_cache, num=99, rung=1)
    if len(reached) >= 6:
        assert sorted(again(run, small_cache, rung=1)) == [("prepare", 0), *sorted((name, 1) for name in reached)][:7]
        assert fidelity_info(run).deployment.a == "accuracy after 1 epoch at 24 px"  # type: ignore[union-attr]


def test_an_interruption_loses_only_what_was_under_way(
    measured: tuple[Run, Jobs], small_cache: Path, tmp_path: Path
) -> None:
    run = open_run(
        shutil.copytree(measured[0].folder.path, tmp_path / "run", ignore=shutil.ignore_patterns("fidelity"))
    )

    class Stop(DeploymentWatcher):
        """Interrupts in the third recover stage."""

        num = 0

        def on_stage(self, name: str, what: str) -> None:
            self.num += what == "recover"
            if self.num == 3:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        again(run, small_cache, watcher=Stop())
    assert len(results_at_deployment(run)) == 2
    assert fidelity_info(run).deployment.verdict == "too few to say"  # type: ignore[union-attr]


def test_a_worker_that_dies_twice_is_left_for_next_time(
    measured: tuple[Run, Jobs], small_cache: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run = open_run(shutil.copytree(measured[0].folder.path, tmp_path / "run"))
    lost = next((run.folder.path / "fidelity").glob("*.json"))
    name = json.loads(lost.read_text())["name"]
    lost.unlink()
    jobs = again(run, small_cache, fail=lambda job: "out of memory" if job.kind == "rung" else None)
    assert jobs == [("prepare", 0), (name, 0), (name, 0)]
    assert f"{name}: out of memory" in caplog.text
    assert not lost.exists()
    for retries in (0, 3):
        jobs = again(run, small_cache, fail=lambda job: "gone" if job.kind == "rung" else None, retries=retries)
        assert jobs == [("prepare", 0), *[(name, 0)] * (1 + retries)]


def test_a_watcher_is_told_what_is_on_file(measured: tuple[Run, Jobs], small_cache: Path, tmp_path: Path) -> None:
    run = open_run(shutil.copytree(measured[0].folder.path, tmp_path / "run"))
    lost = next((run.folder.path / "fidelity").glob("*.json"))
    content = json.loads(lost.read_text())
    lost.unlink()
    told: list[tuple[str, ...]] = []

    class Noting(DeploymentWatcher):
        def on_ready(self, source: Deployments) -> None:
            told.append(("ready", *(entry.candidate.name for entry in source.waiting)))

        def on_result(self, source: Deployments, result: Entry) -> None:
            assert lost.exists()
            told.append(("result", result.candidate.name))
            assert same_numbers(result.result) == same_numbers(TrialResult.from_dict(content["result"]))

    again(run, small_cache, watcher=Noting())
    assert told == [("ready", content["name"]), ("result", content["name"])]


def test_after_the_minutes_nothing_is_started(measured: tuple[Run, Jobs], small_cache: Path, tmp_path: Path) -> None:
    run = open_run(
        shutil.copytree(measured[0].folder.path, tmp_path / "run", ignore=shutil.ignore_patterns("fidelity"))
    )
    assert again(run, small_cache, minutes=1e-9) == [("prepare", 0)]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num": 5}, "deployment must be at least 6 architectures, fewer are too few to say; got 5"),
        ({"num": 7}, "has 6 architectures within the budget that were measured at rung 0, not 7"),
        ({"rung": 3}, "the rungs of .* are 0 to 2, got 3"),
        ({"rung": -1}, "are 0 to 2, got -1"),
        ({"minutes": 0}, "minutes must be above 0, got 0"),
        ({"retries": -1}, "retries must be at least 0, got -1"),
    ],
)
def test_bad_input_is_one_line(measured: tuple[Run, Jobs], small_cache: Path, arguments: Any, message: str) -> None:
    with pytest.raises(SettingError, match=message) as error:
        again(measured[0], small_cache, **arguments)
    assert "\n" not in str(error.value)


def test_trials_of_the_deployment_size_leave_nothing_to_measure(measured: tuple[Run, Jobs], small_cache: Path) -> None:
    run = open_run(measured[0].folder.path)
    run.folder.manifest["settings"]["task"]["trial_size"] = 48
    with pytest.raises(SettingError, match="were trained at the deployment size, 48 px, already"):
        again(run, small_cache)
    assert fidelity_info(run).deployment_sentence == "trials are trained at the deployment size, 48 px"


def test_other_images_are_refused(measured: tuple[Run, Jobs], small_cache: Path, tmp_path: Path) -> None:
    run = open_run(
        shutil.copytree(measured[0].folder.path, tmp_path / "run", ignore=shutil.ignore_patterns("fidelity"))
    )
    run.folder.manifest["data"]["fingerprint"] = "0" * 64
    with pytest.raises(RunError, match="was made on other images of"):
        again(run, small_cache)


def test_a_run_that_was_trained_in_another_way_is_refused(measured: tuple[Run, Jobs], small_cache: Path) -> None:
    run = open_run(measured[0].folder.path)
    run.folder.manifest["recipe"] = 1
    with pytest.raises(
        RunError, match=r"was trained by an earlier release, .+ nothing can be trained beside it; search"
    ):
        again(run, small_cache, rung=2)


# -- the doors ---------------------------------------------------------------------------------------------------------


def test_the_command_and_the_library_say_the_same(
    measured: tuple[Run, Jobs], capsys: pytest.CaptureFixture[str]
) -> None:
    import lstn_search as ls
    from lstn_search.cli import app

    path = measured[0].folder.path
    app(["fidelity", str(path), "--json"], standalone_mode=False)
    content = json.loads(capsys.readouterr().out)
    assert content == json.loads((path / "fidelity.json").read_text())
    assert content == json.loads(json.dumps(ls.fidelity(ls.open_run(path)).to_dict()))
    app(["fidelity", str(path)], standalone_mode=False)
    printed = capsys.readouterr().out
    assert "corner error at 48 px:" in printed
    assert content["deployment"]["sentence"] in printed
    assert all(note in printed for note in content["notes"])
