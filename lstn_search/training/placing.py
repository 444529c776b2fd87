"""Poses for the images that have none: a localizer that learned from the others places them.

It recovers on the images whose pose is known, says where the objects of the rest are, learns from all of them, and goes
round again while it gets better at the known poses of validation images (self-training). What it says of an image is
the median over several drawn warps of it, each undone.

Once a task, before anything else is trained: classifier, references and all architectures then share the same poses.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from lstn_search.data.views import View
from lstn_search.errors import SettingError
from lstn_search.nets.localizer import Localizer
from lstn_search.nets.warps import compose
from lstn_search.spec.arch import SOFT_ARGMAX, Arch, Head, Layer
from lstn_search.spec.reading import read_as
from lstn_search.spec.task import RECIPE_VERSION
from lstn_search.training.memo import remembered
from lstn_search.training.precision import settle_precision
from lstn_search.training.recovery import Diverged, RecoverTraining, build_localizer
from lstn_search.training.workbench import Workbench

__all__ = ["complete_poses"]

PLACER = Arch(
    layers=(
        Layer(out_channels=16, kernel=3, stride=2, padding=1, norm="conv-bn-act"),
        Layer(out_channels=32, kernel=3, stride=2, padding=1, norm="conv-bn-act"),
        *[Layer(out_channels=32, kernel=3, padding=1, norm="conv-bn-act", skip=1)] * 3,
    ),
    head=Head(hidden=32, pool_to=SOFT_ARGMAX),
    look=64,
)
"""The net that places: no search weighs its cost, as it is trained once a task."""
STRENGTH = 0.6
"""Of the view that is drawn while it recovers: few images need more variety than many (docs/trial.md)."""
MAX_ROUNDS = 4
NUM_WARPS = 8
"""Over which what is said of an image is the median."""


def complete_poses(bench: Workbench, cache_dir: Path, on_stage: Callable[[str], None]) -> None:
    """Give the workbench a pose for every training image, from the cache or found now.

    Nothing is done where all are known. Raises DataError when the cache cannot be written, and
    SettingError when training diverges.
    """
    missing_I = bench.unposed_train_I
    if not len(missing_I):
        return
    settle_precision(bench, cache_dir)
    task = bench.task
    key = task.key(
        "verification", placed=[PLACER.digest, STRENGTH], seed=task.seed, recipe=RECIPE_VERSION,
        device=bench.device.type, fingerprint=bench.fingerprint, autocast=bench.use_autocast,
        **bench.code_in_keys,
    )  # fmt: skip
    pose_I23 = remembered(
        cache_dir / "poses",
        key,
        lambda: _place(bench, missing_I, on_stage),
        write=lambda found_I23: {"poses": found_I23.tolist()},
        read=lambda data: _read(data, len(missing_I)),
    )
    bench.add_poses(missing_I, pose_I23, key)


def _read(data: dict[str, Any], num_images: int) -> torch.Tensor:
    pose_I23 = torch.tensor(read_as(list[list[list[float]]], data["poses"]))
    if pose_I23.shape != (num_images, 2, 3):
        raise ValueError(f"poses of the shape {tuple(pose_I23.shape)}")
    return pose_I23


def _place(bench: Workbench, missing_I: torch.Tensor, on_stage: Callable[[str], None]) -> torch.Tensor:
    """The poses of these images (I x 2 x 3) by the localizer that is best at the known ones of validation images."""
    view = bench.view or View.named("affine", STRENGTH)
    best_px, best_I23 = float("inf"), torch.empty(0)
    for number in range(1, MAX_ROUNDS + 1):
        on_stage(f"placing {len(missing_I):,} images without a pose: round {number}")
        training = RecoverTraining(bench, build_localizer(bench, PLACER), view=view)
        try:
            training.run_to(bench.task.recover_steps)
            error_px = training.measure().corner_error_px
        except Diverged as error:
            raise SettingError(
                f"the localizer that places images without a pose diverged ({error}); give poses for more of them, "
                f"or another --seed, or from Python a recover_lr below {bench.task.recover_lr:g}"
            ) from None
        if error_px >= best_px:
            break
        best_px, best_I23 = error_px, _say(bench, training.evaluated, missing_I)
        bench.add_poses(missing_I, best_I23)
    return best_I23


@torch.no_grad()
def _say(bench: Workbench, localizer: Localizer, indices_I: torch.Tensor) -> torch.Tensor:
    """Where a localizer finds the objects: the median over the images as they are and drawn warps of them."""
    localizer.eval()
    said = []
    for number in range(NUM_WARPS):
        view = bench.recover_view if number else None
        thetas = []
        for batch in bench.eval_batches(indices_I, view, draw=number):
            with bench.autocast():
                theta_B23 = localizer(batch.x_BCHW).float()
            thetas.append(theta_B23 if batch.drawn_B23 is None else compose(batch.drawn_B23, theta_B23))
        said.append(torch.cat(thetas))
    return torch.stack(said).median(dim=0).values.cpu()
