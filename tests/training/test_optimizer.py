"""Muon against timm's, and who moves which weight."""

import functools
import math

import pytest
import timm.optim.muon
import torch
from torch import nn

from lstn_search.training.optimizer import Muon, Optimizer, orthogonal


def model() -> nn.Sequential:
    """A convolution, a depthwise one, a norm, and two linear layers."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3),
        nn.Conv2d(8, 8, 3, groups=8),
        nn.BatchNorm2d(8),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(8, 5),
        nn.Linear(5, 6),
    )


def loss_of(module: nn.Module, step: int) -> torch.Tensor:
    x_BCHW = torch.randn(4, 3, 9, 9, generator=torch.Generator().manual_seed(step))
    return (module(x_BCHW) - 1).square().mean()  # type: ignore[no-any-return]


@pytest.mark.parametrize("shape", [(6, 40), (40, 6), (12, 12)])
def test_orthogonal_keeps_the_singular_vectors_and_levels_the_values(shape: tuple[int, int]) -> None:
    matrix_MN = torch.randn(shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    u, _, vh = torch.linalg.svd(matrix_MN, full_matrices=False)
    values = u.T @ orthogonal(matrix_MN) @ vh.T
    torch.testing.assert_close(values, values.diag().diag(), rtol=0, atol=1e-6)
    assert values.diag().min() > 0.5 and values.diag().max() < 1.3


def test_a_gradient_of_zeros_moves_nothing() -> None:
    assert orthogonal(torch.zeros(3, 5)).count_nonzero() == 0


def test_its_steps_are_those_of_timm(monkeypatch: pytest.MonkeyPatch) -> None:
    exact = functools.partial(timm.optim.muon.zeropower_via_newtonschulz, dtype=torch.float32)
    monkeypatch.setattr(timm.optim.muon, "zeropower_via_newtonschulz", exact)
    ours, theirs = model().to(memory_format=torch.channels_last), model()  # type: ignore[call-overload]
    weights = [[module[0].weight, module[5].weight, module[6].weight] for module in (ours, theirs)]
    optimizers = [
        Muon(weights[0], lr=0.01),
        timm.optim.Muon(weights[1], lr=0.01, momentum=0.95, nesterov=True, ns_coefficients="original"),
    ]
    for step in range(5):
        for module, optimizer in zip((ours, theirs), optimizers, strict=True):
            module.zero_grad()
            loss_of(module, step).backward()
            optimizer.step()
    for one, other, start in zip(*weights, [model()[n].weight for n in (0, 5, 6)], strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-5)
        assert (one - start).abs().max() > 0.003


def test_every_weight_is_moved_by_one_of_the_two() -> None:
    module = model()
    optimizer = Optimizer({module: 0.1})
    names = {id(weight): name for name, weight in module.named_parameters()}
    of = {
        kind: [names[id(weight)] for group in part.param_groups for weight in group["params"]]
        for kind, part in {"muon": optimizer.muon, "adam": optimizer.adam}.items()
    }
    assert of["muon"] == ["0.weight", "5.weight"]
    assert sorted(of["muon"] + of["adam"]) == sorted(names.values())
    plain = Optimizer({module: 0.1}, muon=False)
    assert [names[id(weight)] for weight in plain.adam.param_groups[0]["params"]] == list(names.values())
    assert plain.muon.param_groups[0]["params"] == []


def test_modules_move_at_their_own_rates_and_at_a_share_of_them() -> None:
    first, second = model(), model()
    optimizer = Optimizer({first: 0.1, second: 0.02})
    optimizer.step(loss_of(first, 0) + loss_of(second, 0), share=0.5)
    for module, rate in ((first, 0.05), (second, 0.01)):
        moved = (module[6].bias - model()[6].bias).detach()
        torch.testing.assert_close(moved.abs(), torch.full((6,), rate), rtol=1e-3, atol=0)  # Adam's first step
        by_hand = model()
        loss_of(by_hand, 0).backward()
        direction_MN = orthogonal(by_hand[0].weight.grad.flatten(1)).view(8, 3, 3, 3)
        moved = (module[0].weight - by_hand[0].weight).detach()
        torch.testing.assert_close(moved, -0.2 * math.sqrt(27) * rate * direction_MN, rtol=1e-3, atol=1e-6)


def test_it_goes_on_from_its_state() -> None:
    whole, half = model(), model()
    optimizer = Optimizer({whole: 0.01})
    for step in range(4):
        optimizer.step(loss_of(whole, step))
    first = Optimizer({half: 0.01})
    for step in range(2):
        first.step(loss_of(half, step))
    second = Optimizer({half: 0.01})
    second.load_state_dict(first.state_dict())
    for step in range(2, 4):
        second.step(loss_of(half, step))
    assert all(torch.equal(one, other) for one, other in zip(whole.parameters(), half.parameters(), strict=True))
