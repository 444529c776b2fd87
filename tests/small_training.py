"""A task that a small localizer learns in seconds: images with a colour ramp, which tells how they were warped, and a
dot, whose place is the class. Turned or moved, the dot says another class, so undoing the warp is worth a lot."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import nn

from lstn_search.nets.localizer import Localizer
from lstn_search.nets.transformer import TransformedClassifier
from lstn_search.spec.arch import Arch, Head, Layer
from lstn_search.spec.ladder import Ladder
from lstn_search.spec.results import References, TrialResult
from lstn_search.spec.task import Task
from lstn_search.training.prepared import OnStage, Prepared
from lstn_search.training.recovery import RecoverTraining, Recovery
from lstn_search.training.references import load_reference
from lstn_search.training.trial import start_trial
from lstn_search.training.warm import Warm
from lstn_search.training.workbench import Workbench

__all__ = [
    *("ARCH", "IMAGES", "OTHER_ARCH", "SIZE_PX"),
    *("climb", "draw", "draw_dataset", "recover", "run_trial", "same_numbers", "small_task", "state_of"),
]

SIZE_PX = 24
CLASSES = 6
IMAGES = {"train": 60, "val": 20, "test": 10}
"""Of each class."""

ARCH = Arch(
    layers=(
        Layer(out_channels=8, kernel=3, stride=2, padding=1, norm="conv-bn-act"),
        Layer(out_channels=8, kernel=3, stride=2, padding=1, norm="conv-bn-act"),
    ),
    head=Head(pool_to=3, hidden=32),
)
OTHER_ARCH = Arch(layers=(Layer(out_channels=4, kernel=5, stride=3),), head=Head(pool_to=2, hidden=0))


def draw_dataset(root: Path) -> Path:
    """root/{train,val,test}/<class>/<number>.png"""
    rng = np.random.RandomState(0)
    for part, count in IMAGES.items():
        for label in range(CLASSES):
            folder = root / part / f"dot at {60 * label} degrees"
            folder.mkdir(parents=True)
            for number in range(count):
                Image.fromarray(draw(label, rng)).save(folder / f"{number}.png")
    return root


def draw(label: int, rng: np.random.RandomState) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """An image of a class."""
    across = (np.arange(SIZE_PX) + 0.5) / SIZE_PX * 2 - 1
    x, y = np.meshgrid(across, across)
    angle = 2 * math.pi * label / CLASSES + rng.uniform(-0.2, 0.2)
    dot = np.hypot(x - 0.4 * math.cos(angle), y - 0.4 * math.sin(angle)) < 0.3
    channels = np.stack([128 + 100 * x, 128 + 100 * y, np.where(dot, 240.0, 20.0)], axis=2)
    return np.clip(channels + rng.normal(0, 8, channels.shape), 0, 255).astype(np.uint8)


def small_task(dataset: Path, **settings: Any) -> Task:
    """The task of the session's workbench, or one like it."""
    defaults = {
        "image_size": 2 * SIZE_PX,
        "trial_size": SIZE_PX,
        "backbone": "test_byobnet",
        "view_strength": 1.3,
        "recover_steps": 160,
        "epochs": 2,
        "warm_epochs": 8,
        "batch_size": 40,
        "precision": "fp32",
        "device": "cpu",
    }
    return Task(**{"dataset": f"folder:{dataset}", **defaults, **settings})


def same_numbers(result: TrialResult) -> dict[str, Any]:
    """What has to be the same in every run: everything but the seconds."""
    columns = result.to_dict()
    columns["history"] = [{k: v for k, v in row.items() if k != "seconds"} for row in columns["history"]]
    return {name: value for name, value in columns.items() if "seconds" not in name}


def recover(bench: Workbench, localizer: Localizer) -> tuple[Localizer, Recovery]:
    """The whole recover stage of the task: the localizer that counts, and its errors."""
    training = RecoverTraining(bench, localizer)
    training.run_to(bench.task.recover_steps)
    return training.evaluated, training.measure()


def run_trial(
    bench: Workbench,
    arch: Arch | None,
    warm: Warm | None,
    *,
    oracle: bool = False,
    on_stage: OnStage = lambda stage: None,
) -> tuple[TrialResult, TransformedClassifier | None]:
    """A whole trial, and its trained model; None when it failed."""
    trial = start_trial(Prepared(bench, warm), arch, oracle=oracle, on_stage=on_stage)
    result = trial.run()
    return result, None if result.status == "failed" else trial.model


def climb(bench: Workbench, warm: Warm, cache_dir: Path) -> References:
    """Control and oracle on a ladder of one rung: the task's joint epochs."""
    prepared, ladder = Prepared(bench, warm), Ladder(epochs=(bench.task.epochs,))
    control, oracle = (
        load_reference(prepared, ladder, cache_dir, oracle=oracle, on_stage=lambda stage: None)
        for oracle in (False, True)
    )
    return References(control=control, oracle=oracle)


def state_of(module: nn.Module) -> dict[str, torch.Tensor]:
    """A copy of a module's parameters and buffers."""
    return {name: tensor.detach().clone() for name, tensor in module.state_dict().items()}
