"""Worker processes on this machine: fresh interpreters, one a slot, living on between jobs, none able to harm another.

A worker that dies (out of memory, a segmentation fault, kill -9), or that takes longer for a job than it may, ends its
job with the reason; the next job gets a new process. What workers print, and the tracebacks of their deaths, is in
`logs/worker-N.log` of the run folder. How a worker ends with its driver is in `worker.py`.
"""

import contextlib
import dataclasses
import math
import os
import pickle
import signal
import socket
import subprocess
import sys
import time
from multiprocessing.connection import wait
from pathlib import Path
from typing import BinaryIO

from lstn_search.errors import SettingError
from lstn_search.jobs.base import Ended, Event, Job, RunJob, WorkerSetup
from lstn_search.jobs.channel import Channel
from lstn_search.jobs.machine import default_workers, num_cores, python_path
from lstn_search.jobs.worker import cause_of_death, unpack

__all__ = ["LocalEngine", "RunJob", "default_workers", "num_cores"]

STOP_SECONDS = 5.0
"""How long a worker that closed its channel may take to be gone (it may be writing a core dump)."""
LOOK_SECONDS = 0.5
"""How often to look for a dead worker whose children hold its channel open."""
SHARED = 628
"""Bytes of the text by which Windows shares a socket with a process (WSAPROTOCOL_INFOW)."""
KEEP_MEMORY = {name: str(2**30) for name in ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_")}
"""For glibc's malloc: what a training step frees stays with the worker for the next one, which saves it some 2,000 page
faults or 3 % of its time (benchmarks/throughput.md)."""


@dataclasses.dataclass(slots=True)
class _Worker:
    process: "subprocess.Popen[bytes]"
    channel: Channel
    job: Job | None = None
    since: float = 0.0
    """When the job was handed over."""


class LocalEngine:
    """Runs up to `num_slots` jobs at a time, each in a process of its own."""

    def __init__(self, setup: WorkerSetup, num_workers: int, run_job: RunJob | bytes, *, first_slot: int = 0) -> None:
        """`run_job` may be given pickled. Slots, which name logs and choose GPUs, are counted from `first_slot`."""
        if num_workers < 1:
            raise SettingError(f"workers must be at least 1, got {num_workers}")
        self.setup = setup
        self.num_slots = num_workers
        self._parcel = pickle.dumps((setup, run_job if isinstance(run_job, bytes) else pickle.dumps(run_job)))
        self._first_slot = first_slot
        self._workers: list[_Worker | None] = [None] * num_workers
        self._events: list[Event] = []

    def submit(self, job: Job) -> None:
        """Hand the job to an idle worker, starting one if need be."""
        idle = [slot for slot, worker in enumerate(self._workers) if worker is None or worker.job is None]
        assert idle, "more jobs than slots"
        slot = next(filter(self._is_up, idle), idle[0])
        try:
            if not (self._is_up(slot) and self._hand_over(slot, job)):
                self._discard(slot)  # it died between two jobs, which is not this job's fault
                self._workers[slot] = self._start(slot)
                self._hand_over(slot, job)
        except OSError as error:  # no memory or no process left for another worker
            self._events.append(Ended(job=job, died=f"no worker could be started for it ({error.strerror})"))

    def events(self, timeout: float | None = None) -> list[Event]:
        """What the workers said since the last call; a death is the end of the worker's job.

        Waits until something happens or `timeout` seconds are over; with neither timeout nor job, returns at once.
        """
        deadline = math.inf if timeout is None else time.monotonic() + timeout
        while True:
            for slot in range(self.num_slots):
                self._listen(slot)
            seconds_left = deadline - time.monotonic()
            up = [worker for worker in self._workers if worker is not None]
            busy = any(worker.job is not None for worker in up)
            if self._events or seconds_left <= 0 or (timeout is None and not busy):
                events, self._events = self._events, []
                return events
            wait([worker.channel.end for worker in up], min(seconds_left, LOOK_SECONDS))

    def close(self) -> None:
        """Kill every worker and what it started, and return when none is left."""
        for slot in range(self.num_slots):
            self._discard(slot)

    def _start(self, slot: int) -> _Worker:
        number = self._first_slot + slot
        ours, theirs = socket.socketpair()
        environment = {
            **KEEP_MEMORY,
            **os.environ,
            "PYTHONPATH": os.pathsep.join(python_path()),
        }
        if self.setup.num_threads is not None:
            for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
                environment[name] = str(self.setup.num_threads)
        inherited = [] if sys.platform == "win32" else [theirs.fileno()]
        with theirs, self._open_log(number) as log:
            process = subprocess.Popen(
                [sys.executable, "-P", "-m", "lstn_search.jobs.worker", str((inherited or [SHARED])[0]), str(number)],
                stdin=subprocess.PIPE,  # the lifeline
                stdout=log,
                stderr=log,
                env=environment,
                pass_fds=inherited,
                process_group=0,
                creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),  # Windows
            )
            if sys.platform == "win32":
                process.stdin.write(theirs.share(process.pid))
                process.stdin.flush()
        worker = _Worker(process, Channel(ours))
        with contextlib.suppress(OSError):  # dead already: its exit code tells
            worker.channel.send(self._parcel)
        return worker

    def _open_log(self, number: int) -> BinaryIO:
        path = self.setup.folder / "logs" / f"worker-{number}.log"
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            return path.open("ab")
        except OSError:  # a full disk is no reason not to start
            return Path(os.devnull).open("ab")

    def _is_up(self, slot: int) -> bool:
        worker = self._workers[slot]
        return worker is not None and worker.process.poll() is None

    def _hand_over(self, slot: int, job: Job) -> bool:
        """Whether the worker was there to take it."""
        worker = self._workers[slot]
        assert worker is not None
        try:
            worker.channel.send(pickle.dumps(job))
        except OSError:
            return False
        finally:
            worker.job, worker.since = job, time.monotonic()
        return True

    def _listen(self, slot: int) -> None:
        worker = self._workers[slot]
        if worker is None:
            return
        is_dead = worker.process.poll() is not None  # asked first: then all it ever said has arrived
        messages, has_hung_up = worker.channel.waiting()
        for message in messages:
            assert worker.job is not None
            event = unpack(message, worker.job)
            self._events.append(event)
            if isinstance(event, Ended):
                worker.job = None
                if event.died is not None:  # alive, but not to be trusted
                    self._discard(slot)
                    return
        if has_hung_up and not is_dead:
            with contextlib.suppress(subprocess.TimeoutExpired):
                worker.process.wait(STOP_SECONDS)
        if is_dead or has_hung_up:
            job = worker.job
            exit_code = self._discard(slot)
            if job is not None:
                self._events.append(Ended(job=job, died=cause_of_death(exit_code)))
        elif worker.job is not None and time.monotonic() - worker.since > 60 * (self.setup.job_minutes or math.inf):
            self._discard(slot)
            reason = f"it took longer than the {self.setup.job_minutes:g} minutes of --job-minutes"
            self._events.append(Ended(job=worker.job, died=reason))

    def _discard(self, slot: int) -> int:
        """Kill the worker in a slot, if there is one, and its children; its exit code."""
        worker, self._workers[slot] = self._workers[slot], None
        if worker is None:
            return 0
        if hasattr(os, "killpg"):
            with contextlib.suppress(ProcessLookupError, PermissionError):  # gone; macOS says so of a zombie
                os.killpg(worker.process.pid, signal.SIGKILL)
        worker.process.terminate()  # on Windows no request, but the end
        worker.process.wait()
        worker.channel.close()
        assert worker.process.stdin is not None
        worker.process.stdin.close()
        return worker.process.returncode
