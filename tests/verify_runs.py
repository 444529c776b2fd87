"""Runs to verify that cost no training, and engines and records for trainings that are made up (verify_jobs.py)."""

import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from small_search import InlineEngine, make_folder, make_settings
from verify_jobs import FACTS, evaluation, pretend

from lstn_search.jobs.base import Ended, Engine, Event, Job, WorkerSetup
from lstn_search.jobs.loop import MakeEngine
from lstn_search.runs.folder import RunFolder
from lstn_search.runs.run import open_run
from lstn_search.spec.arch import Arch, Head, Layer
from lstn_search.spec.ladder import Ladder
from lstn_search.spec.results import TrialResult
from lstn_search.spec.space import Space
from lstn_search.spec.task import Task
from lstn_search.study.study import Study
from lstn_search.verification.plan import Contender, Plan, make_plan
from lstn_search.verification.records import Record
from lstn_search.verification.result import Verification
from lstn_search.verification.verify import Trainings, VerifyWatcher
from lstn_search.verification.verify import verify as run_verification

__all__ = ["LADDER", "TASK", "TwoSlots", "contender", "inline", "make_run", "plan_of", "records_of", "verify"]

LADDER = Ladder(epochs=(1, 2))
TASK = Task(dataset="glyphs", image_size=48, trial_size=24, recover_steps=60, device="cpu")
IN_SEARCH = {"good": 62.0, "costly": 60.0, "outside": 50.0}
"""Validation accuracy of the seed points; what is found has 70, 69, …"""


# -- runs ---------------------------------------------------------------------------------------------------------


def make_run(path: Path, space: Space, *, found: int = 2, task: Task = TASK) -> Path:
    """The folder of a search that never trained: its seed points, and `found` architectures a bit above them."""
    folder = make_folder(path, make_settings(space, task, ladder=LADDER))
    folder.write_manifest(data=FACTS)
    study = Study(folder, space)
    while (candidate := study.ask_seed()) or (study.num_trials < found and (candidate := study.ask())):
        study.record(candidate, 0, TrialResult(status="ok", corner_error_px=5.0, frozen_top1=30.0, recover_steps=60))
        top1 = IN_SEARCH.get(candidate.name, 71.0 - study.num_trials)
        for epochs in LADDER.epochs:
            study.record(candidate, LADDER.epochs.index(epochs) + 1,
                         TrialResult(status="ok", val_top1=top1, epochs=epochs))  # fmt: skip
    return path


# -- engines ------------------------------------------------------------------------------------------------------


class TwoSlots(InlineEngine):
    """Two jobs at a time, the first one in is the first one out; notes what was submitted and what ended."""

    num_slots = 2

    def __init__(self, setup: WorkerSetup) -> None:
        super().__init__(setup)
        self.log: list[str] = []

    def submit(self, job: Job) -> None:
        self.log.append(f"+{job.name}")
        super().submit(job)

    def events(self, timeout: float | None = None) -> Sequence[Event]:
        self._jobs.reverse()  # the parent runs the last one
        events = super().events(timeout)
        self._jobs.reverse()
        self.log.append(f"-{events[-1].job.name}")
        return events


def inline(
    cache_dir: Path, run_job: Callable[..., Ended] = pretend, *, made: list[Engine] | None = None, slots: int = 1
) -> MakeEngine:
    """What the driver takes: an engine without processes, kept in `made`."""

    def make(task: Task, ladder: Ladder, folder: Path) -> Engine:
        engine = (TwoSlots if slots == 2 else InlineEngine)(
            WorkerSetup(task=task, ladder=ladder, folder=folder, cache_dir=cache_dir)
        )
        engine.run_job = run_job  # type: ignore[assignment]
        if made is not None:
            made.append(engine)
        return engine

    return make


def verify(plan: Plan, run: Path, make_engine: MakeEngine, **options: Any) -> Verification:
    """Verify the run in the folder `run`."""
    return run_verification(plan, RunFolder.open(run), make_engine, **options)


# -- plans without a run ------------------------------------------------------------------------------------------


def contender(name: str, width: int, *, gflops: float, **changes: Any) -> Contender:
    """An architecture to compare; `width` tells it from others."""
    arch = Arch(layers=(Layer(out_channels=width, kernel=3),), head=Head(pool_to=2, hidden=0))
    facts: dict[str, Any] = {
        "name": name, "number": width, "arch": arch, "gflops": gflops, "params": 100 * width, "over_budget": False,
        "is_seed": name == "lstn", "is_front_pick": name != "lstn", "searched_top1": 60.0, "searched_epochs": 2,
        "is_comparable": True,
    }  # fmt: skip
    return Contender(**facts | changes)


def plan_of(*contenders: Contender, seeds: Iterable[int] = range(1000, 1005), num_images: int = 1200) -> Plan:
    """A plan for them, cheapest first as they are given."""
    return Plan(
        contenders=contenders,
        task=TASK,
        seeds=tuple(seeds),
        budget_gflops=0.03,
        num_val=num_images,
        num_test=num_images,
        command="python cli.py verify RUN",
    )


def records_of(
    plan: Plan, rows: dict[str, Sequence[tuple[float, float]]], **result: Any
) -> dict[tuple[str, int], Record]:
    """Records of made-up (validation, test) accuracies by name, a pair a seed; fewer pairs than seeds: not done."""
    keys = {"control": "control", "oracle": "oracle"} | {row.name: row.arch.digest for row in plan.contenders}
    return {
        (keys[name], seed): Record(
            key=keys[name], name=name, seed=seed, evaluation=evaluation(*pair, **result), device="cpu"
        )
        for name, pairs in rows.items()
        for seed, pair in zip(plan.seeds, pairs, strict=False)
    }  # fmt: skip


# -- a driver to kill ---------------------------------------------------------------------------------------------


def drive(run: str, seeds: str) -> None:
    """Verify with two real workers and made-up trainings; says when each has ended."""
    from lstn_search.jobs.local import LocalEngine

    class Says(VerifyWatcher):
        def on_result(self, source: Trainings, result: Record) -> None:
            print(result.name, result.seed, flush=True)

    def make(task: Task, ladder: Ladder, folder: Path) -> Engine:
        setup = WorkerSetup(task=task, ladder=ladder, folder=folder, cache_dir=folder, num_threads=None)
        return LocalEngine(setup, 2, pretend)

    plan = make_plan(open_run(Path(run)), seeds=int(seeds))
    verify(plan, Path(run), make, watcher=Says())


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
