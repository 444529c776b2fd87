"""A task made ready to train on: its workbench, and the classifier that every trial starts from."""

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

from torch import nn

from lstn_search.nets.backbones import build_backbone
from lstn_search.nets.transformer import SpatialTransformer, TransformedClassifier
from lstn_search.nets.weights import load_state
from lstn_search.spec.names import SCORED_FILLS
from lstn_search.spec.task import Task
from lstn_search.training.placing import complete_poses
from lstn_search.training.warm import Warm, warm_backbone
from lstn_search.training.workbench import Workbench

__all__ = ["OnStage", "Prepared", "prepare"]

OnStage = Callable[[str], None]
"""Told what is under way: "data", "recover", "joint 1/4", …"""


@dataclasses.dataclass(frozen=True, slots=True)
class Prepared:
    """What all trials of a task share."""

    bench: Workbench
    warm: Warm | None
    """None for the paper's protocol, which trains from scratch."""
    _control: dict[str, float] = dataclasses.field(default_factory=dict)

    @property
    def has_frames(self) -> bool:
        """Whether what a recovered localizer is measured on was warped, so that something lies outside the picture."""
        return self.bench.frozen_view is not None

    def frozen_by_fill(
        self, localizer: nn.Module | None, *, known: Mapping[str, float] = MappingProxyType({})
    ) -> dict[str, float]:
        """Accuracy through the frozen backbone under each fill, of a localizer or without one (the control).

        Those that are `known` are not measured again.
        """
        if localizer is None and self._control:
            return self._control
        assert self.warm is not None
        bench = self.bench
        transformer = None if localizer is None else SpatialTransformer(localizer)
        model = TransformedClassifier(transformer, self.warm.backbone(bench))
        scores = {
            fill: known[fill]
            if fill in known
            else bench.evaluate(model, bench.dataset.val_I, view=bench.frozen_view, fill=fill)[0].top1
            for fill in SCORED_FILLS
        }
        if localizer is None:
            self._control.update(scores)
        return scores


def prepare(task: Task, cache_dir: Path, on_stage: OnStage) -> Prepared:
    """Decode the images, place those without a pose, and train the warm backbone: what the cache does not hold.

    A backbone nobody offers, or that cannot take images of the trial's size, is refused before images are decoded; so
    is a file that holds no weights.
    Raises LstnError.
    """
    on_stage("data")
    build_backbone(task.backbone, num_classes=2, image_size=task.trial_size, cache_dir=cache_dir)
    if task.backbone_weights is not None:
        load_state(Path(task.backbone_weights))
    bench = Workbench(task, cache_dir=cache_dir, progress=False)
    if task.protocol == "paper":
        return Prepared(bench, None)

    complete_poses(bench, cache_dir, on_stage)

    def on_epoch(done: int) -> None:
        on_stage(f"backbone {task.backbone}: epoch {min(done + 1, task.warm_epochs)}/{task.warm_epochs}")

    on_epoch(0)
    return Prepared(bench, warm_backbone(bench, cache_dir, on_epoch=on_epoch))
