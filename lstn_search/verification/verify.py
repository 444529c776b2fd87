"""The verification itself: every worker busy with the next training of the plan, each result on file as it ends.

Order is by seed: with the first seed everything is trained before the second begins, so what is interrupted leaves
complete pairs. A seed's warm backbone is prepared by one worker while others finish the seed before, so that none waits
for it.
"""

import dataclasses
from collections import deque

from lstn_search.errors import RunError
from lstn_search.jobs.base import Ended, Job
from lstn_search.jobs.loop import MakeEngine, Watcher, check_limits, deadline_after, run_jobs
from lstn_search.runs.folder import RunFolder, hardware, versions
from lstn_search.spec.arch import Arch
from lstn_search.spec.ladder import Ladder
from lstn_search.verification.outputs import write_outputs
from lstn_search.verification.plan import CONTROL, ORACLE, Plan
from lstn_search.verification.records import Record, Records
from lstn_search.verification.result import Verification
from lstn_search.verification.summary import complete_seeds, summarize

__all__ = ["Trainings", "VerifyWatcher", "verify"]


def verify(
    plan: Plan,
    folder: RunFolder,
    make_engine: MakeEngine,
    *,
    minutes: float | None = None,
    retries: int = 1,
    watcher: "VerifyWatcher | None" = None,
) -> Verification:
    """Train what the plan asks for and is not on file; verify.json and verify.csv are written after each seed.

    After `minutes` nothing new is started. A job whose worker dies is run again up to `retries` times, then recorded as
    failed. Raises LstnError on bad input. A KeyboardInterrupt loses nothing that had finished.
    """
    check_limits(minutes, retries)
    deadline, watcher = deadline_after(minutes), watcher or VerifyWatcher()
    records = Records(
        folder.path, dataclasses.replace(plan.task, poses=folder.settings.task.poses)
    )  # wherever they are
    with records.locked():
        source = Trainings(plan, records, folder, watcher)
        try:
            if any(source.todo.values()):
                engine = make_engine(plan.task, Ladder(), records.path)
                try:
                    watcher.on_ready(source)
                    run_jobs(source, engine, watcher, retries=retries, deadline=deadline)
                finally:
                    engine.close()
        finally:
            verification = source.summarize()
            watcher.on_finish(source)
        return verification


class Trainings:
    """What a verification trains: all of the plan that is not on file, seed by seed."""

    def __init__(self, plan: Plan, records: Records, folder: RunFolder, watcher: "VerifyWatcher") -> None:
        self.plan, self.records, self.folder, self.watcher = plan, records, folder, watcher
        self.versions, self.hardware = versions(), hardware()
        self.todo = {seed: deque(job for job in _jobs(plan, seed) if records.needs(_key(job), seed))
                     for seed in plan.seeds}  # fmt: skip
        self.begun: set[int] = set()
        """Seeds whose task is prepared, or being prepared."""
        self.ready: set[int] = set()

    @property
    def num_all(self) -> int:
        """Trainings of the plan."""
        return len(self.plan.seeds) * len(self.plan.keys)

    def summarize(self) -> Verification:
        """What is on file; from the first complete seed on also as verify.json and verify.csv."""
        verification = summarize(self.plan, self.records.by_key, versions=self.versions, hardware=self.hardware)
        if verification.complete_seeds:
            write_outputs(self.folder.path, verification)
        return verification

    def next_job(self) -> Job | None:
        """The first of the plan that can start now: a seed's trainings wait for its backbone, its backbone for none."""
        for seed, jobs in self.todo.items():
            if not jobs:
                continue
            if seed in self.ready:
                return jobs.popleft()
            if seed not in self.begun:
                self.begun.add(seed)
                return Job(kind="prepare", name=f"seed {seed}", seed=seed, precision=self.plan.task.precision)
        return None

    def ended(self, ended: Ended) -> None:
        """Begin with the seed that is prepared, or keep the training."""
        job, facts = ended.job, ended.facts
        assert job.seed is not None
        if job.kind == "prepare":
            if facts is None:
                raise RunError(f"the task could not be prepared for seed {job.seed}: {ended.died}")
            self.folder.check_same_images(facts, cure="say where they are with --data-dir and --poses")
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
        self.watcher.on_result(self, record)
        if job.seed in complete_seeds(self.plan, self.records.by_key):
            self.summarize()


VerifyWatcher = Watcher[Trainings, Record]


def _jobs(plan: Plan, seed: int) -> list[Job]:
    """Everything to train with one seed: the references, then the architectures, the dearest first."""

    def job(name: str, arch: Arch | None = None, *, oracle: bool = False) -> Job:
        return Job(kind="evaluate", name=f"{name} {seed}", arch=arch, oracle=oracle, seed=seed,
                   precision=plan.task.precision)  # fmt: skip

    references = [job(CONTROL), *([job(ORACLE, oracle=True)] if ORACLE in plan.keys else [])]
    dearest_first = sorted(plan.contenders, key=lambda contender: -contender.gflops)
    return references + [job(row.name, row.arch) for row in dearest_first]


def _key(job: Job) -> str:
    return job.arch.digest if job.arch is not None else ORACLE if job.oracle else CONTROL
