"""The recover stage: the localizer alone learns to undo known warps.

A localizer trained only through the classifier's loss stays inert on most data (docs/trial.md). Regressing the inverse
of a drawn warp is cheap, needs no labels, and its error ranks localizers better than a few joint epochs do.
"""

import dataclasses
import itertools
import math
import time
from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F
from torch import nn

from lstn_search.nets.warps import corner_error_px
from lstn_search.training.workbench import Batch, Workbench

__all__ = ["MILESTONES", "Diverged", "OnMilestone", "Recovery", "alignment", "recover"]

CHECK_EVERY = 50
MILESTONES = (0.04, 0.1, 0.2, 0.5, 1.0)
"""Shares of the steps after which a picture of the training is worth having (`lstn_search.pictures.before_after`)."""

OnMilestone = Callable[[int], None]


class Diverged(Exception):
    """The loss is no longer a number; the trial ends as a recorded failure."""


@dataclasses.dataclass(kw_only=True, frozen=True, slots=True)
class Recovery:
    """What the recover stage left behind."""

    steps: int
    seconds: float
    alignment_mse: float
    """Mean squared error of theta against the exact inverse, over the validation images under the fixed view."""
    corner_error_px: float
    """The same error as the mean distance of the frame's corners, in pixels at the deployment size."""


def recover(bench: Workbench, localizer: nn.Module, *, on_milestone: OnMilestone | None = None) -> Recovery:
    """Train `localizer` in place: one-cycle Adam on the error of theta against what a perfect localizer says.

    That is the inverse of the drawn warp, composed with the pose where the object was not upright to begin with.

    The error is the task's `recover_loss`: mean square, or mean distance of the corners in units of half the side.

    Where the localizer's family cannot express the inverse, it learns the nearest warp that the family has.
    `on_milestone` is told the number of steps after each of MILESTONES.
    Raises Diverged when the loss stops being finite.
    """
    task = bench.task
    start = time.perf_counter()
    milestones = {max(1, round(share * task.recover_steps)) for share in MILESTONES}
    localizer.train()
    optimizer = torch.optim.Adam(localizer.parameters(), lr=task.recover_lr, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=task.recover_lr, total_steps=task.recover_steps)
    for step, (x_BCHW, _, target_B23) in enumerate(itertools.islice(_batches(bench), task.recover_steps), start=1):
        assert target_B23 is not None
        with bench.autocast():
            theta_B23 = localizer(x_BCHW)
        theta_B23 = theta_B23.float()
        if task.recover_loss == "mse":
            loss = F.mse_loss(theta_B23, target_B23)
        else:
            loss = corner_error_px(theta_B23, target_B23, image_size=2).mean()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        schedule.step()
        if on_milestone is not None and step in milestones:
            on_milestone(step)
        if step % CHECK_EVERY == 0 and not math.isfinite(loss.item()):
            raise Diverged(f"the recover loss is {loss.item()} at step {step}")
    mse, error_px = alignment(bench, localizer)
    if not math.isfinite(mse):
        raise Diverged(f"the alignment error is {mse} after {task.recover_steps} recover steps")
    return Recovery(
        steps=task.recover_steps, seconds=time.perf_counter() - start, alignment_mse=mse, corner_error_px=error_px
    )


def _batches(bench: Workbench) -> Iterator[Batch]:
    """Warped training batches without end."""
    for epoch in itertools.count():
        yield from bench.train_batches("recover", epoch, bench.recover_view, posed=True)


@torch.no_grad()
def alignment(bench: Workbench, localizer: nn.Module) -> tuple[float, float]:
    """(MSE on theta, mean corner error in pixels at the deployment size) on the validation images with a known pose.

    Where none has one, they are measured on the training images that do.
    """
    localizer.eval()
    squares, corners = [], []
    dataset = bench.dataset
    val_I = dataset.val_I[dataset.posed_N[dataset.val_I]]
    for x_BCHW, _, target_B23 in bench.eval_batches(val_I if len(val_I) else bench.posed_train_I, bench.frozen_view):
        assert target_B23 is not None
        with bench.autocast():
            theta_B23 = localizer(x_BCHW)
        squares.append((theta_B23.float() - target_B23).square().flatten(1).mean(dim=1))
        corners.append(corner_error_px(theta_B23.float(), target_B23, bench.task.image_size))
    return torch.cat(squares).mean().item(), torch.cat(corners).mean().item()
