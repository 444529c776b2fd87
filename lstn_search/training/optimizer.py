"""What moves the weights: Muon on matrices, Adam on all else.

Muon is momentum whose step on a matrix is made orthogonal, so that no direction is left behind. After Keller Jordan
(https://kellerjordan.github.io/posts/muon/), with steps as large as Adam's (Liu et al. 2025, arXiv 2502.16982), so that
one learning rate serves both. It needs half of Adam's steps, or fewer (docs/trial.md). torch's own takes no
convolutions; timm's computes in bfloat16, and takes 1.6 times as long on a CPU without it.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import nn

__all__ = ["Muon", "Optimizer", "orthogonal"]

MOMENTUM = 0.95
COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""Of an odd polynomial that, applied five times, moves every singular value of (0, 1] near 1."""


class Muon(torch.optim.Optimizer):
    """For weights that are matrices: of linear layers, and of convolutions as out x (in x height x width)."""

    def __init__(self, params: Iterable[Any], *, lr: float = 0.0) -> None:
        super().__init__(params, {"lr": lr})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> None:  # type: ignore[override]
        """Along the momentum of each weight, made orthogonal; the root mean square of a step is 0.2 of the rate."""
        assert closure is None
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is None:
                    continue
                state = self.state[weight]
                if not state:
                    state["momentum"] = torch.zeros_like(weight)
                state["momentum"].lerp_(weight.grad, 1 - MOMENTUM)
                direction_MN = orthogonal(weight.grad.lerp(state["momentum"], MOMENTUM).flatten(1))
                size = 0.2 * max(direction_MN.shape) ** 0.5
                weight.add_(direction_MN.view(weight.shape), alpha=-size * group["lr"])


def orthogonal(matrix_MN: torch.Tensor) -> torch.Tensor:
    """About the nearest matrix whose rows, or columns if these are fewer, are orthonormal (after Newton and Schulz)."""
    a, b, c = COEFFICIENTS
    is_tall = matrix_MN.shape[0] > matrix_MN.shape[1]
    x: torch.Tensor = matrix_MN.T if is_tall else matrix_MN
    x = x / (x.norm() + 1e-7)
    for _ in range(5):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.T.contiguous() if is_tall else x


class Optimizer:
    """Muon and Adam for the weights of modules, each module at a rate of its own.

    Adam's are biases, norms, depthwise filters, and the last layer of a module, whose outputs are the answer.
    """

    def __init__(self, modules: Mapping[nn.Module, float], *, muon: bool = True) -> None:
        """`modules`: their learning rates. Without `muon` all weights are Adam's."""
        matrices = {module: _matrices(module) if muon else [] for module in modules}
        others = {module: _without(module.parameters(), matrices[module]) for module in modules}
        self.adam = torch.optim.Adam([{"params": others[m], "lr": lr} for m, lr in modules.items()], fused=True)
        self.muon = Muon([{"params": matrices[m], "lr": lr} for m, lr in modules.items()])
        self.rates = [(group, group["lr"]) for part in (self.adam, self.muon) for group in part.param_groups]
        """The groups of weights, and the rate of each."""

    def step(self, loss: torch.Tensor, *, share: float = 1.0) -> None:
        """One step down the gradient of `loss`, at a share of the rates."""
        for group, lr in self.rates:
            group["lr"] = share * lr
        self.adam.zero_grad(set_to_none=True)
        self.muon.zero_grad(set_to_none=True)
        loss.backward()
        self.muon.step()
        self.adam.step()

    def state_dict(self) -> dict[str, Any]:
        """Everything needed to go on."""
        return {"adam": self.adam.state_dict(), "muon": self.muon.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from where `state_dict` was taken."""
        self.adam.load_state_dict(state["adam"])
        self.muon.load_state_dict(state["muon"])
        self.rates = [
            (group, lr)
            for group, (_, lr) in zip([*self.adam.param_groups, *self.muon.param_groups], self.rates, strict=True)
        ]


def _matrices(module: nn.Module) -> list[nn.Parameter]:
    """The weights of its dense convolutions and linear layers, but for the last one."""
    layers = [layer for layer in module.modules() if isinstance(layer, nn.Conv2d | nn.Linear)]
    dense = [layer for layer in layers[:-1] if isinstance(layer, nn.Linear) or layer.groups == 1]
    return [weight for layer in dense for weight in layer.parameters(recurse=False) if weight is layer.weight]


def _without(params: Iterator[nn.Parameter], left_out: list[nn.Parameter]) -> list[nn.Parameter]:
    return [param for param in params if not any(param is other for other in left_out)]
