"""What an architecture costs: parameters, MACs, FLOPs, shapes and receptive field, from the description alone.

One rule an operation, on shapes only. With a map of `C x H x W` at its *output*:

    operation                     params                       MACs                            FLOPs
    convolution with bias         C * C_in/groups * k*k + C    C * C_in/groups * k*k * H*W     MACs + C*H*W (the bias)
    batch norm, where it stands   2 * C                        none                            2 * C*H*W
    sum with an earlier map       none                         none                            C*H*W, as for a bias
    linear with bias              in * out + out               in * out                        in * out
    ReLU, max- and average-pool   none                         none                            none
    soft-argmax of C x H x W      none                         3 * C*H*W                       MACs + 3 * C*H*W
    averaging S x S to L x L      none                         none                            C * (S+L-gcd(S,L))**2

Those of a layer are in operations.py. A soft-argmax weighs x, y and x^2 + y^2 of each position, takes an exponential,
adds it to the sum of the softmax and adds the value itself to the map's mean; what is done once a channel is left out.
Averaging the image, where `Arch.look` asks for it, counts the values it adds up: a cell takes every pixel it touches.

This is the convention of the paper: it gives its Table 9. One multiply-accumulate counts as one FLOP. *Not* counted:
ReLU, pooling of feature maps, the biases of the linear layers, the step from a warp's parameters to its matrix (it
copies), and the grid generator and sampler, which `transformer_cost` reports.
"""

import dataclasses
import functools
import math
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

from lstn_search.errors import ArchError
from lstn_search.spec.arch import SOFT_ARGMAX, Arch, Head, Layer
from lstn_search.spec.choices import IMAGE_CHANNELS
from lstn_search.spec.fields import check_value
from lstn_search.spec.operations import Operation, layer_rows
from lstn_search.spec.task import Task
from lstn_search.spec.warp_families import WARP_FAMILIES

__all__ = [
    "Cost",
    "LayerCost",
    "TransformerCost",
    "check_image_size",
    "check_trainable",
    "cost",
    "fits",
    "gflops_as_trained",
    "head_costs",
    "layer_costs",
    "look_costs",
    "transformer_cost",
]

MAX_PARAMS = 1_000_000_000
"""More would not fit where it is trained."""

Kind = Literal["conv", "max-pool", "avg-pool", "soft-argmax", "linear"]


class LayerCost(NamedTuple):
    """One row of the table: a convolution, a pooling, a reading or a linear layer, with the batch norm behind it."""

    name: str
    """`look`, `conv3`, `pool3` (of layer 3), `head.pool`, `head.soft-argmax`, `head.hidden`, `head.theta`."""
    kind: Kind
    number: int
    """The layer of the Arch this row belongs to, from 1; 0 for the head, and for the look in front."""
    in_shape: tuple[int, ...]
    """(C, H, W), or (features,)."""
    out_shape: tuple[int, ...]
    params: int
    norm_params: int
    """How many of `params` belong to a batch norm at this row's output; 0 means that there is none."""
    macs: int
    flops: int
    receptive_field: int
    """Side, in pixels, of the input square one output sees; padding included, so it can exceed the image.
    Pixels are those that the first layer sees: where the net looks at a smaller copy, those of the copy."""
    jump: int
    """Distance, in such pixels, between two neighbouring outputs; 0 where the outputs are no map."""


@dataclasses.dataclass(kw_only=True, frozen=True, slots=True)
class Cost:
    """The cost of one localization net for one square image."""

    image_size: int
    params: int
    macs: int
    """Multiply-accumulates of convolutions and linear layers."""
    flops: int
    """MACs plus biases and batch norms: the convention of the paper, the one a budget means."""
    layers: tuple[LayerCost, ...]

    @property
    def gflops(self) -> float:
        """FLOPs in units of 1e9."""
        return self.flops / 1e9

    @property
    def feature_shape(self) -> tuple[int, int, int]:
        """(C, H, W) of the last layer's map, in front of the head."""
        channels, height, width = next(row.out_shape for row in reversed(self.layers) if row.number)
        return channels, height, width

    @property
    def head_params(self) -> int:
        """Parameters of the head alone (a look has none); the paper's Tables 1 to 3 leave them out."""
        return sum(row.params for row in self.layers if row.number == 0)

    def to_dict(self) -> dict[str, Any]:
        """Everything, as JSON types."""
        return {
            "image_size": self.image_size,
            "params": self.params,
            "macs": self.macs,
            "flops": self.flops,
            "gflops": self.gflops,
            "layers": [
                {key: list(value) if isinstance(value, tuple) else value for key, value in row._asdict().items()}
                for row in self.layers
            ],
        }


@dataclasses.dataclass(kw_only=True, frozen=True, slots=True)
class TransformerCost:
    """The two parts of a spatial transformer behind the localization net; neither has parameters."""

    image_size: int
    channels: int
    grid_flops: int
    sampler_flops: int

    @property
    def flops(self) -> int:
        """Both parts."""
        return self.grid_flops + self.sampler_flops

    @property
    def gflops(self) -> float:
        """FLOPs of both parts in units of 1e9."""
        return self.flops / 1e9

    def to_dict(self) -> dict[str, Any]:
        """Everything, as JSON types."""
        return {**dataclasses.asdict(self), "flops": self.flops, "gflops": self.gflops}


_Row = tuple[str, str, int, tuple[int, ...], tuple[int, ...], int, int, int, int, int, int]
_row: Callable[[_Row], LayerCost] = functools.partial(tuple.__new__, LayerCost)
"""LayerCost from a tuple of all its fields, in half the time of a call with arguments."""


def cost(arch: Arch, image_size: int) -> Cost:
    """Cost of `arch` for one image of `arch.in_channels` x `image_size` x `image_size`.

    Raises ArchError when a map shrinks below 1 x 1, the head pools to more than the last map holds, or there are more
    than MAX_PARAMS parameters.
    """
    check_image_size(image_size)
    side = arch.side(image_size)
    what = "image size" if side == image_size else "look"
    rows = look_costs(arch.look, in_channels=arch.in_channels, image_size=image_size)
    rows += layer_costs(arch.layers, in_channels=arch.in_channels, image_size=side, what=what)
    rows += head_costs(
        arch.head,
        rows[-1].out_shape,
        image_size=side,
        receptive_field=rows[-1].receptive_field,
        jump=rows[-1].jump,
        what=what,
    )
    params = sum([row.params for row in rows])
    if params > MAX_PARAMS:
        raise ArchError(f"{params:,} parameters at {what} {side} are more than {MAX_PARAMS:,}; take narrower layers")
    return Cost(
        image_size=image_size,
        params=params,
        macs=sum([row.macs for row in rows]),
        flops=sum([row.flops for row in rows]),
        layers=tuple(rows),
    )


def check_trainable(arch: Arch, *image_sizes: int) -> None:
    """Raise ArchError unless `arch` takes colour images and can be built at these sizes."""
    if arch.in_channels != IMAGE_CHANNELS:
        raise ArchError(f"in_channels is {arch.in_channels}, but images have {IMAGE_CHANNELS} channels; write 3")
    for size in image_sizes:
        cost(arch, size)


def fits(arch: Arch, image_size: int) -> bool:
    """Whether `arch` can be built at `image_size`: every map at least 1 x 1, the head's pooling within the last one."""
    try:
        cost(arch, image_size)
    except ArchError:
        return False
    return True


def gflops_as_trained(arch: Arch, *, image_size: int, trial_size: int) -> float | None:
    """GFLOPs of what is trained at `trial_size`; None where that is the very network of `image_size`."""
    return None if arch.is_same_at(image_size, trial_size) else cost(arch, trial_size).gflops


def look_costs(look: int | None, *, in_channels: int, image_size: int) -> list[LayerCost]:
    """The row of averaging an image to `look` pixels; none where it is not larger."""
    if look is None or look >= image_size:
        return []
    # Cell i covers floor(i * S / L) up to ceil((i + 1) * S / L): L - gcd(S, L) inner borders fall inside a pixel.
    covered = image_size + look - math.gcd(image_size, look)
    shapes = (in_channels, image_size, image_size), (in_channels, look, look)
    return [LayerCost("look", "avg-pool", 0, *shapes, 0, 0, 0, in_channels * covered * covered, 1, 1)]


def layer_costs(
    layers: tuple[Layer, ...], *, in_channels: int, image_size: int, what: str = "image size"
) -> list[LayerCost]:
    """The rows of a stack of layers, without a head, on a map of `in_channels` x `image_size` x `image_size`.

    `what` to call this size in an error: the image's, or that of a look.
    """
    rows: list[LayerCost] = []
    channels, size = in_channels, image_size
    shape = (channels, size, size)
    field = jump = 1
    for number, layer in enumerate(layers, start=1):
        for row in layer_rows(layer, channels):
            before, size = size, (size + 2 * row.padding - row.window) // row.stride + 1
            if size < 1:
                raise _vanished(number, row, before, f"{what} {image_size}")
            area = size * size
            field += (row.window - 1) * jump
            jump *= row.stride
            in_shape, shape = shape, (row.out_channels, size, size)
            name, macs, flops = f"{row.kind.removeprefix('max-')}{number}", row.macs * area, row.flops * area
            rows.append(
                _row((name, row.kind, number, in_shape, shape, row.params, row.norm_params, macs, flops, field, jump))
            )
        channels = layer.out_channels
    return rows


def head_costs(
    head: Head,
    shape: tuple[int, ...],
    *,
    image_size: int,
    receptive_field: int = 1,
    jump: int = 1,
    what: str = "image size",
) -> list[LayerCost]:
    """The rows of a head on a map of `shape` (C, H, W): [pool or soft-argmax], [hidden linear], linear to the warp.

    `what` as in `layer_costs`.
    """
    rows: list[LayerCost] = []
    channels, size, _ = shape
    field = receptive_field
    if isinstance(head.pool_to, int):
        cells = head.pool_to
        if cells > size:
            raise ArchError(
                f"head pool_to {cells} is more than the last map's {size}x{size} at {what} {image_size}; "
                f"take pool_to {size} or less, or a larger {what.removesuffix(' size')}"
            )
        # Cell i of an adaptive pool covers floor(i * size / cells) up to ceil((i + 1) * size / cells).
        widest = max(-(-(i + 1) * size // cells) - i * size // cells for i in range(cells))
        field += (widest - 1) * jump
        jump *= size // cells
        pooled = (channels, cells, cells)
        rows.append(LayerCost("head.pool", "avg-pool", 0, shape, pooled, 0, 0, 0, 0, field, jump))
        size = cells
    field += (size - 1) * jump
    features = channels * size * size
    if head.pool_to == SOFT_ARGMAX:
        macs, features = 3 * features, 4 * channels
        rows.append(LayerCost("head.soft-argmax", SOFT_ARGMAX, 0, shape, (features,), 0, 0, macs, 2 * macs, field, 0))
    if head.hidden:
        rows.append(_linear("head.hidden", features, head.hidden, field))
        features = head.hidden
    rows.append(_linear("head.theta", features, len(WARP_FAMILIES[head.warp].params), field))
    return rows


def transformer_cost(image_size: int, *, channels: int = 3) -> TransformerCost:
    """Cost of the grid generator and the bilinear sampler for one image of `channels` x `image_size` x `image_size`.

    Per output pixel, in the same currency (a multiply-accumulate, a lone product or a lone sum is one FLOP; floor,
    comparisons, indexing and the constant grid of coordinates are free):

        grid generator   6                 (x, y) = theta_23 @ (u, v, 1)
        sampler          2                 from [-1, 1] to pixels, one multiply-accumulate for x and one for y
                         4 + 4             distances to the four neighbours' rows and columns; their four products
                         4 * channels      the weighted sum of the four neighbours
    """
    check_image_size(image_size)
    pixels = image_size * image_size
    return TransformerCost(
        image_size=image_size,
        channels=channels,
        grid_flops=6 * pixels,
        sampler_flops=(2 + 4 + 4 + 4 * channels) * pixels,
    )


def check_image_size(image_size: int) -> None:
    """Raise SettingError unless `image_size` is one that a task may have."""
    if not (type(image_size) is int and 0 < image_size < 1_024):  # costs are counted by the thousand
        check_value(Task, "image_size", image_size)


def _linear(name: str, features: int, outputs: int, field: int) -> LayerCost:
    macs = features * outputs
    return LayerCost(name, "linear", 0, (features,), (outputs,), macs + outputs, 0, macs, macs, field, 0)


def _vanished(number: int, row: Operation, size: int, where: str) -> ArchError:
    what = {"conv": "convolution"}.get(row.kind, row.kind)
    larger = "look" if where.startswith("look") else "image"
    return ArchError(
        f"layer {number}: {what} {row.window}x{row.window} shrinks its {size}x{size} map below 1x1 at {where}; "
        f"use a larger {larger}, less stride or pooling, or padding"
    )
