"""The verification itself: every worker busy with the next training of the plan, each result on file as it ends.

Order is by seed: with the first seed everything is trained before the second begins, so what is interrupted leaves
complete pairs. A seed's warm backbone is prepared by one worker while others finish the seed before, so that none waits
for it.
"""

import dataclasses
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from lstn_search.errors import RunError, SettingError
from lstn_search.jobs.base import Ended, Engine, Job, Stage
from lstn_search.runs.folder import hardware, versions
from lstn_search.spec.task import Task
from lstn_search.verification.outputs import write_outputs
from lstn_search.verification.plan import CONTROL, ORACLE, Plan
from lstn_search.verification.records import Record, Records
from lstn_search.verification.result import Verification
from lstn_search.verification.summary import complete_seeds, summarize

__all__ = ["MakeEngine", "Watcher", "verify"]

MakeEngine = Callable[[Task, Path], Engine]
"""Starts the workers for a task; their logs go into the folder."""


class Watcher(Protocol):
    """Whoever shows the progress of a verification."""

    def on_ready(self, plan: Plan, num_done: int) -> None:
        """Training begins; so many of the plan's trainings are on file already."""

    def on_stage(self, name: str, what: str) -> None:
        """A job began a stage."""

    def on_end(self, name: str) -> None:
        """The job ended, however."""

    def on_record(self, record: Record) -> None:
        """A training has ended and is on file."""

    def on_summary(self, verification: Verification) -> None:
        """What is known by now; at the end, and when it is interrupted."""


def verify(
    plan: Plan,
    run_folder: Path,
    make_engine: MakeEngine,
    *,
    minutes: float | None = None,
    retries: int = 1,
    watcher: Watcher | None = None,
) -> Verification:
    """Train what the plan asks for and is not on file; verify.json and verify.csv are written after each seed.

    After `minutes` nothing new is started. A job whose worker dies is run again up to `retries` times, then recorded as
    failed. Raises LstnError on bad input. A KeyboardInterrupt loses nothing that had finished.
    """
    if minutes is not None and not minutes > 0:
        raise SettingError(f"minutes must be above 0, got {minutes}")
    if retries < 0:
        raise SettingError(f"retries must be at least 0, got {retries}")
    deadline = None if minutes is None else time.monotonic() + 60 * minutes
    records = Records(run_folder, plan.task)
    with records.locked():
        loop = _Loop(plan, records, run_folder, watcher, retries=retries)
        try:
            if loop.has_work:
                loop.run_all(make_engine, deadline)
        finally:
            verification = loop.summarize()
            if watcher:
                watcher.on_summary(verification)
        return verification


class _Loop:
    """Jobs out, results in."""

    def __init__(
        self, plan: Plan, records: Records, run_folder: Path, watcher: Watcher | None, *, retries: int
    ) -> None:
        self.plan, self.records, self.run_folder = plan, records, run_folder
        self.watcher, self.retries = watcher, retries
        self.versions, self.hardware = versions(), hardware()
        self.todo = {seed: deque(job for job in _jobs(plan, seed) if records.needs(_key(job), seed))
                     for seed in plan.seeds}  # fmt: skip
        self.begun: set[int] = set()
        """Seeds whose task is prepared, or being prepared."""
        self.ready: set[int] = set()
        self.num_running = 0

    @property
    def has_work(self) -> bool:
        """Whether anything is to be trained."""
        return any(self.todo.values())

    def summarize(self) -> Verification:
        """What is on file; from the first complete seed on also as verify.json and verify.csv."""
        verification = summarize(self.plan, self.records.by_key, versions=self.versions, hardware=self.hardware)
        if verification.complete_seeds:
            write_outputs(self.run_folder, verification)
        return verification

    def run_all(self, make_engine: MakeEngine, deadline: float | None) -> None:
        """Until nothing is left, or nothing may be started any more and all that ran has ended."""
        engine = make_engine(self.plan.task, self.records.path)
        try:
            if self.watcher:
                num_left = sum(map(len, self.todo.values()))
                self.watcher.on_ready(self.plan, len(self.plan.seeds) * len(self.plan.keys) - num_left)
            while True:
                while self.num_running < engine.num_slots and (deadline is None or time.monotonic() < deadline):
                    job = self._next_job()
                    if job is None:
                        break
                    self._submit(engine, job)
                if self.num_running == 0:
                    return
                for event in engine.events(timeout=1.0):
                    if isinstance(event, Stage):
                        if self.watcher:
                            self.watcher.on_stage(event.job.name, event.what)
                    else:
                        self._ended(engine, event)
        finally:
            engine.close()

    def _next_job(self) -> Job | None:
        """The first of the plan that can start now: a seed's trainings wait for its backbone, its backbone for none."""
        for seed, jobs in self.todo.items():
            if not jobs:
                continue
            if seed in self.ready:
                return jobs.popleft()
            if seed not in self.begun:
                self.begun.add(seed)
                return Job(kind="prepare", name=f"seed {seed}", seed=seed)
        return None

    def _submit(self, engine: Engine, job: Job) -> None:
        engine.submit(job)
        self.num_running += 1

    def _ended(self, engine: Engine, ended: Ended) -> None:
        self.num_running -= 1
        job, facts = ended.job, ended.facts
        assert job.seed is not None
        if self.watcher:
            self.watcher.on_end(job.name)
        if ended.user_error is not None:
            raise RunError(ended.user_error)
        if ended.died is not None and job.attempt <= self.retries:
            self._submit(engine, dataclasses.replace(job, attempt=job.attempt + 1))
            return
        if job.kind == "prepare":
            if facts is None:
                raise RunError(f"the task could not be prepared for seed {job.seed}: {ended.died}")
            if facts["fingerprint"] != self.plan.fingerprint:
                raise RunError(
                    f"{self.run_folder} was searched on other images of {self.plan.task.dataset} (their hash differs); "
                    "restore the images"
                )
            self.ready.add(job.seed)
            return
        facts = facts or {}
        record = Record(
            key=_key(job),
            name=job.name.rpartition(" ")[0],
            seed=job.seed,
            evaluation=facts.get("evaluation"),  # type: ignore[arg-type]
            died=ended.died or "",
            device=str(facts.get("device", "")),
            autocast=bool(facts.get("autocast")),
        )
        self.records.add(record)
        if self.watcher:
            self.watcher.on_record(record)
        if job.seed in complete_seeds(self.plan, self.records.by_key):
            self.summarize()


def _jobs(plan: Plan, seed: int) -> list[Job]:
    """Everything to train with one seed: the references, then the architectures, the dearest first."""
    jobs = [Job(kind="control", name=f"{CONTROL} {seed}", seed=seed)]
    if ORACLE in plan.keys:
        jobs.append(Job(kind="oracle", name=f"{ORACLE} {seed}", seed=seed))
    dearest_first = sorted(plan.contenders, key=lambda contender: -contender.gflops)
    jobs += [Job(kind="verify", name=f"{row.name} {seed}", arch=row.arch, seed=seed) for row in dearest_first]
    return jobs


def _key(job: Job) -> str:
    return job.arch.digest if job.arch is not None else job.kind
