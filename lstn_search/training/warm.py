"""The warm-started backbone: trained once per task on upright images, without a transformer, and cached by content.

A backbone that comes with weights but for its head is trained at a tenth of the rate, and one that comes with all its
weights not at all (`lstn_search.training.classifier`).

Every trial starts its classifier from these weights, and scores its recovered localizer through them while they are
still frozen. The cache key holds everything the weights depend on, so a stale file is never used.
"""

import dataclasses
import json
import logging
import time
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

from lstn_search.atomic import write_atomically
from lstn_search.errors import SettingError
from lstn_search.nets.transformer import TransformedClassifier
from lstn_search.nets.weights import fill, load_weights, save_weights
from lstn_search.spec.reading import read_as, read_json
from lstn_search.spec.seeding import seed_of
from lstn_search.spec.task import RECIPE_VERSION
from lstn_search.training.memo import locked, writing_to
from lstn_search.training.precision import settle_precision
from lstn_search.training.workbench import Scores, Workbench

__all__ = ["Warm", "load_warm", "warm_backbone", "warm_key"]

PEAK_LR = 3e-3
FINE_TUNING = 0.1
"""Of that rate, from weights that were brought: at the whole of it they are soon forgotten."""
AT_CHANCE = 1.2
"""Times chance below which a classifier that came with all its weights is taken for a mistake."""

_log = logging.getLogger(__name__)


@dataclasses.dataclass(kw_only=True, frozen=True, slots=True)
class Warm:
    """A backbone trained on upright images."""

    weights: dict[str, torch.Tensor]
    val_clean: Scores
    """Of the upright validation images; under the view it is the control's `frozen_top1`."""
    seconds: float
    key: str

    def backbone(self, bench: Workbench) -> nn.Module:
        """A fresh module with these weights."""
        backbone = bench.build_backbone()
        what = f"the cached backbone {self.key[:12]} of {bench.task.backbone}"
        fill(backbone, self.weights, what=what, cure="delete it from the cache")
        return backbone


@dataclasses.dataclass(kw_only=True, frozen=True, slots=True)
class _Facts:
    """What is kept beside the weights."""

    val_clean: Scores
    seconds: float


def warm_key(bench: Workbench) -> str:
    """The name of the warm backbone: everything it depends on."""
    return bench.task.key(
        "warm",
        fingerprint=bench.fingerprint,
        device=bench.device.type,
        autocast=bench.use_autocast,
        recipe=RECIPE_VERSION,
        **bench.code_in_keys,
    )


def load_warm(bench: Workbench, cache_dir: Path) -> Warm | None:
    """The warm backbone from the cache, or None when it has not been trained yet (or its file is damaged)."""
    key = warm_key(bench)
    facts_file, weights_file = _files(cache_dir, key)
    if not facts_file.exists():
        return None
    try:
        facts = read_as(_Facts, read_json(facts_file))
        warm = Warm(weights=load_weights(weights_file), val_clean=facts.val_clean, seconds=facts.seconds, key=key)
        warm.backbone(bench)  # refuses what does not fit
        return warm
    except (OSError, ValueError) as error:  # ValueError: also a CheckpointError
        _log.warning("the cached backbone %s cannot be read (%s); it is trained again", key[:12], error)
        return None


def warm_backbone(bench: Workbench, cache_dir: Path, *, on_epoch: Callable[[int], None] | None = None) -> Warm:
    """The task's warm backbone, from the cache or trained now; settles the workbench's precision first.

    Raises SettingError when its training diverges, DataError when the cache cannot be written.
    """
    settle_precision(bench, cache_dir)
    facts_file, weights_file = _files(cache_dir, warm_key(bench))
    with locked(facts_file.parent, warm_key(bench)):
        warm = load_warm(bench, cache_dir)
        if warm is None:
            warm = _train(bench, on_epoch)
            facts = dataclasses.asdict(dataclasses.replace(warm, weights={}))
            with writing_to(facts_file.parent):
                save_weights(weights_file, warm.weights)
                write_atomically(facts_file, json.dumps(facts, indent=2).encode())
    return warm


def _train(bench: Workbench, on_epoch: Callable[[int], None] | None) -> Warm:
    task = bench.task
    started = time.perf_counter()
    backbone, start = bench.start_backbone()
    epochs = 0 if start == "complete" else task.warm_epochs
    peak_lr = PEAK_LR if start == "drawn" else PEAK_LR * FINE_TUNING
    num_steps = max(epochs, 1) * (len(bench.posed_train_I) // task.batch_size)
    optimizer = torch.optim.Adam(backbone.parameters(), lr=peak_lr, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=peak_lr, total_steps=num_steps)
    for epoch in range(1, epochs + 1):
        torch.manual_seed(seed_of(task.seed, "warm", "layers", epoch))
        backbone.train()
        for batch in bench.train_batches("warm", epoch, None, cut_out=bench.is_posed):
            with bench.autocast():
                logits_BK = backbone(batch.x_BCHW)
            loss = F.cross_entropy(logits_BK.float(), batch.labels_B)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            schedule.step()
        if not bool(torch.isfinite(loss)):
            raise SettingError(
                f"backbone {task.backbone!r} diverged in epoch {epoch} of its own training (loss {loss.item()}); "
                "choose another --backbone"
            )
        if on_epoch is not None:
            on_epoch(epoch)
    model = TransformedClassifier(None, backbone)
    val_clean = bench.evaluate(model, bench.dataset.val_I, view=None, undo=bench.is_posed)[0]
    if start == "complete" and val_clean.top1 <= AT_CHANCE * 100 / bench.dataset.num_classes:
        raise SettingError(
            f"the weights of backbone {task.backbone!r} name {val_clean.top1:.1f} % of the upright validation images "
            "rightly, as chance does; are its classes in the order of their names, and --mean and --std as it was "
            "trained with?"
        )
    return Warm(
        weights=backbone.state_dict(),
        val_clean=val_clean,
        seconds=time.perf_counter() - started,
        key=warm_key(bench),
    )


def _files(cache_dir: Path, key: str) -> tuple[Path, Path]:
    folder = cache_dir / "backbones"
    return folder / f"{key[:32]}.json", folder / f"{key[:32]}.safetensors"
