"""The Protocol between the driver and whatever runs its jobs. No torch here.

The driver submits at most `num_slots` jobs at a time and waits for events. A job is self-contained and can be run
again: it reads a checkpoint and writes another. The driver alone writes the study.
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, Protocol

from lstn_search.arch import Arch
from lstn_search.results import TrialResult
from lstn_search.search.ladder import Ladder
from lstn_search.task import Task

__all__ = ["Ended", "Engine", "Event", "Job", "Stage", "WorkerSetup"]


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


@dataclasses.dataclass(kw_only=True, frozen=True, slots=True)
class Job:
    """One rung of one architecture, or the preparation of the task."""

    kind: Literal["prepare", "rung"]
    name: str
    """For people: the seed point's name, t7, …"""
    arch: Arch | None = None
    """None for the preparation."""
    rung: int = 0
    attempt: int = 1


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
    """What the preparation found out, for the manifest."""
    user_error: str | None = None
    """One line of an LstnError: the search cannot go on."""
    died: str | None = None
    """Why the worker is gone, or the traceback of what it did not expect."""


Event = Stage | Ended


class Engine(Protocol):
    """Runs jobs side by side."""

    num_slots: int
    """How many jobs run at a time."""

    def submit(self, job: Job) -> None:
        """Start a job; the caller keeps to `num_slots`."""

    def events(self, timeout: float | None = None) -> Sequence[Event]:
        """What happened since the last call, waiting until something does or `timeout` seconds are over."""

    def close(self) -> None:
        """Stop every worker and return when none is left; what was under way is lost."""
