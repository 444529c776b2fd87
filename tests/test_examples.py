"""The scripts in examples/ run as they are: one as a user starts it, the other in this process."""

import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
from small_search import InlineEngine

import lstn_search as ls

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
