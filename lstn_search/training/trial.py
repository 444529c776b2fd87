"""A trial: one training that can be measured, put aside and resumed after every rung.

    recover protocol   begin(steps): recover, score through the frozen backbone     train_to(n): joint up to epoch n
    paper protocol     begin: joint training from scratch until early stopping, measured at its best epoch

What is trained is an architecture; or, without one, a reference. The control is the same training without a
transformer; the oracle is the same training behind a transformer that undoes the drawn warp exactly. A localizer's
accuracy lies between the two; the share of that gap which it closes is its `gap_closed`.
"""

import copy
import dataclasses
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from lstn_search.data.fills import fill_for_scoring
from lstn_search.errors import SettingError
from lstn_search.nets.transformer import SpatialTransformer, TransformedClassifier
from lstn_search.spec.arch import Arch
from lstn_search.spec.cost import check_trainable
from lstn_search.spec.results import Status, TrialResult
from lstn_search.training.health import Verdict, examine, reads_frames
from lstn_search.training.joint import Epoch, Joint, JointTraining
from lstn_search.training.prepared import OnStage, Prepared
from lstn_search.training.recovery import Diverged, RecoverTraining, build_localizer
from lstn_search.training.stopping import EarlyStopping

__all__ = ["PaperTrial", "RecoverTrial", "Trial", "start_trial"]

Measured = tuple[dict[str, Any], Verdict]
"""The columns of a result, and whether the localizer is alive."""


class Trial:
    """One training of `arch`, or of the control or the oracle (None). Make one with `start_trial`."""

    def __init__(self, prepared: Prepared, arch: Arch | None, *, oracle: bool, on_stage: OnStage) -> None:
        self.bench, self.arch, self.oracle, self.on_stage = prepared.bench, arch, oracle, on_stage
        self.localizer = None if arch is None else build_localizer(self.bench, arch)
        self.snapshots: list[dict[str, Any]] = []
        """The localizer on its way, in half precision: enough for a picture."""

    @property
    def model(self) -> TransformedClassifier:
        """The trained model that is measured."""
        raise NotImplementedError

    def begin(self, steps: int | None = None) -> TrialResult:
        """What comes before joint training: recover up to so many steps in all (None: all of the task's).

        A loss, weight or theta that is no longer finite makes it a failed result. A reference that diverges raises
        SettingError: nothing could be compared with it.
        """
        return self._measured(lambda: self._begin(steps or self.bench.task.recover_steps))

    def train_to(self, epochs: int) -> TrialResult:
        """Joint training up to so many epochs in all, and the next result; failures as in `begin`."""
        return self._measured(lambda: self._train_to(epochs))

    def run(self) -> TrialResult:
        """The whole training at the task's schedule, as one result."""
        raise NotImplementedError

    def state_dict(self, *, resumable: bool = True) -> dict[str, Any]:
        """What the trial has come to, as tensors and plain types: the localizer before, `trained` after joint training.

        Without `resumable` it is smaller, and nobody can go on from it.
        """
        raise NotImplementedError

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what `state_dict` gave."""
        raise NotImplementedError

    def _begin(self, steps: int) -> Measured:
        raise NotImplementedError

    def _train_to(self, epochs: int) -> Measured:
        raise NotImplementedError

    def _measured(self, train: Callable[[], Measured]) -> TrialResult:
        start = time.perf_counter()
        try:
            columns, verdict = train()
        except Diverged as error:
            if self.arch is None:
                raise SettingError(
                    f"backbone {self.bench.task.backbone!r} diverged without a localizer ({error}); choose another "
                    f"--backbone, or a learning rate below {self.bench.task.lr:g}"
                ) from None
            return TrialResult(status="failed", reason=str(error), seconds=time.perf_counter() - start)
        status: Status = "ok" if verdict == "alive" else verdict
        return TrialResult(status=status, seconds=time.perf_counter() - start, **columns)


class RecoverTrial(Trial):
    """Recover known warps, then train jointly from the warm backbone at a constant rate."""

    def __init__(self, prepared: Prepared, arch: Arch | None, *, oracle: bool, on_stage: OnStage) -> None:
        super().__init__(prepared, arch, oracle=oracle, on_stage=on_stage)
        assert prepared.warm is not None
        self.prepared, self.warm = prepared, prepared.warm
        self._recover: RecoverTraining | None = None
        self._training: JointTraining | None = None

    @property
    def training(self) -> JointTraining:
        """The joint training, begun when it is first asked for."""
        if self._training is None:
            backbone = self.warm.backbone(self.bench)
            self._training = JointTraining(self.bench, self.localizer, backbone, view=self.bench.view, undo=self.oracle)
        return self._training

    @property
    def model(self) -> TransformedClassifier:
        """The moving average of the weights."""
        return self.training.evaluated

    def run(self) -> TrialResult:
        """Recover and joint training to the task's epochs."""
        first = self.begin()
        if first.status == "failed":
            return first
        last = self.train_to(self.bench.task.epochs)
        seconds = first.seconds + last.seconds
        if last.status == "failed":
            return dataclasses.replace(first, status="failed", reason=last.reason, seconds=seconds)
        return dataclasses.replace(last.with_recover_of(first), seconds=seconds)

    def _begin(self, steps: int) -> Measured:
        bench, columns = self.bench, {}
        if self.localizer is not None:
            self.on_stage("recover")
            recover = self._recover or self._begin_recover()
            recover.run_to(steps, on_milestone=lambda steps: self._snap("recover", steps))
            self.localizer, recovery = recover.evaluated, recover.measure()
            columns = {
                "recover_steps": recovery.steps,
                "recover_seconds": recovery.seconds,
                "alignment_mse": recovery.alignment_mse,
                "corner_error_px": recovery.corner_error_px,
            }
        transformer = None if self.localizer is None else SpatialTransformer(self.localizer)
        frozen = TransformedClassifier(transformer, self.warm.backbone(bench))
        scores, theta_N23 = bench.evaluate(frozen, bench.dataset.val_I, view=bench.frozen_view, undo=self.oracle)
        columns["frozen_top1"] = scores.top1
        if theta_N23 is None:
            return columns, "alive"
        health = examine(theta_N23)
        verdict = health.verdict
        if self.prepared.has_frames:
            known = {fill_for_scoring(bench.task.fill): scores.top1}
            by_fill = self.prepared.frozen_by_fill(self.localizer, known=known)
            control = self.prepared.frozen_by_fill(None)
            columns |= {f"frozen_{fill}": top1 for fill, top1 in by_fill.items()}
            if verdict == "alive" and steps == bench.task.recover_steps and reads_frames(by_fill, control):
                verdict = "frame reader"
        return columns | health.facts(), verdict

    def _begin_recover(self) -> RecoverTraining:
        assert self.localizer is not None
        self._recover = RecoverTraining(self.bench, self.localizer)
        return self._recover

    def _train_to(self, epochs: int) -> Measured:
        while len(self.training.epochs) < epochs:
            self.on_stage(f"joint {len(self.training.epochs) + 1}/{epochs}")
            self.training.run_epoch()
        measured = joint_columns(self.training.measure())
        self._snap("joint", epochs)
        return measured

    def state_dict(self, *, resumable: bool = True) -> dict[str, Any]:
        """See `Trial`."""
        assert self.arch is not None and self.localizer is not None
        state = {"arch": self.arch.to_json(), "snapshots": self.snapshots}
        if self._training is None:
            if self._recover is None or self._recover.num_steps >= self.bench.task.recover_steps:
                return state | {"localizer": self.localizer.state_dict()}
            recover = self._recover.state_dict()
            return state | {"localizer": recover.pop("averaged"), "recover": recover}
        training = self._training.state_dict()
        return state | {"trained": training.pop("averaged")} | ({"training": training} if resumable else {})

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """See `Trial`."""
        assert "localizer" in state or "training" in state, "nobody goes on from the top"
        self.snapshots = list(state.get("snapshots", []))
        if "recover" in state:
            self._begin_recover().load_state_dict(state["recover"] | {"averaged": state["localizer"]})
        elif "localizer" in state:
            assert self.localizer is not None
            self.localizer.load_state_dict(state["localizer"])
        else:
            self.training.load_state_dict(state["training"] | {"averaged": state["trained"]})

    def _snap(self, stage: str, at: int) -> None:
        if self.localizer is None:
            return
        localizer: nn.Module = self.localizer
        if stage == "joint":
            assert self.model.transformer is not None
            localizer = self.model.transformer.localizer
        halved = {name: t.detach().to("cpu", torch.float16 if t.is_floating_point() else None, copy=True)
                  for name, t in localizer.state_dict().items()}  # fmt: skip
        self.snapshots.append({"stage": stage, "at": at, "localizer": halved})


class PaperTrial(Trial):
    """Joint training from scratch until early stopping; what is measured is the best epoch by validation accuracy."""

    def __init__(self, prepared: Prepared, arch: Arch | None, *, oracle: bool, on_stage: OnStage) -> None:
        super().__init__(prepared, arch, oracle=oracle, on_stage=on_stage)
        bench = self.bench
        self._training = JointTraining(
            bench, self.localizer, bench.build_backbone(), view=bench.view, undo=oracle, average=False
        )

    @property
    def model(self) -> TransformedClassifier:
        """The best epoch's."""
        return self._training.model

    def run(self) -> TrialResult:
        """The same as `begin`: there is one rung."""
        return self.begin()

    def _begin(self, steps: int) -> Measured:
        task, training = self.bench.task, self._training
        stopping = EarlyStopping(floor_epochs=task.epochs)
        accuracies: list[float] = []
        best: dict[str, torch.Tensor] = {}
        while len(accuracies) < task.max_epochs and not stopping.should_stop(accuracies):
            self.on_stage(f"joint {len(accuracies) + 1}")
            epoch = training.run_epoch(evaluate=True)
            assert epoch.val is not None
            if not accuracies or epoch.val.top1 > max(accuracies):
                best = copy.deepcopy(training.model.state_dict())
            accuracies.append(epoch.val.top1)
        training.model.load_state_dict(best)
        return joint_columns(training.measure())

    def state_dict(self, *, resumable: bool = True) -> dict[str, Any]:
        """See `Trial`."""
        assert self.arch is not None
        return {"arch": self.arch.to_json(), "trained": self.model.state_dict()}


PROTOCOLS: dict[str, type[Trial]] = {"recover": RecoverTrial, "paper": PaperTrial}


def start_trial(
    prepared: Prepared, arch: Arch | None, *, oracle: bool = False, on_stage: OnStage = lambda what: None
) -> Trial:
    """A trial of `arch` by the task's protocol; None: of the control, or with `oracle` of the oracle.

    Raises ArchError when `arch` takes no colour images, or cannot be built at the trial's size.
    """
    if arch is not None:
        check_trainable(arch, prepared.bench.task.trial_size)
    return PROTOCOLS[prepared.bench.task.protocol](prepared, arch, oracle=oracle, on_stage=on_stage)


def joint_columns(joint: Joint) -> Measured:
    """The columns of a joint stage, and the verdict on its theta; without a localizer nothing can be dead."""
    columns: dict[str, Any] = {
        "epochs": len(joint.epochs),
        "joint_seconds": joint.seconds,
        "val_top1": joint.val.top1,
        "val_top5": joint.val.top5,
        "val_clean_top1": joint.val_clean.top1,
        "val_clean_top5": joint.val_clean.top5,
        "history": tuple(_history_row(epoch) for epoch in joint.epochs),
    }
    if joint.health is None:
        return columns, "alive"
    return columns | joint.health.facts(), joint.health.verdict


def _history_row(epoch: Epoch) -> dict[str, Any]:
    row: dict[str, Any] = {"epoch": epoch.number, "seconds": epoch.seconds, "train_loss": epoch.train_loss}
    if epoch.health is not None:
        row |= dataclasses.asdict(epoch.health)
    if epoch.val is not None:
        row["val_top1"] = epoch.val.top1
    return row
