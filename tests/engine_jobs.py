"""Job functions for the tests of the engines: what a job can do to its worker. Imported by name inside workers."""

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lstn_search.errors import DataError
from lstn_search.jobs.base import Ended, Job, Stage, WorkerSetup
from lstn_search.spec.ladder import Ladder
from lstn_search.spec.own_code import load_code
from lstn_search.spec.results import TrialResult
from lstn_search.spec.task import Task

Say = Callable[[str], None]

LONG = 3600
"""Seconds: more than a test may take, so what is gone earlier was ended."""


def make_setup(folder: Path, **settings: Any) -> WorkerSetup:
    task = Task(dataset="glyphs", device="cpu")
    return WorkerSetup(**{"task": task, "ladder": Ladder(), "folder": folder, "cache_dir": folder / "cache"} | settings)


def act(setup: WorkerSetup, job: Job, say: Say) -> Ended:
    """Do what the job's name says: `ACTION`, or `ACTION ARGUMENT`."""
    action, _, argument = job.name.partition(" ")
    return ACTIONS[action](setup, job, say, argument)


def write_pid(setup: WorkerSetup, what: str, pid: int) -> None:
    (setup.folder / f"{what}.tmp").write_text(str(pid))
    (setup.folder / f"{what}.tmp").rename(setup.folder / f"{what}.pid")


def start_child(setup: WorkerSetup, what: str) -> "subprocess.Popen[bytes]":
    """A process that outlives its parent if nobody ends it, and holds every file its parent had open."""
    child = subprocess.Popen([sys.executable, "-c", f"import time; time.sleep({LONG})"], close_fds=False)
    write_pid(setup, what, child.pid)
    return child


def ok(setup: WorkerSetup, job: Job, say: Say, argument: str) -> Ended:
    return Ended(job=job, result=TrialResult(status="ok"), facts={"pid": os.getpid()})


def stages(setup: WorkerSetup, job: Job, say: Say, argument: str) -> Ended:
    for number in range(int(argument)):
        say(f"stage {number}")
    return ok(setup, job, say, "")


def wait(setup: WorkerSetup, job: Job, say: Say, argument: str) -> Ended:
    """End when the file `go` is there."""
    say("waiting")
    while not (setup.folder / "go").exists():
        time.sleep(0.01)
    return ok(setup, job, say, "")


def kill_actor(setup: WorkerSetup, job: Job, say: Say, argument: str) -> Ended:
    """Kill the Ray actor that minds this worker, as the loss of its node would."""
    os.kill(os.getppid(), signal.SIGKILL)
    time.sleep(LONG)
    raise AssertionError


def meet(setup: WorkerSetup, job: Job, say: Say, argument: str) -> Ended:
    """End when the other of the two is there."""
    (setup.folder / f"here-{argument}").touch()
    while len(list(setup.folder.glob("here-*"))) < 2:
        time.sleep(0.01)
    return ok(setup, job, say, "")


def threads(setup: WorkerSetup, job: Job, say: Say, argument: str) -> Ended:
    import torch

    facts = {"torch": torch.get_num_threads(), "environment": os.environ.get("OMP_NUM_THREADS")}
    return Ended(job=job, result=TrialResult(status="ok"), facts=dict(facts))


def user_error(setup: WorkerSetup, job: Job, say: Say, argument: str) -> Ended:
    raise DataError("the images are\nnot there; fetch them")


def bug(setup: WorkerSetup, job: Job, say: Say, argument: str) -> Ended:
    raise KeyError("weights\nof the head")


def exit_(setup: WorkerSetup, job: Job, say: Say, argument: str) -> Ended:
    sys.exit(3)


def hard_exit(setup: WorkerSetup, job: Job, say: Say, argument: str) -> Ended:
    os._exit(3)


def segfault(setup: WorkerSetup, job: Job, say: Say, argument: str) -> Ended:
    say("about to crash")
    ctypes.string_at(0)
    raise AssertionError


def killed(setup: WorkerSetup, job: Job, say: Say, argument: str) -> Ended:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError


def unpicklable(setup: WorkerSetup, job: Job, say: Say, argument: str) -> Ended:
    return Ended(job=job, facts={"function": lambda: None})


class Unreadable:
    """Can be pickled, and cannot be read again."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return int, ("no number",)


def unreadable(setup: WorkerSetup, job: Job, say: Say, argument: str) -> Ended:
    return Ended(job=job, facts={"thing": Unreadable()})


def nothing(setup: WorkerSetup, job: Job, say: Say, argument: str) -> Ended:
    return None  # type: ignore[return-value]


def linger(setup: WorkerSetup, job: Job, say: Say, argument: str) -> Ended:
    """Stay on a node of the Ray cluster until the file `go ARGUMENT` is there."""
    say(os.environ["NODE_NAME"])
    while not (setup.folder / f"go {argument}").exists():
        time.sleep(0.01)
    return ok(setup, job, say, "")


def storage(setup: WorkerSetup, job: Job, say: Say, argument: str) -> Ended:
    return Ended(job=job, facts={"folder": str(setup.folder), "cache_dir": str(setup.cache_dir)})


def die_while_sending(setup: WorkerSetup, job: Job, say: Say, argument: str) -> Ended:
    """Send half a message and die, leaving a child that still holds the channel open."""
    start_child(setup, "child")
    os.write(int(sys.argv[1]), b"\0\0\0\0\0\0\xff\xff" + b"x" * 1000)
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError


def stubborn(setup: WorkerSetup, job: Job, say: Say, argument: str) -> Ended:
    """Ignore SIGTERM, start a child and stay for long inside a C call that does not let go of the interpreter lock."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    start_child(setup, f"child-{argument}")
    write_pid(setup, f"worker-{argument}", os.getpid())
    say("busy")
    ctypes.PyDLL(None).sleep(LONG)
    raise AssertionError


def own_code(setup: WorkerSetup, job: Job, say: Say, argument: str) -> Ended:
    """Say what a function of the user's says, by its name."""
    say(load_code(argument, "function")())
    return ok(setup, job, say, "")


ACTIONS: dict[str, Callable[[WorkerSetup, Job, Say, str], Ended]] = {
    "ok": ok,
    "stages": stages,
    "wait": wait,
    "meet": meet,
    "threads": threads,
    "user-error": user_error,
    "bug": bug,
    "exit": exit_,
    "hard-exit": hard_exit,
    "segfault": segfault,
    "killed": killed,
    "unpicklable": unpicklable,
    "unreadable": unreadable,
    "nothing": nothing,
    "linger": linger,
    "kill-actor": kill_actor,
    "storage": storage,
    "die-while-sending": die_while_sending,
    "stubborn": stubborn,
    "own-code": own_code,
}


def drive(folder: str, *names: str) -> None:
    """A driver for tests that kill it or press Ctrl-C: runs the named jobs and prints what happens."""
    import engine_jobs  # not as __main__, which workers cannot import

    from lstn_search.jobs.local import LocalEngine

    signal.signal(signal.SIGINT, lambda *_: print("interrupted", flush=True))
    engine = LocalEngine(make_setup(Path(folder)), len(names), engine_jobs.act)
    for name in names:
        engine.submit(Job(kind="rung", name=name))
    print("submitted", flush=True)
    while True:
        for event in engine.events(timeout=60):
            print(event.what if isinstance(event, Stage) else f"ended: {event.died or 'well'}", flush=True)


def ray_search(folder: str) -> None:
    """A driver that starts a Ray of its own, runs a job there and stops it."""
    import engine_jobs

    from lstn_search.jobs.ray import RayEngine

    engine = RayEngine(make_setup(Path(folder)), None, engine_jobs.act)
    assert engine.num_slots >= 1
    engine.submit(Job(kind="rung", name="ok"))
    (ended,) = engine.events()
    assert isinstance(ended, Ended) and ended.result is not None, ended
    engine.close()
    import ray

    assert not ray.is_initialized()


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
