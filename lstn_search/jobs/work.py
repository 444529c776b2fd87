"""What a worker does: prepare the task, or take one architecture up one rung of the ladder.

A rung reads the checkpoint of the rung below and writes its own, whole or not at all, so it can be run again after any
crash. Checkpoints hold model, averaged model, optimizer and the number of epochs done; batches and warps follow from
the epoch, so a continued training is the same as one that never stopped. A checkpoint that is lost or damaged is made
again, from recover on: that costs time and no result.
"""

import dataclasses
import io
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from lstn_search.atomic import write_atomically
from lstn_search.errors import CheckpointError, RunError
from lstn_search.jobs.base import Ended, Job, WorkerSetup
from lstn_search.nets.backbones import build_backbone
from lstn_search.nets.localizer import Localizer
from lstn_search.nets.weights import load_torch
from lstn_search.runs.folder import checkpoint_file
from lstn_search.spec.arch import Arch
from lstn_search.spec.ladder import Ladder
from lstn_search.spec.results import Status, TrialResult
from lstn_search.spec.task import Task
from lstn_search.train.joint import JointTraining
from lstn_search.train.recovery import Diverged
from lstn_search.train.references import load_reference
from lstn_search.train.trial import build_localizer, joint_columns, recover_columns, run_trial
from lstn_search.train.warm import Warm, warm_backbone
from lstn_search.train.workbench import Workbench

__all__ = ["climb", "load_trained", "prepare", "run_job", "workbench"]

Say = Callable[[str], None]

CURE = "train it again with eval --arch RUN:NAME"

_benches: dict[tuple[Any, ...], tuple[Workbench, Warm | None]] = {}
"""This process's workbench: made by its first job, used by all."""


def run_job(setup: WorkerSetup, job: Job, say: Say) -> Ended:
    """Run one job in this process. Raises LstnError where the user can cure it."""
    bench, warm = workbench(setup, say, precision=job.precision)
    if job.kind == "prepare":
        return Ended(job=job, facts=_facts(bench, warm))
    if job.kind in ("control", "oracle"):
        oracle = job.kind == "oracle"
        rungs = load_reference(bench, warm, setup.ladder, setup.cache_dir, oracle=oracle, on_stage=say)
        return Ended(job=job, facts={"rungs": [result.to_dict() for result in rungs]})
    assert job.arch is not None
    result = climb(bench, warm, job.arch, setup.ladder, job.rung, setup.folder, say)
    return Ended(job=job, result=result)


def climb(
    bench: Workbench, warm: Warm | None, arch: Arch, ladder: Ladder, rung: int, folder: Path, say: Say
) -> TrialResult:
    """Take `arch` up to `rung`: recover for rung 0, then joint training to the ladder's epochs; a checkpoint stays.

    With the paper's protocol (`warm` is None) rung 0 is the whole training. A diverged training is a failed result.
    """
    start = time.perf_counter()
    file = checkpoint_file(folder, arch, rung)
    if warm is None:
        result, model = run_trial(bench, arch, None, on_stage=say)
        if model is not None:
            _save(file, {"arch": arch.to_json(), "trained": model.state_dict()})
        return result
    try:
        localizer = build_localizer(bench, arch)
        if rung == 0:
            snapshots: list[dict[str, Any]] = []

            def on_milestone(steps: int) -> None:
                snapshots.append(_snapshot(localizer, "recover", steps))

            columns, verdict = recover_columns(bench, localizer, warm, say, on_milestone)
            _save(file, {"arch": arch.to_json(), "localizer": localizer.state_dict(), "snapshots": snapshots})
        else:
            below = _below(bench, warm, arch, ladder, rung, folder, say)
            training = _continue(bench, warm, localizer, below)
            total = ladder.epochs[rung - 1]
            while len(training.epochs) < total:
                say(f"joint {len(training.epochs) + 1}/{total}")
                training.run_epoch()
            joint = training.measure()
            assert joint.health is not None
            columns, verdict = joint_columns(joint), joint.health.verdict
            state = training.state_dict()
            trained = state.pop("averaged")
            assert training.evaluated.transformer is not None
            snapshot = _snapshot(training.evaluated.transformer.localizer, "joint", total)
            kept = {} if rung == ladder.top else {"training": state}  # nobody goes on from the top
            _save(file, {"arch": arch.to_json(), "trained": trained,
                         "snapshots": [*below.get("snapshots", []), snapshot], **kept})  # fmt: skip
    except Diverged as error:
        return TrialResult(status="failed", reason=str(error), seconds=time.perf_counter() - start)
    status: Status = "ok" if verdict == "alive" else verdict
    return TrialResult(status=status, seconds=time.perf_counter() - start, **columns)


def load_trained(file: Path, arch: Arch, image_size: int) -> tuple[Localizer, dict[str, torch.Tensor]]:
    """The trained localizer of a checkpoint, on the CPU in eval mode, and the weights of its classifier.

    Raises CheckpointError when the file is missing, damaged, or holds another architecture.
    """
    state = load_torch(file, cure=CURE)
    if state.get("arch") != arch.to_json() or "trained" not in state:
        raise CheckpointError(f"{file}: not the trained state of this architecture; {CURE}")
    parts: dict[str, dict[str, torch.Tensor]] = {"transformer.localizer.": {}, "backbone.": {}}
    for name, tensor in state["trained"].items():
        prefix = next(prefix for prefix in parts if name.startswith(prefix))
        parts[prefix][name.removeprefix(prefix)] = tensor
    localizer = Localizer(arch, image_size)
    localizer.load_state_dict(parts["transformer.localizer."])
    return localizer.eval(), parts["backbone."]


def prepare(task: Task, cache_dir: Path, say: Say) -> tuple[Workbench, Warm | None]:
    """The workbench of a task and its warm backbone (None for the paper's protocol, which starts from scratch).

    A backbone nobody offers, or that cannot take images of the trial's size, is refused before images are decoded.
    """
    say("data")
    build_backbone(task.backbone, num_classes=2, image_size=task.trial_size)
    bench = Workbench(task, cache_dir=cache_dir, progress=False)
    if task.protocol == "paper":
        return bench, None

    def on_epoch(done: int) -> None:
        say(f"backbone {task.backbone}: epoch {min(done + 1, task.warm_epochs)}/{task.warm_epochs}")

    on_epoch(0)
    return bench, warm_backbone(bench, cache_dir, on_epoch=on_epoch)


def workbench(setup: WorkerSetup, say: Say, *, precision: str = "auto") -> tuple[Workbench, Warm | None]:
    """What `prepare` makes of the setup's task, kept until another task is asked for."""
    task = setup.task if precision == "auto" else dataclasses.replace(setup.task, precision=precision)
    if (task, setup.cache_dir) not in _benches:
        _benches.clear()
        bench, warm = prepare(task, setup.cache_dir, say)
        _benches[bench.settled_task, setup.cache_dir] = _benches[task, setup.cache_dir] = bench, warm
    return _benches[task, setup.cache_dir]


def _below(
    bench: Workbench, warm: Warm, arch: Arch, ladder: Ladder, rung: int, folder: Path, say: Say
) -> dict[str, Any]:
    """The state that the rung below left; when it is lost, that rung is climbed again."""
    file = checkpoint_file(folder, arch, rung - 1)
    try:
        return load_torch(file, cure=CURE, device=bench.device)
    except CheckpointError as error:
        print(f"{error}\nclimbing rung {rung - 1} again")  # to the worker's log
    again = climb(bench, warm, arch, ladder, rung - 1, folder, say)
    if again.status == "failed":
        raise Diverged(again.reason)
    return load_torch(file, cure=CURE, device=bench.device)


def _continue(bench: Workbench, warm: Warm, localizer: Localizer, state: dict[str, Any]) -> JointTraining:
    """The joint training as the rung below left it; after recover it starts from the warm backbone."""
    assert "localizer" in state or "training" in state, "nobody goes on from the top"
    if "localizer" in state:
        localizer.load_state_dict(state["localizer"])
    training = JointTraining(bench, localizer, warm.backbone(bench), view=bench.view)
    if "training" in state:
        training.load_state_dict(state["training"] | {"averaged": state["trained"]})
    return training


def _snapshot(localizer: nn.Module, stage: str, at: int) -> dict[str, Any]:
    """The localizer after so many recover steps or joint epochs, in half precision: enough for a picture."""
    halved = {name: t.detach().to("cpu", torch.float16 if t.is_floating_point() else None, copy=True)
              for name, t in localizer.state_dict().items()}  # fmt: skip
    return {"stage": stage, "at": at, "localizer": halved}


def _save(file: Path, state: dict[str, Any]) -> None:
    buffer = io.BytesIO()
    torch.save(state, buffer)
    try:
        write_atomically(file, buffer.getvalue())
    except OSError as error:
        raise RunError(f"{file} cannot be written ({error.strerror}); make room, then go on with --resume") from None


def _facts(bench: Workbench, warm: Warm | None) -> dict[str, object]:
    """What the manifest says about the prepared task."""
    dataset = bench.dataset
    facts: dict[str, object] = {
        "data": {
            "name": dataset.name,
            "fingerprint": dataset.fingerprint,
            "split_fingerprint": dataset.split_fingerprint,
            "classes": dataset.num_classes,
            "train": len(dataset.train_I),
            "val": len(dataset.val_I),
            "test": len(dataset.test_I),
            "skipped": dataset.num_skipped,
            "damage": dataset.damage,
            "mean": list(dataset.mean),
            "std": list(dataset.std),
        },
        "device": str(bench.device),
        "precision": bench.settled_task.precision,
    }
    if warm is not None:
        facts["backbone"] = {"val_clean_top1": warm.val_clean.top1, "seconds": warm.seconds, "key": warm.key}
    return facts
