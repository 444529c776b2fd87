"""Fixtures every test may use."""

import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from filelock import FileLock

if TYPE_CHECKING:
    from lstn_search.nets.localizer import Localizer
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


LONG = {"test_chaos.py", "test_examples.py", "test_report.py", "test_ray_search.py", "test_verify_training.py"}


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files that take long come first, or one process would wait for the other's at the end."""
    items.sort(key=lambda item: item.path.name not in LONG)


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


@pytest.fixture
def unproved(monkeypatch: pytest.MonkeyPatch) -> None:
    """Exports are not proved, which takes a process and seconds; the proof itself: shipping/test_export.py."""
    from lstn_search.shipping import folder
    from lstn_search.shipping.proof import Proof

    def prove(path: Path, localizer: "Localizer") -> Proof:
        size = localizer.image_size
        return Proof(max_theta_difference=0.0, max_image_difference=0.0, num_images=8, image_size=size)

    monkeypatch.setattr(folder, "prove", prove)


# -- what is dear is made once a session, by the first of its processes that asks for it ------------------------------

Once = Callable[[str, Callable[[Path], object]], Path]


@pytest.fixture(scope="session")
def once(tmp_path_factory: pytest.TempPathFactory) -> Once:
    """The folder of a name, the same for every process of the session; made by the first one, while others wait."""
    base = tmp_path_factory.getbasetemp()
    shared = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "once"
    shared.mkdir(exist_ok=True)

    def once(name: str, make: Callable[[Path], object]) -> Path:
        folder, done = shared / name, shared / f"{name}.done"
        with FileLock(shared / f"{name}.lock"):
            if not done.exists():
                shutil.rmtree(folder, ignore_errors=True)  # of one that failed
                make(folder)
                done.touch()
        return folder

    return once


# -- a small task; see small_training.py -------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def small_dataset(once: Once) -> Path:
    """A folder of images, for `folder:PATH`."""
    from small_training import draw_dataset

    return once("dots", draw_dataset)


@pytest.fixture(scope="session")
def small_cache(once: Once) -> Path:
    """The cache folder of the small task."""
    return once("small-cache", Path.mkdir)


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


# -- a small search; see small_search.py -------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def small_space(tmp_path_factory: pytest.TempPathFactory) -> "Space":
    """The space of small_search.py."""
    from small_search import write_space

    from lstn_search.spec.space import load_space

    return load_space(write_space(tmp_path_factory.mktemp("space")))


@pytest.fixture(scope="session")
def small_run(small_space: "Space", small_dataset: Path, small_cache: Path, warm: "Warm", once: Once) -> "Run":
    """A real search on the small task, to look at; not to be changed."""
    from small_search import LADDER, NUM_TRIALS, InlineEngine, make_settings
    from small_training import small_task

    from lstn_search.runs.run import open_run
    from lstn_search.study.search import search

    settings = make_settings(small_space, small_task(small_dataset, recover_steps=60), ladder=LADDER)
    engine = InlineEngine.make(small_cache)
    return open_run(once("small-run", lambda out: search(small_space, settings, out, engine, trials=NUM_TRIALS)))


# -- made-up searches, for the pages; see report_runs.py ---------------------------------------------------------------


@pytest.fixture(scope="session")
def complete_run(once: Once) -> "Run":
    """A complete search whose results are made up, to look at; not to be changed."""
    from report_runs import make_run

    from lstn_search.runs.run import open_run

    return open_run(once("complete-run", make_run))


@pytest.fixture(scope="session")
def run_of_three_objectives(once: Once) -> "Run":
    """A smaller one with a third objective."""
    from report_runs import make_run

    from lstn_search.runs.run import open_run

    return open_run(
        once("run-of-three", lambda out: make_run(out, trials=10, objectives=("accuracy", "gflops", "params")))
    )
