"""The one job loop: a source says what is to be done next and takes what came of it; an engine does it.

The loop runs the jobs, tells a watcher, runs a job again whose worker died, and stops starting new ones at a deadline.
Search, verification and the comparison of sizes are sources.
"""

import dataclasses
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

from lstn_search.errors import RunError, SettingError
from lstn_search.jobs.base import Ended, Engine, Job, Stage
from lstn_search.spec.fields import check_count
from lstn_search.spec.ladder import Ladder
from lstn_search.spec.task import Task

__all__ = [
    *("MakeEngine", "ResultT", "Source", "SourceT", "Watcher", "Watchers"),
    *("check_limits", "deadline_after", "prepare_task", "run_jobs"),
]

MakeEngine = Callable[[Task, Ladder, Path], Engine]
"""Starts the workers for a task; their logs and checkpoints go into the folder. `EngineOptions.start` is one."""


class Source(Protocol):
    """What is to be done, one job after the other."""

    def next_job(self) -> Job | None:
        """What a free slot should do; None: nothing until something ends, or for good if nothing is under way."""

    def ended(self, ended: Ended) -> None:
        """A job has ended: with a result or facts, or, after its last attempt, because its worker died."""


SourceT = TypeVar("SourceT")
ResultT = TypeVar("ResultT")


class Watcher(Generic[SourceT, ResultT]):
    """Whoever follows what is done. Override what is of interest: by itself nothing happens."""

    def on_ready(self, source: SourceT) -> None:
        """Training begins."""

    def on_stage(self, name: str, what: str) -> None:
        """A job (an architecture's name, `prepare`, `control`, …) began a stage."""

    def on_end(self, name: str) -> None:
        """The job ended, however."""

    def on_result(self, source: SourceT, result: ResultT) -> None:
        """Something has been measured, and is on file."""

    def on_finish(self, source: SourceT) -> None:
        """Nothing more is trained: all is done, or it was interrupted."""


class Watchers(Watcher[SourceT, ResultT]):
    """Several watchers as one."""

    def __init__(self, *watchers: Watcher[SourceT, ResultT] | None) -> None:
        self._watchers = [watcher for watcher in watchers if watcher is not None]

    def on_ready(self, source: SourceT) -> None:
        """Tell all."""
        for watcher in self._watchers:
            watcher.on_ready(source)

    def on_stage(self, name: str, what: str) -> None:
        """Tell all."""
        for watcher in self._watchers:
            watcher.on_stage(name, what)

    def on_end(self, name: str) -> None:
        """Tell all."""
        for watcher in self._watchers:
            watcher.on_end(name)

    def on_result(self, source: SourceT, result: ResultT) -> None:
        """Tell all."""
        for watcher in self._watchers:
            watcher.on_result(source, result)

    def on_finish(self, source: SourceT) -> None:
        """Tell all."""
        for watcher in self._watchers:
            watcher.on_finish(source)


def check_limits(minutes: float | None, retries: int) -> None:
    """Raise SettingError on a time or a number of retries that makes no sense."""
    if minutes is not None and not minutes > 0:
        raise SettingError(f"minutes must be above 0, got {minutes}")
    check_count("retries", retries, minimum=0, limit=1_000)


def deadline_after(minutes: float | None) -> float | None:
    """The monotonic time in so many minutes; None: never."""
    return None if minutes is None else time.monotonic() + 60 * minutes


def run_jobs(
    source: Source, engine: Engine, watcher: Watcher[Any, Any], *, retries: int, deadline: float | None = None
) -> None:
    """Until the source has nothing left, or nothing may be started any more and all that ran has ended.

    A job whose worker dies is run again up to `retries` times. Raises RunError with what a worker says the user can
    cure.
    """
    num_running = 0
    while True:
        while num_running < engine.num_slots and (deadline is None or time.monotonic() < deadline):
            job = source.next_job()
            if job is None:
                break
            engine.submit(job)
            num_running += 1
        if num_running == 0:
            return
        for event in engine.events(timeout=1.0):
            if isinstance(event, Stage):
                watcher.on_stage(event.job.name, event.what)
                continue
            watcher.on_end(event.job.name)
            if event.user_error is not None:
                raise RunError(event.user_error)
            if event.died is not None and event.job.attempt <= retries:
                engine.submit(dataclasses.replace(event.job, attempt=event.job.attempt + 1))
                continue
            num_running -= 1
            source.ended(event)


def prepare_task(engine: Engine, watcher: Watcher[Any, Any], *, precision: str, retries: int) -> dict[str, Any]:
    """Have a worker make the task ready; its facts, for the manifest. Raises RunError when it cannot be."""
    source = _Preparation(Job(kind="prepare", name="prepare", precision=precision))
    run_jobs(source, engine, watcher, retries=retries)
    return source.facts


class _Preparation:
    """A single job."""

    def __init__(self, job: Job) -> None:
        self.job: Job | None = job
        self.facts: dict[str, Any] = {}

    def next_job(self) -> Job | None:
        job, self.job = self.job, None
        return job

    def ended(self, ended: Ended) -> None:
        if ended.facts is None:
            raise RunError(f"the task could not be prepared: {ended.died}")
        self.facts = ended.facts
