"""The scripts in examples/ run as they are."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"


@pytest.mark.parametrize(
    ("script", "left"),
    [
        ("search_from_python.py", ("runs/example/report.html", "runs/example/export/model.py")),
        ("own_images.py", ("runs/own-images/model.py",)),
    ],
)
def test_it_runs_and_leaves_what_it_says(script: str, left: tuple[str, ...], tmp_path: Path) -> None:
    environment = os.environ | {"LSTN_CACHE_DIR": str(tmp_path / "cache")}
    ran = subprocess.run(
        [sys.executable, str(EXAMPLES / script)], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert ran.returncode == 0, ran.stderr
    assert "exported" in ran.stdout and "GFLOPs" in ran.stdout
    for name in left:
        assert (tmp_path / name).is_file(), ran.stdout
