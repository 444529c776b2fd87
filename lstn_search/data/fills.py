"""What is shown outside a warped picture, so that nothing but its content tells how it was warped.

    reflection   the picture mirrored at its edges
    border       the colours of its edges, drawn out
    picture      another picture
    colour       one plain colour
    zeros        mid-grey, the same for all: shows where the picture ends (kept to repeat old runs)
    random       for each image one of the first four

A localizer trained under one fill learns to read that frame; under random fills it has to look at the content.
"""

import dataclasses
from typing import NamedTuple

import torch
import torch.nn.functional as F

from lstn_search.spec.names import SCORED_FILLS

__all__ = ["DrawnFills", "Fills", "draw_fills", "fill_for_scoring", "show"]


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Fills:
    """What each image of a batch shows outside."""

    kinds: tuple[str, ...]
    partner_BCHW: torch.Tensor | None = None
    """For `picture`: an image of the batch's kind and size for each image."""
    colour_BC11: torch.Tensor | None = None
    """For `colour`, normalised as the images are."""


class DrawnFills(NamedTuple):
    """What chance says about the fills of a batch, on the CPU."""

    kinds: tuple[str, ...]
    partner_B: torch.Tensor
    """The position of another image of the batch."""
    colour_BC: torch.Tensor
    """In [0, 1]."""


def draw_fills(name: str, num: int, generator: torch.Generator) -> DrawnFills:
    """The fills of `num` images; the generator is used alike whatever their name."""
    chosen_B = torch.randint(len(SCORED_FILLS), (num,), generator=generator)
    kinds = tuple(SCORED_FILLS[i] for i in chosen_B.tolist()) if name == "random" else (name,) * num
    step = int(torch.randint(1, max(num, 2), (1,), generator=generator))
    return DrawnFills(kinds, (torch.arange(num) + step) % num, torch.rand(num, 3, generator=generator))


def fill_for_scoring(name: str) -> str:
    """The one fill that accuracy is quoted under: reflection, which is the strictest; `zeros` repeats old runs."""
    return "zeros" if name == "zeros" else "reflection"


def show(x_BCHW: torch.Tensor, grid_BHW2: torch.Tensor, fills: Fills) -> torch.Tensor:
    """Each image at the points of its grid ([-1, 1], bilinear, align_corners=False), its fill outside."""
    groups: dict[str, list[int]] = {}
    for position, kind in enumerate(fills.kinds):
        groups.setdefault(kind, []).append(position)
    if len(groups) == 1:
        return _show_alike(x_BCHW, grid_BHW2, fills, next(iter(groups)), slice(None))
    parts = []
    for kind, positions in groups.items():
        chosen_I = torch.tensor(positions, device=x_BCHW.device)
        parts.append(_show_alike(x_BCHW[chosen_I], grid_BHW2[chosen_I], fills, kind, chosen_I))
    order_B = torch.tensor([position for positions in groups.values() for position in positions])
    return torch.cat(parts)[order_B.argsort().to(x_BCHW.device)]


def _show_alike(
    x_BCHW: torch.Tensor, grid_BHW2: torch.Tensor, fills: Fills, kind: str, chosen: torch.Tensor | slice
) -> torch.Tensor:
    """The chosen images of a batch, all with one kind of fill."""
    padding = kind if kind in ("reflection", "border") else "zeros"
    shown_BCHW = F.grid_sample(x_BCHW, grid_BHW2, mode="bilinear", padding_mode=padding, align_corners=False)
    if kind not in ("picture", "colour"):
        return shown_BCHW
    ones_B1HW = torch.ones_like(x_BCHW[:, :1])
    inside_B1HW = F.grid_sample(ones_B1HW, grid_BHW2, mode="bilinear", padding_mode="zeros", align_corners=False)
    source = fills.partner_BCHW if kind == "picture" else fills.colour_BC11
    assert source is not None
    return shown_BCHW + (1 - inside_B1HW) * source[chosen]
