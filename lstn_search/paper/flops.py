"""What a backbone costs in the paper's convention: parameters and GFLOPs, from shapes alone.

The paper's numbers come from `thop` as it was in 2021, run on one image in evaluation mode. What it counts for each
module, with E the number of elements of the module's output:

    Conv2d              E * C_in/groups * k*k, plus E for the bias where there is one
    BatchNorm2d         2 * E
    Linear              E * in_features, the bias free
    AvgPool2d           E
    AdaptiveAvgPool2d   E * (window + 1), a window of floor(in / out) on each side

All else is free: activations, max-pooling, dropout, and every operation that is a function and not a module - sums,
products, concatenations, the global pooling of a DenseNet. `lstn_search.spec.cost` is the same convention for
localizers.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

__all__ = ["count_flops", "count_params"]


def count_params(model: nn.Module) -> int:
    """Every parameter of `model`; the running statistics of batch norms are none."""
    return sum(parameter.numel() for parameter in model.parameters())


@torch.no_grad()
def count_flops(model: nn.Module, *, image_size: int) -> int:
    """FLOPs of one RGB image of `image_size` x `image_size` pixels through `model`, which must live on "meta".

    Only shapes are computed, so ResNet-152 takes as long as its 500 modules take to be called.
    """
    total = 0

    def add(module: nn.Module, inputs: Sequence[Any], output: Any) -> None:
        nonlocal total
        total += _flops_of(module, inputs[0], output)

    hooks = [module.register_forward_hook(add) for module in model.modules()]
    was_training = model.training
    try:
        model.eval()
        model(torch.empty(1, 3, image_size, image_size, device="meta"))
    finally:
        model.train(was_training)
        for hook in hooks:
            hook.remove()
    return total


def _flops_of(module: nn.Module, x: Any, y: Any) -> int:
    match module:
        case nn.Conv2d():
            per_output = module.in_channels // module.groups * math.prod(module.kernel_size)
            return int(y.numel()) * (per_output + (module.bias is not None))
        case nn.BatchNorm2d():
            return 2 * int(y.numel())
        case nn.Linear():
            return int(y.numel()) * module.in_features
        case nn.AvgPool2d():
            return int(y.numel())
        case nn.AdaptiveAvgPool2d():
            window = int(x.shape[-2] // y.shape[-2]) * int(x.shape[-1] // y.shape[-1])
            return int(y.numel()) * (window + 1)
    return 0
