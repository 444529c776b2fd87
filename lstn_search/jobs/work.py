"""What a worker does: prepare a task, take an architecture up a rung, train a reference, or evaluate one of them.

A rung reads the checkpoint of the rung below and writes its own, whole or not at all, so it can be run again after any
crash. Batches and warps follow from the epoch, so a continued training is the same as one that never stopped. A
checkpoint that is lost or damaged is made again, from recover on: that costs time and no result.
"""

import dataclasses
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lstn_search.errors import CheckpointError
from lstn_search.jobs.base import Ended, Job, WorkerSetup
from lstn_search.runs.checkpoints import load_checkpoint, save_checkpoint
from lstn_search.runs.folder import checkpoint_file
from lstn_search.spec.arch import Arch
from lstn_search.spec.ladder import Ladder
from lstn_search.spec.results import TrialResult
from lstn_search.spec.task import Task
from lstn_search.training.evaluation import evaluate_arch, evaluate_reference
from lstn_search.training.prepared import Prepared, prepare
from lstn_search.training.references import load_reference
from lstn_search.training.trial import Trial, start_trial

__all__ = ["climb", "prepared_task", "run_job"]

Say = Callable[[str], None]

_log = logging.getLogger(__name__)

_prepared: dict[tuple[Any, ...], Prepared] = {}
"""This process's task: made ready by its first job, used by all."""


def run_job(setup: WorkerSetup, job: Job, say: Say) -> Ended:
    """Run one job in this process. Raises LstnError where the user can cure it."""
    prepared = prepared_task(_task_of(setup, job), setup.cache_dir, say)
    match job.kind:
        case "prepare":
            return Ended(job=job, facts=_facts(prepared))
        case "reference":
            rungs = load_reference(prepared, setup.ladder, setup.cache_dir, oracle=job.oracle, on_stage=say)
            return Ended(job=job, facts={"rungs": [result.to_dict() for result in rungs]})
        case "evaluate":
            if job.arch is None:
                row = evaluate_reference(prepared, setup.cache_dir, oracle=job.oracle, on_stage=say)
            else:
                row, _ = evaluate_arch(prepared, job.arch, name=job.name, on_stage=say)
            conditions = {"device": str(prepared.bench.device), "autocast": prepared.bench.use_autocast}
            return Ended(job=job, facts={"evaluation": row.to_dict(), **conditions})
    assert job.arch is not None
    return Ended(job=job, result=climb(prepared, job.arch, setup.ladder, job.rung, setup.folder, say))


def climb(prepared: Prepared, arch: Arch, ladder: Ladder, rung: int, folder: Path, say: Say) -> TrialResult:
    """Take `arch` up to `rung` of the ladder; a checkpoint stays in `folder`.

    It goes on from the checkpoint of the rung below, which is made first where there is none that can be used.
    """
    trial = start_trial(prepared, arch, on_stage=say)
    if rung > 0:
        below = checkpoint_file(folder, arch, rung - 1)
        try:
            _go_on(trial, arch, below)
        except CheckpointError:
            if below.exists():
                _log.warning("%s cannot be used: rung %d is climbed again", below, rung - 1)
            again = climb(prepared, arch, ladder, rung - 1, folder, say)
            if again.status == "failed":
                return again
            trial = start_trial(prepared, arch, on_stage=say)
            _go_on(trial, arch, below)
    epochs = ladder.joint_epochs(rung)
    steps = ladder.recover_steps(rung, prepared.bench.task.recover_steps)
    result = trial.train_to(epochs) if epochs else trial.begin(steps)
    if result.status != "failed":
        save_checkpoint(checkpoint_file(folder, arch, rung), trial.state_dict(resumable=rung < ladder.top))
    return result


def _go_on(trial: Trial, arch: Arch, file: Path) -> None:
    """Bring a trial to where a checkpoint was written. Raises CheckpointError when that is not one of its own."""
    state = load_checkpoint(file, device=trial.bench.device)
    if state.get("arch") != arch.to_json():
        raise CheckpointError(f"{file}: of another architecture")
    try:
        trial.load_state_dict(state)
    except (AssertionError, AttributeError, LookupError, TypeError, ValueError, RuntimeError) as error:
        raise CheckpointError(f"{file}: not the state of such a training ({type(error).__name__})") from None


def prepared_task(task: Task, cache_dir: Path, say: Say) -> Prepared:
    """A task made ready in this process, and kept until another task is asked for."""
    if (task, cache_dir) not in _prepared:
        _prepared.clear()
        prepared = prepare(task, cache_dir, say)
        _prepared[prepared.bench.settled_task, cache_dir] = _prepared[task, cache_dir] = prepared
    return _prepared[task, cache_dir]


def _task_of(setup: WorkerSetup, job: Job) -> Task:
    """The setup's task in the job's precision, with its seed."""
    task = setup.task if job.precision == "auto" else dataclasses.replace(setup.task, precision=job.precision)
    return task if job.seed is None else dataclasses.replace(task, seed=job.seed)


def _facts(prepared: Prepared) -> dict[str, object]:
    """What the manifest says about the prepared task."""
    bench, warm = prepared.bench, prepared.warm
    facts: dict[str, object] = {
        "data": bench.dataset.facts,
        "device": str(bench.device),
        "precision": bench.settled_task.precision,
        **bench.code_in_keys,
    }
    if warm is not None:
        facts["backbone"] = {"val_clean_top1": warm.val_clean.top1, "seconds": warm.seconds, "key": warm.key}
    return facts
