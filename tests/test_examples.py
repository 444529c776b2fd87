"""The scripts in examples/ run as they are: one as a user starts it, the others in this process."""

import importlib.util
import os
import runpy
import subprocess
import sys
from pathlib import Path

import optuna
import pytest
from small_search import BUDGET_GFLOPS, LADDER, InlineEngine
from small_training import ARCH, small_task

import lstn_search as ls
from lstn_search.runs.run import Run
from lstn_search.spec.space import Space

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"


@pytest.fixture(scope="module")
def shared_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both draw the same images and train the same classifier on them."""
    return tmp_path_factory.mktemp("cache")


def test_it_runs_and_leaves_what_it_says(tmp_path: Path, shared_cache: Path) -> None:
    environment = os.environ | {"LSTN_CACHE_DIR": str(shared_cache)}
    ran = subprocess.run(
        [sys.executable, str(EXAMPLES / "search_from_python.py")],
        cwd=tmp_path, env=environment, capture_output=True, text=True,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    assert "exported" in ran.stdout and "GFLOPs" in ran.stdout
    for name in ("runs/example/report.html", "runs/example/export/model.py"):
        assert (tmp_path / name).is_file(), ran.stdout


@pytest.mark.usefixtures("unproved")
def test_own_images_are_searched_on(
    tmp_path: Path, shared_cache: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ls.EngineOptions, "start", lambda options, *what: InlineEngine.make(shared_cache)(*what))
    monkeypatch.setenv("LSTN_CACHE_DIR", str(shared_cache))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["own_images.py"])
    runpy.run_path(str(EXAMPLES / "own_images.py"), run_name="__main__")
    printed, _ = capsys.readouterr()
    assert "exported" in printed and "GFLOPs" in printed
    assert (tmp_path / "runs" / "own-images" / "model.py").is_file(), printed


def test_a_study_of_ones_own_trains_as_a_search_does(
    small_run: Run,
    small_space: Space,
    small_dataset: Path,
    small_cache: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The search's seed point `good` is asked for; then a network over the budget, which is not trained."""
    spec = importlib.util.spec_from_file_location("own_study", EXAMPLES / "own_study.py")
    assert spec is not None and spec.loader is not None
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    task = small_task(small_dataset, recover_steps=60)
    made = {"SPACE": small_space, "TASK": task, "LADDER": LADDER, "BUDGET_GFLOPS": BUDGET_GFLOPS, "OUT": tmp_path}
    for name, value in made.items():
        monkeypatch.setattr(example, name, value)
    monkeypatch.setenv("LSTN_CACHE_DIR", str(small_cache))
    choices = small_space.encode(ARCH)
    assert choices is not None
    study = optuna.create_study(direction="maximize", storage=f"sqlite:///{tmp_path}/study.db", study_name="own")
    study.enqueue_trial(choices)
    study.enqueue_trial(choices | {"stem.width": 8, "stem.stride": 1, "stem.kernel": 5})
    good, dear = example.main(num_trials=2).trials
    good_entry = small_run.find("good")
    assert good.value == good_entry.results[-1].accuracy and ls.Arch.from_json(good.user_attrs["arch"]) == ARCH
    assert good.intermediate_values == {rung: result.accuracy for rung, result in enumerate(good_entry.results)}
    assert dear.state == optuna.trial.TrialState.PRUNED and dear.intermediate_values == {}
