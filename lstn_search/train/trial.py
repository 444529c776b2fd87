"""A trial: one architecture, trained and measured. And the two references every trial is quoted against.

    recover protocol   build -> recover -> score through the frozen backbone -> joint training -> measure
    paper protocol     build -> joint training from scratch until early stopping -> measure the best epoch

The control is the same training without a transformer; the oracle is the same training behind a transformer that
undoes the drawn warp exactly. A localizer's accuracy lies between the two; the share of that gap which it closes is its
`gap_closed`.
"""

import contextlib
import copy
import dataclasses
import time
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import nn

from lstn_search.errors import SettingError
from lstn_search.nets.localizer import Localizer
from lstn_search.nets.transformer import SpatialTransformer, TransformedClassifier
from lstn_search.spec.arch import Arch
from lstn_search.spec.results import Status, TrialResult
from lstn_search.spec.seeding import seed_of
from lstn_search.train.health import Verdict, examine
from lstn_search.train.joint import Epoch, Joint, JointTraining
from lstn_search.train.recovery import Diverged, OnMilestone, recover
from lstn_search.train.stopping import EarlyStopping
from lstn_search.train.warm import Warm
from lstn_search.train.workbench import Workbench

__all__ = [
    "OnStage",
    "build_localizer",
    "joint_columns",
    "must_not_diverge",
    "recover_columns",
    "run_reference",
    "run_trial",
]

OnStage = Callable[[str], None]
"""Told what is under way: "recover", "joint 1/4", …"""


def run_trial(
    bench: Workbench, arch: Arch, warm: Warm | None, *, on_stage: OnStage | None = None
) -> tuple[TrialResult, TransformedClassifier | None]:
    """Train and measure one architecture: its result, and the trained model (None when it failed).

    `warm` is None for the paper's protocol, which starts from scratch. A loss, weight or theta that is no longer finite
    ends the trial as a recorded failure. Raises ArchError when `arch` cannot be built at the trial's size.
    """
    start = time.perf_counter()
    columns: dict[str, Any] = {}
    try:
        localizer = build_localizer(bench, arch)
        if warm is None:
            training = JointTraining(bench, localizer, bench.build_backbone(), view=bench.view, average=False)
            model, joint = _run_paper(bench, training, on_stage)
        else:
            columns, _ = recover_columns(bench, localizer, warm, on_stage)
            training = JointTraining(bench, localizer, warm.backbone(bench), view=bench.view)
            model, joint = _run_joint(bench, training, on_stage)
    except Diverged as error:
        failed = TrialResult(status="failed", reason=str(error), seconds=time.perf_counter() - start, **columns)
        return failed, None
    columns |= joint_columns(joint)
    assert joint.health is not None
    status: Status = "ok" if joint.health.verdict == "alive" else joint.health.verdict
    return TrialResult(status=status, seconds=time.perf_counter() - start, **columns), model


def run_reference(
    bench: Workbench, warm: Warm | None, *, oracle: bool, on_stage: OnStage | None = None
) -> tuple[TrialResult, TransformedClassifier]:
    """The control, or the oracle: the trial's joint training without a localizer, on the same batches and warps.

    Raises SettingError when the training diverges: then nothing could be compared with it.
    """
    start = time.perf_counter()
    backbone = bench.build_backbone() if warm is None else warm.backbone(bench)
    training = JointTraining(bench, None, backbone, view=bench.view, undo=oracle, average=warm is not None)
    frozen_top1 = None
    if warm is not None:
        frozen, _ = bench.evaluate(training.model, bench.dataset.val_I, view=bench.recover_view, undo=oracle)
        frozen_top1 = frozen.top1
    with must_not_diverge(bench):
        model, joint = (_run_paper if warm is None else _run_joint)(bench, training, on_stage)
    columns = joint_columns(joint) | {"frozen_top1": frozen_top1}
    return TrialResult(status="ok", seconds=time.perf_counter() - start, **columns), model


@contextlib.contextmanager
def must_not_diverge(bench: Workbench) -> Iterator[None]:
    """For the training of a reference: its divergence is the user's to cure, as a SettingError says."""
    try:
        yield
    except Diverged as error:
        raise SettingError(
            f"backbone {bench.task.backbone!r} diverged without a localizer ({error}); choose another --backbone, "
            f"or a learning rate below {bench.task.lr:g}"
        ) from None


def build_localizer(bench: Workbench, arch: Arch) -> Localizer:
    """A fresh localizer at the trial's image size, on the task's device; the same weights for equal seeds."""
    torch.manual_seed(seed_of(bench.task.seed, "localizer"))
    localizer = Localizer(arch, bench.task.trial_size)
    bench.place(localizer)
    return localizer


def recover_columns(
    bench: Workbench,
    localizer: nn.Module,
    warm: Warm,
    on_stage: OnStage | None,
    on_milestone: OnMilestone | None = None,
) -> tuple[dict[str, Any], Verdict]:
    """Recover `localizer` in place and score it through the frozen backbone: the columns, and whether it is alive."""
    if on_stage is not None:
        on_stage("recover")
    recovery = recover(bench, localizer, on_milestone=on_milestone)
    frozen = TransformedClassifier(SpatialTransformer(localizer), warm.backbone(bench))
    scores, theta_N23 = bench.evaluate(frozen, bench.dataset.val_I, view=bench.recover_view)
    assert theta_N23 is not None
    health = examine(theta_N23)
    columns = {
        "recover_steps": recovery.steps,
        "recover_seconds": recovery.seconds,
        "alignment_mse": recovery.alignment_mse,
        "corner_error_px": recovery.corner_error_px,
        "frozen_top1": scores.top1,
    }
    return columns | health.facts(), health.verdict


def _run_joint(
    bench: Workbench, training: JointTraining, on_stage: OnStage | None
) -> tuple[TransformedClassifier, Joint]:
    for number in range(1, bench.task.epochs + 1):
        if on_stage is not None:
            on_stage(f"joint {number}/{bench.task.epochs}")
        training.run_epoch()
    return training.evaluated, training.measure()


def _run_paper(
    bench: Workbench, training: JointTraining, on_stage: OnStage | None
) -> tuple[TransformedClassifier, Joint]:
    """Train until early stopping; what is measured is the best epoch by validation accuracy."""
    stopping = EarlyStopping(floor_epochs=bench.task.epochs)
    accuracies: list[float] = []
    best: dict[str, torch.Tensor] = {}
    while len(accuracies) < bench.task.max_epochs and not stopping.should_stop(accuracies):
        if on_stage is not None:
            on_stage(f"joint {len(accuracies) + 1}")
        epoch = training.run_epoch(evaluate=True)
        assert epoch.val is not None
        if not accuracies or epoch.val.top1 > max(accuracies):
            best = copy.deepcopy(training.model.state_dict())
        accuracies.append(epoch.val.top1)
    training.model.load_state_dict(best)
    return training.model, training.measure()


def joint_columns(joint: Joint) -> dict[str, Any]:
    """The columns of a joint stage."""
    columns: dict[str, Any] = {
        "epochs": len(joint.epochs),
        "joint_seconds": joint.seconds,
        "val_top1": joint.val.top1,
        "val_top5": joint.val.top5,
        "val_clean_top1": joint.val_clean.top1,
        "val_clean_top5": joint.val_clean.top5,
        "history": tuple(_history_row(epoch) for epoch in joint.epochs),
    }
    return columns if joint.health is None else columns | joint.health.facts()


def _history_row(epoch: Epoch) -> dict[str, Any]:
    row: dict[str, Any] = {"epoch": epoch.number, "seconds": epoch.seconds, "train_loss": epoch.train_loss}
    if epoch.health is not None:
        row |= dataclasses.asdict(epoch.health)
    if epoch.val is not None:
        row["val_top1"] = epoch.val.top1
    return row
