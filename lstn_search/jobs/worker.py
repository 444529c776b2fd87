"""The inside of a worker process: jobs in, stages and ends out. No torch here, until the job function brings it.

A worker and the processes it starts are a process group of their own, so the terminal's Ctrl-C is the driver's alone.
The worker's standard input is its lifeline: the driver holds the other end and never writes. When the driver is gone,
however it went, the kernel (Linux) or a thread (elsewhere) kills the whole group, busy or not. Windows has no such
groups: there the thread ends the worker alone.
"""

import contextlib
import dataclasses
import faulthandler
import os
import pickle
import signal
import socket
import sys
import threading
import traceback
from collections.abc import Callable

from lstn_search.errors import LstnError
from lstn_search.jobs.base import Ended, Event, Job, RunJob, Stage, WorkerSetup
from lstn_search.jobs.channel import Channel

__all__ = ["Runner", "cause_of_death", "pack", "unpack"]


class Runner:
    """Runs jobs one after the other and turns whatever becomes of them into an `Ended`."""

    def __init__(self, parcel: bytes, slot: int) -> None:
        """`parcel` is the pickled (WorkerSetup, pickled RunJob); "auto" and "cuda" will mean the slot's own GPU."""
        self._parcel = parcel
        self._slot = slot
        self._opened: tuple[WorkerSetup, RunJob] | None = None

    def run(self, job: Job, say: Callable[[str], None]) -> Ended:
        """Run one job. When the end says `died`, this process is not to be trusted with another."""
        try:
            if self._opened is None:  # here, so that what cannot be imported ends a job with its reason
                self._opened = self._open()
            setup, run_job = self._opened
            return run_job(setup, job, say)
        except LstnError as error:
            return Ended(job=job, user_error=_one_line(str(error)))
        except BaseException as error:  # a bug, a device gone bad, sys.exit
            traceback.print_exc()  # to the worker's log
            where = traceback.extract_tb(error.__traceback__)[-1]
            place = f"{os.path.basename(where.filename)} line {where.lineno}, in {where.name}"  # noqa: PTH119
            return Ended(job=job, died=_one_line(f"{type(error).__name__}: {error} ({place})"))

    def _open(self) -> tuple[WorkerSetup, RunJob]:
        setup, run_job_bytes = pickle.loads(self._parcel)
        run_job: RunJob = pickle.loads(run_job_bytes)
        if setup.num_threads is not None:
            import torch

            torch.set_num_threads(setup.num_threads)
        if setup.task.device in ("auto", "cuda"):
            import torch

            if num_gpus := torch.cuda.device_count():
                gpu = self._slot % num_gpus
                torch.cuda.set_device(gpu)
                setup = dataclasses.replace(setup, task=dataclasses.replace(setup.task, device=f"cuda:{gpu}"))
        return setup, run_job


def pack(event: Event) -> bytes:
    """An event as bytes; one that cannot be pickled becomes the death of its job."""
    try:
        return pickle.dumps(event)
    except Exception as error:
        reason = _one_line(f"its result cannot be sent ({type(error).__name__}: {error})")
        return pickle.dumps(Ended(job=event.job, died=reason))


def unpack(message: bytes, job: Job) -> Event:
    """What `pack` packed, about `job` itself; what cannot be read becomes its death."""
    try:
        event = pickle.loads(message)
    except Exception as error:
        return Ended(job=job, died=_one_line(f"its result cannot be read ({type(error).__name__}: {error})"))
    if not isinstance(event, Event):
        return Ended(job=job, died=f"its job function returned {type(event).__name__}, not Ended")
    return dataclasses.replace(event, job=job)


def cause_of_death(exit_code: int) -> str:
    """One line for a worker that ended without being asked to; negative codes are signals, as `subprocess` has it."""
    if exit_code >= 0:
        return f"its worker ended with exit code {exit_code}"
    try:
        name = signal.Signals(-exit_code).name
    except ValueError:
        name = f"signal {-exit_code}"
    return f"its worker was killed by {name}" + (" (out of memory?)" if name == "SIGKILL" else "")


def _one_line(text: str, limit: int = 500) -> str:
    return " ".join(text.split())[:limit]


def _end_with_driver() -> None:
    """Have this process group killed when standard input ends."""
    with contextlib.suppress(ImportError, AttributeError):
        import fcntl

        # Linux: by the kernel, which asks neither a busy C call nor the interpreter lock
        fcntl.fcntl(0, fcntl.F_SETSIG, signal.SIGKILL)
        fcntl.fcntl(0, fcntl.F_SETOWN, -os.getpgrp())
        fcntl.fcntl(0, fcntl.F_SETFL, fcntl.fcntl(0, fcntl.F_GETFL) | os.O_ASYNC)
    threading.Thread(target=_kill_at_end_of_input, daemon=True).start()  # elsewhere; and if it ended before this


def _kill_at_end_of_input() -> None:
    os.read(0, 1)
    if hasattr(os, "killpg"):
        os.killpg(0, signal.SIGKILL)
    os._exit(1)


def _driver() -> socket.socket:
    """The end of the channel that was left to this process."""
    if sys.platform == "win32":
        return socket.fromshare(sys.stdin.buffer.read(int(sys.argv[1])))
    return socket.socket(fileno=int(sys.argv[1]))


def _main() -> None:
    channel = Channel(_driver())
    _end_with_driver()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    faulthandler.enable()
    with contextlib.suppress(EOFError, OSError):  # the driver is gone or has no more use for this worker
        runner = Runner(channel.receive(), slot=int(sys.argv[2]))
        while True:
            job: Job = pickle.loads(channel.receive())

            def say(what: str, job: Job = job) -> None:
                channel.send(pack(Stage(job=job, what=what)))

            channel.send(pack(runner.run(job, say)))


if __name__ == "__main__":
    _main()
