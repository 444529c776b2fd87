"""Fixtures every test may use."""

import os
from pathlib import Path

import pytest

# One thread a process, here and in the commands that tests start: two tests' worth of threads on two cores only wait
# for each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder that holds the real images (caltech101, ...); the test is skipped without one."""
    folder = os.environ.get("LSTN_DATA_DIR")
    if not folder:
        pytest.skip("needs the real images: set LSTN_DATA_DIR to the folder that holds caltech101")
    return Path(folder).resolve()


@pytest.fixture
def cache_dir(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache folder of the test's own, also as $LSTN_CACHE_DIR."""
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("LSTN_CACHE_DIR", str(folder))
    return folder
