"""The EfficientNet-b0..b5 of the paper's tables, which are not the standard ones: all its parameter counts come out.

What differs from EfficientNet as published, and from torchvision's and timm's:

- a block expands with a *dense 3x3* convolution, not a 1x1: most of the parameters and GFLOPs are here;
- widths grow as 1.1^phi and depths as 1.2^phi with phi = 0, 0.5, 1, 2, 3, 4, and are rounded by the rules below
  (down to a whole number, then up to a multiple of 4) instead of to the nearest multiple of 8;
- squeeze-and-excitation has its bias and reduces to a quarter of the block's input, with SiLU between.

Expansion precedes the strided depthwise convolution, so a stage's first block pays for it at the larger map.
"""

import math
from typing import NamedTuple

import torch
from torch import nn
from torchvision.ops import SqueezeExcitation, StochasticDepth

__all__ = ["IMAGE_SIZES_PX", "PaperEfficientNet"]


class Stage(NamedTuple):
    """One row of the recipe, before scaling."""

    expand: int
    channels: int
    repeats: int
    stride: int
    kernel: int


STAGES = (
    Stage(expand=1, channels=16, repeats=1, stride=1, kernel=3),
    Stage(expand=6, channels=24, repeats=2, stride=2, kernel=3),
    Stage(expand=6, channels=40, repeats=2, stride=2, kernel=5),
    Stage(expand=6, channels=80, repeats=3, stride=2, kernel=3),
    Stage(expand=6, channels=112, repeats=3, stride=1, kernel=5),
    Stage(expand=6, channels=192, repeats=4, stride=2, kernel=5),
    Stage(expand=6, channels=320, repeats=1, stride=1, kernel=3),
)
PHIS = (0.0, 0.5, 1.0, 2.0, 3.0, 4.0)
"""Compound coefficient of b0..b5."""
IMAGE_SIZES_PX = (224, 240, 260, 300, 380, 456)
"""The input size of b0..b5 in the paper; the network takes any."""
DROPOUTS = (0.2, 0.2, 0.3, 0.3, 0.4, 0.4)
DROP_PATH = 0.2
"""Share of samples for which a residual branch is left out in training, the same in every block."""


class PaperEfficientNet(nn.Module):
    """EfficientNet-b`variant` as the paper builds it, `variant` 0 to 5: (B, 3, H, W) -> (B, num_classes)."""

    def __init__(self, variant: int, *, num_classes: int) -> None:
        super().__init__()
        assert 0 <= variant < len(PHIS), variant
        width, depth = 1.1 ** PHIS[variant], 1.2 ** PHIS[variant]
        channels = int(32 * width)
        layers: list[nn.Module] = [_conv_bn_silu(3, channels, kernel=3, stride=2)]
        for stage in STAGES:
            out_channels = 4 * math.ceil(int(stage.channels * width) / 4)
            for repeat in range(math.ceil(stage.repeats * depth)):
                stride = stage.stride if repeat == 0 else 1
                layers.append(Block(channels, out_channels, expand=stage.expand, kernel=stage.kernel, stride=stride))
                channels = out_channels
        num_features = math.ceil(1280 * width)
        layers.append(_conv_bn_silu(channels, num_features, kernel=1))
        self.features = nn.Sequential(*layers)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Sequential(nn.Dropout(DROPOUTS[variant]), nn.Linear(num_features, num_classes))

    def forward(self, x_BCHW: torch.Tensor) -> torch.Tensor:
        """Logits (B, num_classes) of images (B, 3, H, W)."""
        logits_BK: torch.Tensor = self.classifier(self.pool(self.features(x_BCHW)).flatten(1))
        return logits_BK


class Block(nn.Module):
    """Dense 3x3 expansion, depthwise convolution, squeeze-and-excitation, 1x1 projection; residual where it fits."""

    def __init__(self, in_channels: int, out_channels: int, *, expand: int, kernel: int, stride: int) -> None:
        super().__init__()
        hidden = in_channels * expand
        self.expand = _conv_bn_silu(in_channels, hidden, kernel=3) if expand > 1 else nn.Identity()
        self.branch = nn.Sequential(
            _conv_bn_silu(hidden, hidden, kernel=kernel, stride=stride, groups=hidden),
            SqueezeExcitation(hidden, in_channels // 4, activation=nn.SiLU),
            nn.Conv2d(hidden, out_channels, 1, bias=False),
            nn.BatchNorm2d(out_channels),
        )
        self.is_residual = stride == 1 and in_channels == out_channels
        self.drop_path = StochasticDepth(DROP_PATH, mode="row")

    def forward(self, x_BCHW: torch.Tensor) -> torch.Tensor:
        y_BCHW: torch.Tensor = self.branch(self.expand(x_BCHW))
        return x_BCHW + self.drop_path(y_BCHW) if self.is_residual else y_BCHW


def _conv_bn_silu(in_channels: int, out_channels: int, *, kernel: int, stride: int = 1, groups: int = 1) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(out_channels),
        nn.SiLU(),
    )
