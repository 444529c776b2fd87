"""Worker processes on this machine: spawned, one a slot, each living on between jobs and none able to harm another.

A worker that dies (out of memory, a segmentation fault, kill -9) ends its job with the reason; the next job gets a new
process. A worker whose driver is gone ends itself, so no orphan is left behind.
"""

import dataclasses
import multiprocessing
import os
import pickle
import signal
import threading
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import Any

from lstn_search.errors import LstnError
from lstn_search.search.engines.base import Ended, Event, Job, Stage, WorkerSetup

__all__ = ["LocalEngine", "RunJob", "default_workers"]

RunJob = Callable[[WorkerSetup, Job, Callable[[str], None]], Ended]
"""Runs one job inside a worker, telling its stages; `lstn_search.search.work.run_job` is the real one."""

STOP_SECONDS = 5.0


@dataclasses.dataclass(slots=True)
class _Worker:
    process: SpawnProcess
    connection: Connection
    job: Job | None = None


class LocalEngine:
    """Runs up to `num_slots` jobs at a time, each in a process of its own."""

    def __init__(self, setup: WorkerSetup, num_workers: int, run_job: RunJob) -> None:
        self.setup = setup
        self.num_slots = num_workers
        self._run_job = run_job
        self._context = multiprocessing.get_context("spawn")
        self._workers: list[_Worker | None] = [None] * num_workers

    def submit(self, job: Job) -> None:
        """Hand the job to an idle worker, starting one if need be."""
        slot = next(i for i, worker in enumerate(self._workers) if worker is None or worker.job is None)
        worker = self._workers[slot]
        if worker is None or not worker.process.is_alive():
            self._discard(slot)
            worker = self._workers[slot] = self._start(slot)
        worker.job = job
        try:
            worker.connection.send(job)
        except OSError:  # it died this instant; its sentinel tells
            return

    def events(self, timeout: float | None = None) -> list[Event]:
        """What the workers said since the last call; a death counts as the end of the worker's job."""
        sources: dict[Any, int] = {}
        for slot, worker in enumerate(self._workers):
            if worker is not None:
                sources[worker.connection] = sources[worker.process.sentinel] = slot
        slots = sorted({sources[ready] for ready in wait(list(sources), timeout)})
        return [event for slot in slots for event in self._drain(slot)]

    def close(self) -> None:
        """Stop every worker and return when none is left."""
        for worker in self._workers:
            if worker is not None:
                worker.process.terminate()
        for slot in range(self.num_slots):
            self._discard(slot)

    def _start(self, slot: int) -> _Worker:
        ours, theirs = self._context.Pipe()
        setup = dataclasses.replace(self.setup, task=_for_slot(self.setup.task, slot))
        process = self._context.Process(
            target=_work, args=(theirs, setup, self._run_job), name=f"lstn-search worker {slot}", daemon=True
        )
        process.start()
        theirs.close()
        return _Worker(process, ours)

    def _drain(self, slot: int) -> list[Event]:
        worker = self._workers[slot]
        assert worker is not None
        events: list[Event] = []
        try:
            while worker.connection.poll():
                event: Event = worker.connection.recv()
                events.append(event)
                if isinstance(event, Ended):
                    worker.job = None
        except (EOFError, OSError, pickle.UnpicklingError):  # gone, perhaps in the middle of a word
            worker.process.join(STOP_SECONDS)
        if not worker.process.is_alive():
            if worker.job is not None:
                events.append(Ended(job=worker.job, died=_cause(worker.process.exitcode)))
            self._discard(slot)
        return events

    def _discard(self, slot: int) -> None:
        worker = self._workers[slot]
        if worker is None:
            return
        worker.process.join(STOP_SECONDS)
        if worker.process.is_alive():
            worker.process.kill()
            worker.process.join()
        worker.connection.close()
        self._workers[slot] = None


def default_workers() -> int:
    """One a GPU where there are GPUs, else one a core."""
    import torch

    return torch.cuda.device_count() or num_cores()


def num_cores() -> int:
    """The cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _for_slot(task: Any, slot: int) -> Any:
    """The task on the slot's own GPU, where the device was left to us and there are several."""
    if task.device not in ("auto", "cuda"):
        return task
    import torch

    num_gpus = torch.cuda.device_count()
    return dataclasses.replace(task, device=f"cuda:{slot % num_gpus}") if num_gpus else task


def _cause(exit_code: int | None) -> str:
    if exit_code is None or exit_code >= 0:
        return f"its worker ended with exit code {exit_code}"
    name = signal.Signals(-exit_code).name
    hint = " (out of memory?)" if name == "SIGKILL" else ""
    return f"its worker was killed by {name}{hint}"


def _work(connection: Connection, setup: WorkerSetup, run_job: RunJob) -> None:
    """A worker's life: jobs in, stages and ends out, until the driver closes the pipe or is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the driver's to handle
    threading.Thread(target=_end_with_parent, daemon=True).start()
    while True:
        try:
            job: Job = connection.recv()
        except (EOFError, OSError):
            return

        def say(what: str, job: Job = job) -> None:
            connection.send(Stage(job=job, what=what))

        try:
            ended = run_job(setup, job, say)
        except LstnError as error:
            ended = Ended(job=job, user_error=str(error))
        except Exception as error:  # a bug, or a device gone bad: this process is not to be trusted any more
            where = traceback.extract_tb(error.__traceback__)[-1]
            reason = f"{type(error).__name__}: {error} (at {where.name}, line {where.lineno})"
            connection.send(Ended(job=job, died=" ".join(reason.split())[:500]))
            return
        connection.send(ended)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
