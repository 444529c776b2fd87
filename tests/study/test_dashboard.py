"""The study of a run opens in optuna-dashboard as it is."""

import json
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lstn_search.runs.run import Run

Get = Callable[[str], Any]


@pytest.fixture(scope="module")
def copy(small_run: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dashboard")
    return Path(shutil.copy(small_run.folder.path / "study.db", folder))


@pytest.fixture(scope="module")
def get(copy: Path) -> Iterator[Get]:
    """Asks a running dashboard, started with the command of docs/tools.md in the run folder."""
    pytest.importorskip("optuna_dashboard")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [str(Path(sys.executable).with_name("optuna-dashboard")), "sqlite:///study.db", "--port", str(port)]
    with (copy.parent / "log").open("w") as log:
        dashboard = subprocess.Popen(command, cwd=copy.parent, stdout=log, stderr=log)
    try:

        def ask(path: str) -> Any:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}") as reply:
                return json.load(reply)

        while True:
            try:
                ask("/api/studies")
                break
            except urllib.error.URLError:
                assert dashboard.poll() is None, (copy.parent / "log").read_text()
                time.sleep(0.1)
        yield ask
    finally:
        dashboard.kill()
        dashboard.wait()


def test_both_studies_are_listed(get: Get, small_run: Run) -> None:
    names = [study["study_name"] for study in get("/api/studies")["study_summaries"]]
    assert names == [small_run.folder.study_name, small_run.folder.rungs_name]


def study(get: Get, name: str) -> Any:
    found = next(row for row in get("/api/studies")["study_summaries"] if row["study_name"] == name)
    return get(f"/api/studies/{found['study_id']}?after=0")


def test_a_trial_a_proposal(get: Get, small_run: Run) -> None:
    trials = {trial["number"]: trial for trial in study(get, small_run.folder.study_name)["trials"]}
    counts = small_run.folder.manifest["counts"]
    assert len(trials) == counts["trained"] + counts["rejected"] + counts["duplicates"]
    for entry in small_run.entries:
        trial = trials[entry.candidate.number]
        error_px = entry.results[0].corner_error_px
        assert error_px is not None
        assert trial["values"] == pytest.approx([-error_px, entry.candidate.gflops])
        assert {attr["key"] for attr in trial["user_attrs"]} >= {"kind", "name", "arch"}
        assert trial["params"] or entry.candidate.name in ("outside", "costly")  # the choices, of those in the space


def test_a_trial_a_rung(get: Get, small_run: Run) -> None:
    shown = study(get, small_run.folder.rungs_name)
    results = [result for entry in small_run.entries for result in entry.results]
    assert sorted(trial["values"][0] for trial in shown["trials"]) == sorted(result.accuracy for result in results)
    assert [shown["directions"], shown["objective_names"]] == [
        ["maximize", "minimize"],
        ["accuracy under the view", "GFLOPs"],
    ]


def test_looking_changes_nothing(get: Get, copy: Path, small_run: Run) -> None:
    study(get, small_run.folder.study_name)
    assert copy.read_bytes() == (small_run.folder.path / "study.db").read_bytes()
