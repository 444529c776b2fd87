"""The precision of training: bfloat16 autocast or float32, as the task says or as is faster here."""

import time
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

from lstn_search.spec.reading import read_as
from lstn_search.training.memo import remembered
from lstn_search.training.workbench import Workbench

__all__ = ["choose_precision", "settle_precision"]

TIMED_STEPS = 5


def settle_precision(bench: Workbench, cache_dir: Path) -> None:
    """Turn the task's "auto" into the faster of the two on this machine, measured once and kept in the cache."""
    if bench.task.precision != "auto":
        return
    bench.use_autocast = remembered(
        cache_dir / "precision",
        bench.task.key("precision", device=bench.device.type, **bench.code_in_keys),
        lambda: choose_precision(bench, bench.build_backbone()),
        write=lambda use_autocast: {"use_autocast": use_autocast},
        read=lambda data: read_as(bool, data["use_autocast"]),
    )


def choose_precision(bench: Workbench, backbone: nn.Module) -> bool:
    """Whether bfloat16 autocast makes training steps of `backbone` faster here, by timing a few.

    It is not chosen where its gradients are not finite, as happens on maps of a pixel or two.
    """
    if bench.device.type == "mps" or (bench.device.type == "cuda" and not torch.cuda.is_bf16_supported()):
        return False
    x_BCHW, labels_B, *_ = next(bench.train_batches("precision", 0, None))
    kept = {name: tensor.clone() for name, tensor in backbone.state_dict().items()}
    seconds: dict[bool, float] = {}
    finite: dict[bool, bool] = {}
    for use_autocast in (False, True, False, True):
        bench.use_autocast = use_autocast
        for step in range(TIMED_STEPS + 1):
            if step == 1:  # the first one pays for set-up
                _synchronize(bench.device)
                start = time.perf_counter()
            with bench.autocast():
                logits_BK = backbone(x_BCHW)
            F.cross_entropy(logits_BK.float(), labels_B).backward()
        _synchronize(bench.device)
        spent = time.perf_counter() - start
        seconds[use_autocast] = min(spent, seconds.get(use_autocast, spent))
        gradients = [p.grad for p in backbone.parameters() if p.grad is not None]
        finite[use_autocast] = all(bool(gradient.isfinite().all()) for gradient in gradients)
        backbone.zero_grad(set_to_none=True)
    backbone.load_state_dict(kept)
    return seconds[True] < seconds[False] and finite[True]


def _synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
