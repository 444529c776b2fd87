"""Training at a constant rate, and the moving average of the weights that is measured instead of them.

A training of this kind can stop after any step, be compared with any other that did the same steps, and go on later.
"""

import copy
from typing import Generic, TypeVar

import torch
from torch import nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

__all__ = ["MovingAverage", "warmup"]

WARMUP_STEPS = 50
DECAY = 0.99

ModelT = TypeVar("ModelT", bound=nn.Module)


def warmup(num_steps: int) -> float:
    """What the learning rate is multiplied by after so many steps."""
    return min(1.0, (num_steps + 1) / WARMUP_STEPS)


class MovingAverage(Generic[ModelT]):
    """The exponential moving average of a model's weights and running statistics, as a model.

    torch's AveragedModel collects them anew at every step, which takes six times as long as averaging them.
    """

    def __init__(self, model: ModelT) -> None:
        self.model = copy.deepcopy(model)
        self._values, self._averages = _values(model), _values(self.model)

    def update(self, num_steps: int) -> None:
        """Take in the model after so many steps; after the first one the average is the model."""
        if num_steps == 1:
            for average, value in zip(self._averages, self._values, strict=True):
                average.copy_(value)
        else:
            decay = min(DECAY, num_steps / (num_steps + 9))  # a short training would be averaged with its beginning
            get_ema_multi_avg_fn(decay)(self._averages, self._values, None)


def _values(model: nn.Module) -> list[torch.Tensor]:
    tensors = (*model.parameters(), *model.buffers())
    return [tensor.detach() for tensor in tensors if tensor.is_floating_point()]
