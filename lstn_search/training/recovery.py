"""The recover stage: the localizer alone learns to undo known warps.

A localizer trained only through the classifier's loss stays inert on most data (docs/trial.md). Regressing the inverse
of a drawn warp is cheap and needs no labels. As in the joint stage the rate is constant, and a moving average of the
weights is what counts.
"""

import dataclasses
import math
import time
from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from lstn_search.data.views import View
from lstn_search.nets.localizer import Localizer
from lstn_search.nets.warps import corner_error_px
from lstn_search.spec.arch import Arch
from lstn_search.spec.seeding import seed_of
from lstn_search.training.averaging import MovingAverage, warmup
from lstn_search.training.optimizer import Optimizer
from lstn_search.training.workbench import Batch, Workbench

__all__ = ["MILESTONES", "Diverged", "OnMilestone", "RecoverTraining", "Recovery", "alignment", "build_localizer"]

CHECK_EVERY = 50
MILESTONES = (0.04, 0.1, 0.2, 0.5, 1.0)
"""Shares of the steps after which a picture of the training is worth having (`lstn_search.pictures.before_after`)."""

OnMilestone = Callable[[int], None]
"""Told the number of steps."""


class Diverged(Exception):
    """The loss is no longer a number; the trial ends as a recorded failure."""


@dataclasses.dataclass(kw_only=True, frozen=True, slots=True)
class Recovery:
    """What the recover stage has come to."""

    steps: int
    seconds: float
    alignment_mse: float
    """Mean squared error of theta against the exact inverse, over the validation images under the fixed view."""
    corner_error_px: float
    """The same error as the mean distance of the frame's corners, in pixels at the deployment size."""


def build_localizer(bench: Workbench, arch: Arch) -> Localizer:
    """A fresh localizer at the trial's image size, on the task's device; the same weights for equal seeds."""
    torch.manual_seed(seed_of(bench.task.seed, "localizer"))
    localizer = Localizer(arch, bench.task.trial_size)
    bench.place(localizer)
    return localizer


class RecoverTraining:
    """A training that runs to a number of steps and can stop, be measured and go on after any.

    At a constant rate, after a warm-up, on the error of theta against what a perfect localizer says: the inverse of the
    drawn warp, composed with the pose where the object was not upright to begin with. Where the localizer's family
    cannot express that, it learns the nearest warp that the family has. The error is the task's `recover_loss`: mean
    square, or mean distance of the corners in units of half the side. `view`: what is drawn, if not the bench's.
    """

    def __init__(self, bench: Workbench, localizer: Localizer, *, view: View | None = None) -> None:
        self.bench, self.localizer, self.view = bench, localizer, view or bench.recover_view
        self.optimizer = Optimizer({localizer: bench.task.recover_lr})
        self.num_steps, self.seconds = 0, 0.0
        self._average = MovingAverage(localizer)
        self._batches: Iterator[Batch] | None = None

    @property
    def evaluated(self) -> Localizer:
        """The weights that count: the moving average."""
        return self._average.model

    def run_to(self, steps: int, *, on_milestone: OnMilestone | None = None) -> None:
        """Train up to so many steps in all; `on_milestone` is told the number of steps after each of MILESTONES.

        Raises Diverged when the loss stops being finite.
        """
        start, task = time.perf_counter(), self.bench.task
        milestones = {max(1, round(share * task.recover_steps)) for share in MILESTONES}
        self.localizer.train()
        if self._batches is None:
            self._batches = self._batches_after(self.num_steps)
        while self.num_steps < steps:
            batch = next(self._batches)
            with self.bench.autocast():
                theta_B23 = self.localizer(batch.x_BCHW)
            loss = _loss(task.recover_loss, theta_B23.float(), batch.target_B23)
            self.optimizer.step(loss, share=warmup(self.num_steps))
            self.num_steps += 1
            self._average.update(self.num_steps)
            if on_milestone is not None and self.num_steps in milestones:
                on_milestone(self.num_steps)
            if self.num_steps % CHECK_EVERY == 0 and not math.isfinite(loss.item()):
                raise Diverged(f"the recover loss is {loss.item()} at step {self.num_steps}")
        self.seconds += time.perf_counter() - start

    def _batches_after(self, steps: int) -> Iterator[Batch]:
        """Warped training batches without end, from the one that follows so many steps."""
        epoch, done = divmod(steps, len(self.bench.posed_train_I) // self.bench.task.batch_size)
        while True:
            yield from self.bench.train_batches("recover", epoch, self.view, posed=True, skip=done)
            epoch, done = epoch + 1, 0

    def measure(self) -> Recovery:
        """Both errors of the weights that count. Raises Diverged when they are not finite."""
        start = time.perf_counter()
        mse, error_px = alignment(self.bench, self.evaluated)
        if not math.isfinite(mse):
            raise Diverged(f"the alignment error is {mse} after {self.num_steps} recover steps")
        seconds = self.seconds + time.perf_counter() - start
        return Recovery(steps=self.num_steps, seconds=seconds, alignment_mse=mse, corner_error_px=error_px)

    def state_dict(self) -> dict[str, Any]:
        """Everything needed to go on, as tensors and plain types."""
        return {
            "model": self.localizer.state_dict(),
            "averaged": self.evaluated.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "num_steps": self.num_steps,
            "seconds": self.seconds,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from where `state_dict` was taken."""
        self.localizer.load_state_dict(state["model"])
        self.evaluated.load_state_dict(state["averaged"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.num_steps, self.seconds, self._batches = state["num_steps"], state["seconds"], None


def _loss(name: str, theta_B23: torch.Tensor, target_B23: torch.Tensor | None) -> torch.Tensor:
    assert target_B23 is not None
    if name == "mse":
        return F.mse_loss(theta_B23, target_B23)
    return corner_error_px(theta_B23, target_B23, image_size=2).mean()


@torch.no_grad()
def alignment(bench: Workbench, localizer: nn.Module) -> tuple[float, float]:
    """(MSE on theta, mean corner error in pixels at the deployment size) on the validation images with a known pose.

    Where none has one, they are measured on the training images whose pose is known.
    """
    localizer.eval()
    squares, corners = [], []
    dataset = bench.dataset
    known_I = next(part_I[dataset.posed_N[part_I]] for part_I in (dataset.val_I, dataset.train_I)
                   if dataset.posed_N[part_I].any())  # fmt: skip
    for batch in bench.eval_batches(known_I, bench.frozen_view):
        target_B23 = batch.target_B23
        assert target_B23 is not None
        with bench.autocast():
            theta_B23 = localizer(batch.x_BCHW)
        squares.append((theta_B23.float() - target_B23).square().flatten(1).mean(dim=1))
        corners.append(corner_error_px(theta_B23.float(), target_B23, bench.task.image_size))
    return torch.cat(squares).mean().item(), torch.cat(corners).mean().item()
