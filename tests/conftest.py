"""Fixtures every test may use."""

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from lstn_search.runs.run import Run
    from lstn_search.spec.results import References
    from lstn_search.spec.space import Space
    from lstn_search.training.warm import Warm
    from lstn_search.training.workbench import Workbench

# One thread a process, here and in the commands that tests start: two tests' worth of threads on two cores only wait
# for each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# A suite that runs in the background ignores these two, and so would the commands that tests start and interrupt.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    signal.signal(signal.SIGHUP, lambda *_: None)


@pytest.fixture(autouse=True)
def sigint() -> Iterator[None]:
    """The command line's door ignores Ctrl-C as it leaves; the process of the tests does not leave with it."""
    before, hook = signal.getsignal(signal.SIGINT), sys.unraisablehook
    yield
    signal.signal(signal.SIGINT, before)
    sys.unraisablehook = hook


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


# -- a small task, prepared once a session; see small_training.py ------------------------------------------------------


@pytest.fixture(scope="session")
def small_dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of images, for `folder:PATH`."""
    from small_training import draw_dataset

    return draw_dataset(tmp_path_factory.mktemp("dots"))


@pytest.fixture(scope="session")
def small_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The cache folder of the small task."""
    return tmp_path_factory.mktemp("small-cache")


@pytest.fixture(scope="session")
def bench(small_dataset: Path, small_cache: Path) -> "Workbench":
    """The small task's workbench, to look at and to train on; not to be changed."""
    from small_training import small_task

    from lstn_search.training.workbench import Workbench

    return Workbench(small_task(small_dataset), cache_dir=small_cache, progress=False)


@pytest.fixture(scope="session")
def warm(bench: "Workbench", small_cache: Path) -> "Warm":
    """Its warm backbone."""
    from lstn_search.training.warm import warm_backbone

    return warm_backbone(bench, small_cache)


@pytest.fixture(scope="session")
def references(bench: "Workbench", warm: "Warm", small_cache: Path) -> "References":
    """Its control and oracle, at rung 0 (the frozen backbone) and at rung 1 (the task's joint epochs)."""
    from small_training import climb

    return climb(bench, warm, small_cache)


# -- a small search, run once a session; see small_search.py -----------------------------------------------------------


@pytest.fixture(scope="session")
def small_space(tmp_path_factory: pytest.TempPathFactory) -> "Space":
    """The space of small_search.py."""
    from small_search import write_space

    from lstn_search.spec.space import load_space

    return load_space(write_space(tmp_path_factory.mktemp("space")))


@pytest.fixture(scope="session")
def small_run(
    small_space: "Space", small_dataset: Path, small_cache: Path, warm: "Warm", tmp_path_factory: pytest.TempPathFactory
) -> "Run":
    """A real search on the small task, to look at; not to be changed."""
    from small_search import LADDER, NUM_TRIALS, InlineEngine, make_settings
    from small_training import small_task

    from lstn_search.study.search import search

    out = tmp_path_factory.mktemp("runs") / "small"
    settings = make_settings(small_space, small_task(small_dataset, recover_steps=60), ladder=LADDER)
    return search(small_space, settings, out, InlineEngine.make(small_cache), trials=NUM_TRIALS)
