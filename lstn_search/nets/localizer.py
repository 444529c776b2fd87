"""Arch -> torch module: the localization net itself."""

import itertools

import torch
import torch.nn.functional as F
from torch import nn

from lstn_search.nets.warps import to_matrix
from lstn_search.spec.arch import SOFT_ARGMAX, Arch
from lstn_search.spec.cost import cost
from lstn_search.spec.operations import arch_operations
from lstn_search.spec.warp_families import WARP_FAMILIES

__all__ = ["Localizer", "Residual", "SoftArgmax"]


class Localizer(nn.Module):
    """The localization net that `arch` describes, for square images of `image_size` pixels.

    With a look it takes images of any size, square or not, and averages them to what its first layer is built for.

    The last layer starts at zero weight and identity bias (Jaderberg et al. 2015), so a fresh localizer returns the
    identity whatever it sees. Raises ArchError when a map would shrink below 1x1 at this size.
    """

    def __init__(self, arch: Arch, image_size: int) -> None:
        super().__init__()
        num_features = head_features(arch, image_size)
        self.arch = arch
        self.family = WARP_FAMILIES[arch.head.warp]
        self.image_size = image_size
        self.side = arch.side(image_size)
        self.features = nn.Sequential(*feature_modules(arch))
        head: list[nn.Module] = []
        if arch.head.pool_to == SOFT_ARGMAX:
            head.append(SoftArgmax())
        else:
            head += [nn.AdaptiveAvgPool2d(arch.head.pool_to)] * (arch.head.pool_to is not None)
            head.append(nn.Flatten())
        if arch.head.hidden:
            head += [nn.Linear(num_features, arch.head.hidden), nn.ReLU()]
            num_features = arch.head.hidden
        self.head = nn.Sequential(*head)
        self.last = nn.Linear(num_features, len(self.family.params))
        self.reset_to_identity()

    def reset_to_identity(self) -> None:
        """Zero weight and identity bias in the last layer."""
        with torch.no_grad():
            self.last.weight.zero_()
            self.last.bias.copy_(torch.tensor(self.family.identity))

    def forward(self, x_BCHW: torch.Tensor) -> torch.Tensor:
        """Images B x C x H x W -> theta_B23, a warp of the family (output -> input, in [-1, 1] coordinates)."""
        if self.arch.look is not None and x_BCHW.shape[-2:] != (self.side, self.side):
            x_BCHW = F.adaptive_avg_pool2d(x_BCHW, self.side)
        h_BF = self.head(self.features(x_BCHW))
        with torch.autocast(device_type=x_BCHW.device.type, enabled=False):  # half precision would round theta to 1/256
            return to_matrix(self.last(h_BF.float()), self.family)


def head_features(arch: Arch, image_size: int) -> int:
    """How many numbers the head's first linear layer takes, after reading the map."""
    first_linear = next(row for row in cost(arch, image_size).layers if row.kind == "linear")
    return first_linear.in_shape[0]


def feature_modules(arch: Arch) -> list[nn.Module]:
    """The modules of all layers, in order; those between a skip and its sum are in a `Residual`."""
    by_layer: list[list[nn.Module]] = []
    for layer, made_of in zip(arch.layers, arch_operations(arch), strict=True):
        by_layer.append([])
        for operation in made_of:
            if operation.module == Residual.__name__:
                inside = by_layer[-layer.skip :]
                by_layer[-layer.skip :] = [[Residual(*itertools.chain(*inside))], *([] for _ in inside[1:])]
            else:
                make = getattr(nn, operation.module)
                by_layer[-1].append(make(*(value for _, value in operation.args), **dict(operation.options)))
    return list(itertools.chain(*by_layer))


class Residual(nn.Sequential):
    """Adds its input to what its modules make of it."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = x
        for module in self:
            y = module(y)
        return x + y


class SoftArgmax(nn.Module):
    """Where each map is high: four numbers a channel of B x C x H x W, always in float32.

    All mean x, all mean y and all spreads of the softmax over the map's cells, whose
    centres lie in [-1, 1], then the mean values of the maps: B x 4C.
    """

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        with torch.autocast(x.device.type, enabled=False):
            x = x.float()
            height, width = x.shape[-2:]
            u = (2 * torch.arange(width, device=x.device) + 1) / width - 1
            v = (2 * torch.arange(height, device=x.device) + 1) / height - 1
            weights = x.flatten(2).softmax(dim=2).unflatten(2, (height, width))
            columns, rows = weights.sum(dim=2), weights.sum(dim=3)
            mean_x, mean_y = (columns * u).sum(dim=2), (rows * v).sum(dim=2)
            square = (columns * u.square()).sum(dim=2) + (rows * v.square()).sum(dim=2)
            spread = (square - mean_x.square() - mean_y.square()).clamp(min=0)
            return torch.cat([mean_x, mean_y, spread, x.mean(dim=(2, 3))], dim=1)
