"""A real search, small: what it trains, what it leaves behind, and that it can stop anywhere."""

import dataclasses
import json
import resource
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from small_search import BUDGET_GFLOPS, LADDER, NUM_SEEDS, NUM_TRIALS, InlineEngine, make_settings
from small_training import same_numbers, small_task

from lstn_search.errors import BudgetError, LstnError, RunError, SettingError
from lstn_search.runs.entries import Entry
from lstn_search.runs.folder import checkpoint_file
from lstn_search.runs.run import Run, front_of, open_run
from lstn_search.spec.results import References, TrialResult
from lstn_search.spec.space import Space
from lstn_search.study.search import Search, SearchWatcher, search

pytestmark = pytest.mark.usefixtures("unproved")

SearchAgain = Callable[..., Run]
COMPLETE = {
    *("manifest.json", "settings.toml", "space", "study.db", "trials.csv"),
    *("pareto.csv", "pareto.json", "pareto.png", "best", "checkpoints"),
}


@pytest.fixture
def search_again(small_run: Run, small_space: Space, small_cache: Path) -> SearchAgain:
    """The session's search, with changes."""

    def run(out: Path, *, cache_dir: Path = small_cache, task: dict[str, Any] | None = None, **changes: Any) -> Run:
        settings = small_run.folder.settings
        settings = dataclasses.replace(settings, task=dataclasses.replace(settings.task, **(task or {})))
        if "budget_gflops" in changes:
            settings = dataclasses.replace(settings, budget_gflops=changes.pop("budget_gflops"))
        given = {"trials": NUM_TRIALS} | changes
        return search(small_space, settings, out, InlineEngine.make(cache_dir), **given)

    return run


class Recorder(SearchWatcher):
    """A watcher that writes down what it is told, and interrupts the search where it is told to."""

    def __init__(self, interrupt_at: Callable[["Recorder"], bool] = lambda recorder: False) -> None:
        self.stages: list[str] = []
        self.rungs: list[tuple[str, int]] = []
        self.interrupt_at = interrupt_at

    def on_stage(self, name: str, what: str) -> None:
        self.stages.append(f"{name}: {what}")
        if self.interrupt_at(self):
            self.interrupt_at = lambda recorder: False
            raise KeyboardInterrupt

    def on_end(self, name: str) -> None:
        self.stages.append(f"{name} ended")

    def on_ready(self, source: Search) -> None:
        self.stages.append("ready")

    def on_result(self, source: Search, result: Entry) -> None:
        self.rungs.append((result.candidate.name, len(result.results) - 1))


def proposals(run: Run) -> list[tuple[str, str]]:
    return [(entry.candidate.name, entry.candidate.arch.digest) for entry in run.entries]


def numbers(run: Run) -> list[list[dict[str, Any]]]:
    return [[same_numbers(result) for result in entry.results] for entry in run.entries]


def files(path: Path) -> set[str]:
    return {entry.name for entry in path.iterdir()}


# -- what is trained ---------------------------------------------------------------------------------------------------


def test_seed_points_first_then_as_many_as_asked_for(small_run: Run, small_space: Space) -> None:
    names = [entry.candidate.name for entry in small_run.entries]
    assert names[:NUM_SEEDS] == list(small_space.seeds)
    assert len(names) == NUM_SEEDS + NUM_TRIALS


def test_only_marked_seed_points_are_over_the_budget(small_run: Run) -> None:
    for entry in small_run.entries:
        assert entry.candidate.over_budget == (entry.candidate.gflops > BUDGET_GFLOPS)
        assert entry.candidate.is_seed or not entry.candidate.over_budget


def test_the_front_is_alive_within_the_budget_and_beaten_by_none(small_run: Run) -> None:
    assert small_run.front
    offered = [e for e in small_run.entries if e.status == "ok" and e.rung > 0 and e.candidate.gflops <= BUDGET_GFLOPS]
    for entry in small_run.front:
        assert entry in offered
        better = [o for o in offered if o.accuracy > entry.accuracy and o.candidate.gflops <= entry.candidate.gflops]
        assert better == []
    costs = [entry.candidate.gflops for entry in small_run.front]
    assert costs == sorted(costs)


def test_something_was_learned(small_run: Run) -> None:
    """Or the rest of this file would test nothing."""
    control = small_run.references.control[-1].equal_epochs_top1
    assert control is not None and small_run.pick("best").accuracy > control + 5


def test_seed_points_and_the_front_climb_to_the_top(small_run: Run) -> None:
    top = [entry for entry in small_run.entries if entry.candidate.is_seed or entry in small_run.front]
    assert [[result.epochs for result in entry.results] for entry in top] == [[None, 1, 2]] * len(top)
    assert all(len(rows) == LADDER.top + 1 for rows in (small_run.references.control, small_run.references.oracle))


def test_half_of_the_others_climb(small_run: Run) -> None:
    others = [entry.rung for entry in small_run.entries if not entry.candidate.is_seed]
    assert sum(rung >= 1 for rung in others) >= NUM_TRIALS // 2
    assert min(others) >= 0


def test_picks(small_run: Run) -> None:
    best = small_run.pick("best")
    assert best == small_run.front[-1] == small_run.find("best")
    assert small_run.find("costly").candidate.over_budget
    assert small_run.find(str(best.candidate.number)) == small_run.find(best.candidate.name) == best
    assert small_run.pick(f"max-gflops={small_run.front[0].candidate.gflops}") == small_run.front[0]


@pytest.mark.parametrize(
    ("which", "message"),
    [
        ("999", "holds no trained architecture '999'; its trials.csv lists them"),
        ("t999", "holds no trained architecture 't999'"),
        ("bset", "pick 'bset' is unknown; did you mean 'best'?"),
        ("max-gflops=0.0000001", "no point of the front needs at most"),
    ],
)
def test_what_a_run_does_not_hold(small_run: Run, which: str, message: str) -> None:
    with pytest.raises(SettingError) as error:
        small_run.find(which)
    assert message in str(error.value)


def test_an_empty_front_says_why(small_run: Run) -> None:
    inert = TrialResult(status="inert", val_top1=90.0)
    dead = [dataclasses.replace(entry, results=[*entry.results[:1], inert]) for entry in small_run.entries]
    assert front_of(dead) == []
    run = dataclasses.replace(small_run, entries=dead)
    with pytest.raises(
        SettingError, match="none of its 7 trained architectures is within the budget, alive and jointly"
    ):
        run.pick("best")


# -- what it leaves behind ---------------------------------------------------------------------------------------------


def test_the_folder_is_complete(small_run: Run) -> None:
    assert files(small_run.folder.path) == COMPLETE | {".lock"}


def test_the_manifest_is_complete(small_run: Run, bench: Any) -> None:
    manifest = json.loads((small_run.folder.path / "manifest.json").read_text())
    assert manifest["settings"] == small_run.folder.settings.to_dict()
    assert manifest["data"]["fingerprint"] == bench.dataset.fingerprint
    assert (manifest["data"]["train"], manifest["data"]["val"], manifest["data"]["classes"]) == (360, 120, 6)
    assert manifest["data"]["class_names"] == list(bench.dataset.class_names) and len(bench.dataset.class_names) == 6
    assert References.from_dict(manifest["references"]) == small_run.references
    assert manifest["counts"]["trained"] == len(small_run.entries)
    assert manifest["counts"]["trials"] == manifest["trials"] == NUM_TRIALS
    assert manifest["device"] == "cpu"
    assert manifest["seconds"] > sum(entry.seconds for entry in small_run.entries)
    assert {"versions", "hardware", "precision", "backbone"} <= set(manifest)


def test_each_architecture_keeps_its_highest_checkpoint(small_run: Run) -> None:
    expected = {checkpoint_file(Path(), entry.candidate.arch, entry.rung).name for entry in small_run.entries}
    assert files(small_run.folder.path / "checkpoints") == expected


# -- stopping and going on ---------------------------------------------------------------------------------------------


def test_interrupted_and_resumed_it_ends_in_the_same_results(
    small_run: Run, search_again: SearchAgain, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    for where, num_trained in (
        (lambda recorder: recorder.stages[-1] == "costly: recover", 1),
        (lambda recorder: recorder.stages[-1].startswith("t") and "joint" in recorder.stages[-1], None),
    ):
        with pytest.raises(KeyboardInterrupt):
            search_again(out, resume=True, watcher=Recorder(where))
        assert files(out) >= COMPLETE - ({"best"} if num_trained == 1 else set())
        interrupted = open_run(out)
        assert num_trained in (None, len(interrupted.entries))
        assert proposals(interrupted) == proposals(small_run)[: len(interrupted.entries)]
    resumed = search_again(out, resume=True)
    assert proposals(resumed) == proposals(small_run)
    assert numbers(resumed) == numbers(small_run)
    opened = open_run(out)  # is read as it was written
    assert (opened.entries, opened.references) == (resumed.entries, resumed.references)
    assert resumed.folder.manifest["counts"] == small_run.folder.manifest["counts"]


def test_a_finished_run_goes_on_for_longer_and_tells_its_stages(
    small_run: Run, search_again: SearchAgain, tmp_path: Path
) -> None:
    out, recorder = shutil.copytree(small_run.folder.path, tmp_path / "run"), Recorder()
    longer = search_again(out, trials=NUM_TRIALS + 1, resume=True, watcher=recorder)
    assert proposals(longer)[:-1] == proposals(small_run)
    name = longer.entries[-1].candidate.name
    assert recorder.rungs[0] == (name, 0)
    assert recorder.stages[0] == "prepare: data"
    ready = recorder.stages.index("ready")
    assert recorder.stages[ready : ready + 3] == ["ready", f"{name}: recover", f"{name} ended"]
    assert recorder.stages[-1] == "finish: writing tables, picture and best architecture"


def test_interrupted_while_the_data_is_read(search_again: SearchAgain, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        search_again(tmp_path / "run", watcher=Recorder(lambda recorder: recorder.stages == ["prepare: data"]))
    with pytest.raises(RunError, match="ended before its first trial; run the same search with --resume"):
        open_run(tmp_path / "run")
    assert search_again(tmp_path / "run", minutes=1e-6, resume=True).entries == []


def test_minutes_start_no_further_trial(search_again: SearchAgain, tmp_path: Path) -> None:
    run = search_again(tmp_path / "run", minutes=1e-6)
    assert run.entries == []
    assert files(tmp_path / "run") == COMPLETE - {"best", "checkpoints"} | {".lock"}
    header = (tmp_path / "run" / "trials.csv").read_text().splitlines()
    assert len(header) == 1 and header[0].startswith("trial,name,rung,seed_point")


# -- bad input: nothing is lost and nothing is left behind -------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"trials": 0}, SettingError, "trials must be at least 1, got 0"),
        ({"minutes": 0}, SettingError, "minutes must be above 0, got 0"),
        ({"minutes": float("nan")}, SettingError, "minutes must be above 0, got nan"),
        ({"budget_gflops": 1e-9}, BudgetError, "the cheapest needs 0.000029: raise --budget-gflops"),
        ({"task": {"backbone": "resnet81"}}, RunError, "resnet81"),
        ({"task": {"dataset": "folder:/nowhere"}}, RunError, "/nowhere"),
        ({"task": {"device": "cuda:77"}}, RunError, "device 'cuda:77' is not available here"),
    ],
    ids=["no trials", "no time", "NaN time", "budget", "backbone", "folder", "device"],
)
def test_a_search_that_cannot_begin_leaves_no_folder(
    search_again: SearchAgain, tmp_path: Path, changes: dict[str, Any], error: type[LstnError], message: str
) -> None:
    with pytest.raises(error) as caught:
        search_again(tmp_path / "run", **changes)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert files(tmp_path) == set()


def test_an_unknown_backbone_is_refused_before_images_are_decoded(search_again: SearchAgain, tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"test_resnte.*did you mean 'test_resnet'"):
        search_again(tmp_path / "run", task={"backbone": "test_resnte"}, cache_dir=tmp_path / "cache")
    assert not (tmp_path / "cache").exists()


def test_other_images_are_another_run(
    small_run: Run, search_again: SearchAgain, small_dataset: Path, small_space: Space, tmp_path: Path
) -> None:
    """Where they lie does not matter, only what they are."""
    images = shutil.copytree(small_dataset, tmp_path / "images")
    settings = make_settings(small_space, small_task(images, recover_steps=60), ladder=LADDER)
    cache = tmp_path / "cache"
    search(small_space, settings, tmp_path / "run", InlineEngine.make(cache), trials=1, minutes=1e-6)
    before = (tmp_path / "run" / "manifest.json").read_bytes()
    Image.new("RGB", (24, 24)).save(next((images / "train").rglob("*.png")))
    with pytest.raises(RunError, match="was made on other images"):
        search(small_space, settings, tmp_path / "run", InlineEngine.make(cache), trials=1, resume=True)
    assert (tmp_path / "run" / "manifest.json").read_bytes() == before


@contextmanager
def files_no_larger_than(num_bytes: int) -> Iterator[None]:
    """What a full disk is to a process: writing fails beyond this size."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_is_one_line_and_the_search_can_go_on(
    search_again: SearchAgain, small_run: Run, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    for num_bytes, name in ((1_000, "manifest.json"), (50_000, "study.db"), (150_000, ".pt")):
        with files_no_larger_than(num_bytes), pytest.raises(LstnError) as error:
            search_again(out, trials=1, resume=True)
        assert name in str(error.value)
        assert "make room" in str(error.value)
        assert "\n" not in str(error.value)
    assert proposals(search_again(out, trials=1, resume=True)) == proposals(small_run)[: NUM_SEEDS + 1]
