"""The table of operations, against torch."""

import itertools

import pytest
import torch
from torch import nn

from lstn_search.nets.localizer import Residual
from lstn_search.spec.arch import Arch, Layer
from lstn_search.spec.operations import Operation, arch_operations, arch_rows

ARCH = Arch(
    layers=(
        Layer(out_channels=6, kernel=3, stride=2, padding=1, groups=3, norm="conv-act-bn", max_pool=2),
        Layer(out_channels=6, kernel=5, groups=6, norm="conv-bn-act"),
        Layer(out_channels=6, kernel=3, padding=1, act="none", skip=1),
    )
)
OPERATIONS = list(itertools.chain(*arch_operations(ARCH)))


def test_a_layer_is_made_in_the_order_of_its_docstring() -> None:
    names = [[operation.name for operation in layer] for layer in arch_operations(ARCH)]
    assert names == [["conv", "pool2", "relu", "bn"], ["depthwise", "bn", "relu"], ["conv", "add"]]


def made(operation: Operation) -> nn.Module:
    if operation.module == "Residual":
        return Residual(nn.Identity())
    values = (value for _, value in operation.args)
    module = getattr(nn, operation.module)(*values, **dict(operation.options))
    assert isinstance(module, nn.Module)
    return module


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
def test_a_row_says_what_torch_makes_of_it(operation: Operation) -> None:
    module, channels = made(operation), dict(operation.args).get("in_channels", operation.out_channels)
    y_BCHW = module(torch.zeros(2, channels, 13, 13))
    side = (13 + 2 * operation.padding - operation.window) // operation.stride + 1
    assert y_BCHW.shape == (2, operation.out_channels, side, side)
    assert operation.params == sum(p.numel() for p in module.parameters())
    assert operation.norm_params == (operation.params if isinstance(module, nn.BatchNorm2d) else 0)


def test_an_operation_is_in_its_own_row_or_in_the_one_before() -> None:
    assert [row.words for row in arch_rows(ARCH)] == [
        "conv 3x3, stride 2, pad 1, 3 groups",
        "max-pool 2x2, ReLU, BN",
        "depthwise 5x5, BN, ReLU",
        "conv 3x3, pad 1, add input",
    ]
    for count in ("params", "norm_params", "macs", "flops"):
        assert sum(getattr(row, count) for row in arch_rows(ARCH)) == sum(getattr(op, count) for op in OPERATIONS)
