"""The classifier of a task, wherever it comes from: how it is built, what it starts from, and what tells it apart.

    by name                   drawn; with --pretrained from the weights that its library offers, but for the head
    module:function           as the function makes it; it brings weights where most of them are alike for every seed
    saved:DIGEST              as it was saved, with all its weights
    with --backbone-weights   from the file; where that holds all weights, with all of them

What comes with all its weights is the warm classifier, and is not trained alone; what comes with some is trained alone
at a tenth of the rate; what is drawn, as ever.
"""

import functools
import hashlib
from pathlib import Path
from typing import Literal

import torch
from torch import nn

from lstn_search.errors import CheckpointError
from lstn_search.nets.backbones import build_backbone, build_pretrained, offered_for
from lstn_search.nets.brought import Channels, brings_weights, content_of, normalisation_of
from lstn_search.nets.weights import fit, load_state
from lstn_search.spec.names import SAVED_PREFIX
from lstn_search.spec.task import Task, is_own

__all__ = ["Classifier", "Start"]

Start = Literal["drawn", "brought", "complete"]
"""A classifier's weights before it is trained: random; those of another task, but for the head; all of them."""

DEFAULT: Channels = (0.5, 0.5, 0.5)


class Classifier:
    """The classifier of a task with so many classes."""

    def __init__(self, task: Task, num_classes: int, cache_dir: Path) -> None:
        self.task, self.num_classes, self.cache_dir = task, num_classes, cache_dir

    def build(self) -> nn.Module:
        """A module, its weights drawn from the global generator unless its own code says otherwise.

        Raises BackboneError when there is no such classifier, or it does not take the task's images.
        """
        task = self.task
        return build_backbone(
            task.backbone, num_classes=self.num_classes, image_size=task.trial_size, cache_dir=self.cache_dir
        )

    def start(self) -> tuple[nn.Module, Start]:
        """A module with the weights to start from. Raises BackboneError or CheckpointError when they cannot be had."""
        task = self.task
        if task.pretrained:
            model = build_pretrained(task.backbone, num_classes=self.num_classes, image_size=task.trial_size)
            return model, "brought"
        model = self.build()
        if task.backbone_weights is not None:
            return model, "brought" if self._fit(model) else "complete"
        if self._is_saved:
            return model, "complete"
        return model, "brought" if is_own(task.backbone) and brings_weights(*self._two) else "drawn"

    @functools.cached_property
    def digest(self) -> str:
        """What tells it apart beside its name: code, weights, file; empty where the name says all."""
        task, parts = self.task, []
        if is_own(task.backbone) and not self._is_saved:
            one, two = self._two
            parts.append(content_of(one, other=two, name=task.backbone))
        if task.pretrained and (offered := offered_for(task.backbone)) is not None:
            parts.append(offered.name)
        if task.backbone_weights is not None:
            parts.append(file_digest(Path(task.backbone_weights)))
        return " ".join(parts)

    @functools.cached_property
    def normalisation(self) -> tuple[Channels, Channels]:
        """Mean and deviation of pixels in [0, 1]: as the task says, else as the weights want it, else 0.5."""
        task = self.task
        wanted: tuple[Channels, Channels] | None = None
        if is_own(task.backbone):
            wanted = normalisation_of(getattr(self._two[0], "pretrained_cfg", {}))
        elif task.pretrained or task.backbone_weights is not None:
            offered = offered_for(task.backbone)
            wanted = None if offered is None else offered.normalisation
        mean, std = task.channels
        wanted_mean, wanted_std = wanted or (DEFAULT, DEFAULT)
        return mean or wanted_mean, std or wanted_std

    @property
    def note(self) -> str:
        """A line on what it starts from, where that is to be said; empty: nothing is."""
        task = self.task
        if task.backbone_weights is None:
            return ""
        left = self._fit(self.build())
        how = "are the warm classifier, which is not trained alone"
        if left:
            how = f"fit but for {', '.join(left)}: these are drawn anew, and the classifier is trained alone from there"
        mean = ", ".join(f"{value:g}" for value in self.normalisation[0])
        return (
            f"the weights in {task.backbone_weights} {how}; pixels have the mean {mean} (--mean and --std say others)"
        )

    @functools.cached_property
    def _two(self) -> tuple[nn.Module, nn.Module]:
        """Made from two seeds: what differs was drawn."""
        made = []
        with torch.random.fork_rng(devices=[]):
            for seed in (0, 1):
                torch.manual_seed(seed)
                made.append(self.build())
        return made[0], made[1]

    @functools.cached_property
    def _weights(self) -> dict[str, torch.Tensor]:
        return load_state(Path(str(self.task.backbone_weights)))

    @property
    def _is_saved(self) -> bool:
        return self.task.backbone.startswith(SAVED_PREFIX)

    def _fit(self, model: nn.Module) -> tuple[str, ...]:
        path = str(self.task.backbone_weights)
        what = f"the weights in {path}"
        return fit(
            model, self._weights, what=what, cure=f"are they of {self.task.backbone}? name theirs with --backbone"
        )


def file_digest(path: Path) -> str:
    """SHA-256, in hex, over a file. Raises CheckpointError when it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror}); give the path of a weights file") from None
