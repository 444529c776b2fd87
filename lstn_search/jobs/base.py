"""The Protocol between the driver and whatever runs its jobs. No torch here.

The driver submits at most `num_slots` jobs at a time and waits for events. A job is self-contained and can be run
again: it reads a checkpoint and writes another. The driver alone writes the study.
"""

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal, Protocol

from lstn_search.spec.arch import Arch
from lstn_search.spec.ladder import Ladder
from lstn_search.spec.results import TrialResult
from lstn_search.spec.task import Task

__all__ = ["Ended", "Engine", "Event", "Job", "RunJob", "Stage", "WorkerSetup"]


@dataclasses.dataclass(kw_only=True, frozen=True, slots=True)
class WorkerSetup:
    """What every worker of a search needs to know once."""

    task: Task
    ladder: Ladder
    folder: Path
    """Of the run: checkpoints are written to its `checkpoints/`."""
    cache_dir: Path
    num_threads: int | None = None
    """Torch's threads in each worker; None leaves torch its default."""
    job_minutes: float | None = None
    """A worker that takes longer for a job is killed, which ends the job like any other death; None: it never is."""


@dataclasses.dataclass(kw_only=True, frozen=True, slots=True)
class Job:
    """A piece of work for one worker.

    prepare      make the task ready: decoded images, warm backbone
    reference    the control or the oracle, all rungs
    rung         one rung of an architecture
    evaluate     an architecture, the control or the oracle at the task's schedule, and its test
    """

    kind: Literal["prepare", "reference", "rung", "evaluate"]
    name: str
    """For people: the seed point's name, t7, …"""
    arch: Arch | None = None
    """None: of a reference, or no training at all."""
    oracle: bool = False
    """Of a reference: the oracle, not the control."""
    rung: int = 0
    precision: str = "auto"
    """What preparing the task settled on: workers on unlike machines train alike."""
    attempt: int = 1
    seed: int | None = None
    """Of the training; None: the task's own."""


@dataclasses.dataclass(kw_only=True, frozen=True, slots=True)
class Stage:
    """A job said what it is doing."""

    job: Job
    what: str


@dataclasses.dataclass(kw_only=True, frozen=True, slots=True)
class Ended:
    """A job ended: with a result, with a user's error, or because its worker died."""

    job: Job
    result: TrialResult | None = None
    facts: dict[str, object] | None = None
    """What a job of another kind found out, as JSON types."""
    user_error: str | None = None
    """One line of an LstnError: the search cannot go on."""
    died: str | None = None
    """Why the worker is gone, or what it did not expect: one line. The traceback is in the worker's log."""


Event = Stage | Ended

RunJob = Callable[[WorkerSetup, Job, Callable[[str], None]], Ended]
"""Runs one job inside a worker, telling its stages; `lstn_search.jobs.work.run_job` is the real one. It must be
importable by name, since workers are fresh processes."""


class Engine(Protocol):
    """Runs jobs side by side."""

    setup: WorkerSetup
    """As the workers see it: checkpoints are in its `folder`, which need not be the run's (Ray's storage_path)."""
    num_slots: int
    """How many jobs run at a time."""

    def submit(self, job: Job) -> None:
        """Start a job; the caller keeps to `num_slots`."""

    def events(self, timeout: float | None = None) -> Sequence[Event]:
        """What happened since the last call, waiting until something does or `timeout` seconds are over.

        An event's job is the very object that was submitted. With neither a timeout nor a job, returns at once.
        """

    def close(self) -> None:
        """Stop every worker and return when none is left; what was under way is lost."""
