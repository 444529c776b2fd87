"""The joint stage: localizer and classifier together, on the task's view.

The learning rate is constant after a short warm-up and what is evaluated is a moving average of the weights, so a
training can stop after any epoch, be compared with any other that did the same epochs, and go on later.
"""

import dataclasses
import math
import time
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from lstn_search.data.views import View
from lstn_search.nets.transformer import SpatialTransformer, TransformedClassifier
from lstn_search.spec.seeding import seed_of
from lstn_search.training.averaging import MovingAverage, warmup
from lstn_search.training.health import Health, examine
from lstn_search.training.optimizer import Optimizer
from lstn_search.training.recovery import Diverged
from lstn_search.training.workbench import Batch, Scores, Workbench

__all__ = ["Epoch", "Joint", "JointTraining"]

HEALTH_BATCHES = 4
"""How many of an epoch's last batches its health is taken from."""


@dataclasses.dataclass(kw_only=True, frozen=True, slots=True)
class Epoch:
    """What one epoch of training left behind."""

    number: int
    seconds: float
    train_loss: float
    health: Health | None
    """Of the last training batches' thetas; None without a transformer."""
    val: Scores | None = None
    """Where every epoch is evaluated (the paper's protocol)."""


@dataclasses.dataclass(kw_only=True, frozen=True, slots=True)
class Joint:
    """What the joint stage left behind, measured on the validation images."""

    epochs: tuple[Epoch, ...]
    seconds: float
    """Training and evaluation of all epochs."""
    val: Scores
    """Under the task's fixed view."""
    val_clean: Scores
    """The same images upright."""
    health: Health | None
    """Of theta over the validation images under the view; None without a transformer."""


class JointTraining:
    """A training that runs epoch by epoch and can stop, be measured and go on after any of them."""

    def __init__(
        self,
        bench: Workbench,
        localizer: nn.Module | None,
        backbone: nn.Module,
        *,
        stage: str = "joint",
        view: View | None = None,
        undo: bool = False,
        average: bool = True,
    ) -> None:
        """`undo` shows the model what the oracle sees; `stage` names a random stream.

        Without `average` no moving average is kept, the rate is constant from the start and all weights are Adam's, as
        in the paper.
        """
        self.bench, self.stage, self.view, self.undo = bench, stage, view, undo
        transformer = None if localizer is None else SpatialTransformer(localizer)
        self.model = TransformedClassifier(transformer, backbone)
        task = bench.task
        rates = {backbone: task.lr}
        if localizer is not None:
            rates[localizer] = task.lr * task.localizer_lr_scale
        self.optimizer = Optimizer(rates, muon=average)
        self._average = MovingAverage(self.model) if average else None
        self.epochs: list[Epoch] = []
        self.num_steps = 0

    @property
    def evaluated(self) -> TransformedClassifier:
        """The weights that count: the moving average, or the model itself where none is kept."""
        return self.model if self._average is None else self._average.model

    def run_epoch(self, *, evaluate: bool = False) -> Epoch:
        """Train one more epoch. Raises Diverged when loss, weights or theta stop being finite."""
        start = time.perf_counter()
        number = len(self.epochs) + 1
        torch.manual_seed(seed_of(self.bench.task.seed, self.stage, "layers", number))  # dropout and the like
        self.model.train()
        total_loss = torch.zeros((), device=self.bench.device)
        thetas: list[torch.Tensor] = []
        for position, batch in enumerate(self.bench.train_batches(self.stage, number, self.view)):
            loss, theta_B23 = self._step(batch)
            total_loss += loss
            if theta_B23 is not None and position >= self.bench.batches_per_epoch - HEALTH_BATCHES:
                thetas.append(theta_B23.detach())
        train_loss = total_loss.item() / self.bench.batches_per_epoch
        if not math.isfinite(train_loss):
            raise Diverged(f"the loss is {train_loss} in {self.stage} epoch {number}")
        if not bool(nn.utils.get_total_norm([weight.detach() for weight in self.model.parameters()]).isfinite()):
            raise Diverged(f"the weights are not finite after {self.stage} epoch {number}")
        health = self._examine(torch.cat(thetas)) if thetas else None
        val = None
        if evaluate:
            val, _ = self.bench.evaluate(self.evaluated, self.bench.dataset.val_I, view=self.view, undo=self.undo)
        epoch = Epoch(
            number=number,
            seconds=time.perf_counter() - start,
            train_loss=train_loss,
            health=health,
            val=val,
        )
        self.epochs.append(epoch)
        return epoch

    def _step(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor | None]:
        x_BCHW, labels_B = self.bench.undo(batch) if self.undo else batch.x_BCHW, batch.labels_B
        with self.bench.autocast():
            logits_BK, theta_B23 = self.model(x_BCHW)
        loss = F.cross_entropy(logits_BK.float(), labels_B)
        self.optimizer.step(loss, share=1.0 if self._average is None else warmup(self.num_steps))
        self.num_steps += 1
        if self._average is not None:
            self._average.update(self.num_steps)
        return loss.detach(), theta_B23

    def state_dict(self) -> dict[str, Any]:
        """Everything needed to go on after the last epoch, as tensors and plain types."""
        return {
            "model": self.model.state_dict(),
            "averaged": None if self._average is None else self._average.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "num_steps": self.num_steps,
            "epochs": [dataclasses.asdict(epoch) for epoch in self.epochs],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from where `state_dict` was taken."""
        self.model.load_state_dict(state["model"])
        if self._average is not None:
            self._average.model.load_state_dict(state["averaged"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.num_steps = state["num_steps"]
        self.epochs = [
            Epoch(
                **{
                    **row,
                    "health": row["health"] and Health(**row["health"]),
                    "val": row["val"] and Scores(**row["val"]),
                }
            )
            for row in state["epochs"]
        ]

    def _examine(self, theta_N23: torch.Tensor) -> Health:
        if not bool(theta_N23.isfinite().all()):
            raise Diverged(
                f"theta is not finite after {self.stage} epoch {self.num_steps // self.bench.batches_per_epoch}"
            )
        return examine(theta_N23)

    def measure(self) -> Joint:
        """Validation accuracy under the view and upright, and theta's health, of the weights that count.

        Raises Diverged when theta is not finite.
        """
        start = time.perf_counter()
        bench, val_I = self.bench, self.bench.dataset.val_I
        val, theta_N23 = bench.evaluate(self.evaluated, val_I, view=self.view, undo=self.undo)
        val_clean = val if self.view is None else bench.evaluate(self.evaluated, val_I, view=None)[0]
        seconds = sum(epoch.seconds for epoch in self.epochs) + time.perf_counter() - start
        return Joint(
            epochs=tuple(self.epochs),
            seconds=seconds,
            val=val,
            val_clean=val_clean,
            health=None if theta_N23 is None else self._examine(theta_N23),
        )
