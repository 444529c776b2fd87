"""Is the localizer alive? Facts about theta, and the ways it dies, by name.

Inert: theta is (nearly) the same for every image, so the transformer is a constant warp the classifier ignores.
Collapsed: the transformer looks mostly outside the image, or zooms onto a point or out of sight ("all samples are
empty").
Frame reader: it does not help the frozen classifier under every fill, so what it reads is where the picture ends, or
nothing at all.
The first two are common: most issues filed against STN implementations describe one of the two.
"""

import dataclasses
import math
from collections.abc import Mapping
from typing import Literal

import torch
import torch.nn.functional as F

from lstn_search.spec.results import COLLAPSED_OUT_OF_FRAME, COLLAPSED_SCALE, INERT_SPREAD

__all__ = ["Health", "Verdict", "examine", "reads_frames"]

Verdict = Literal["alive", "inert", "collapsed", "frame reader"]

PROBE_SIZE = 16
"""The sampling grid is probed at 16 x 16 points."""


@dataclasses.dataclass(kw_only=True, frozen=True, slots=True)
class Health:
    """Facts about theta over a set of images."""

    spread: float
    """Standard deviation over images of each entry of theta, averaged over the six; 0 for a single image."""
    out_of_frame: float
    """Share of the sampling points that fall outside the image."""
    scale: float
    """Mean of sqrt(|det|): above 1 the transformer zooms out, below 1 it zooms in."""
    determinant: float
    """Mean determinant of the 2 x 2 part; negative means mirrored images."""
    verdict: Verdict

    def facts(self) -> dict[str, float]:
        """The numbers without the verdict: columns of a result."""
        return {name: value for name, value in dataclasses.asdict(self).items() if name != "verdict"}


def examine(theta_N23: torch.Tensor) -> Health:
    """Facts and verdict for the thetas of one or more images; finite facts for finite thetas, however large."""
    assert theta_N23.shape[1:] == (2, 3) and len(theta_N23) > 0, theta_N23.shape
    theta_N23 = theta_N23.detach().cpu().double()
    spread = theta_N23.flatten(1).std(dim=0, correction=0).mean().item()
    grid_NHW2 = F.affine_grid(theta_N23, [len(theta_N23), 1, PROBE_SIZE, PROBE_SIZE], align_corners=False)
    out_of_frame = 1 - (grid_NHW2.abs() <= 1).all(dim=-1).double().mean().item()  # a NaN is outside, too
    determinant_N = torch.linalg.det(theta_N23[:, :, :2])
    scale = determinant_N.abs().sqrt().mean().item()
    verdict: Verdict = "alive"
    in_sight = out_of_frame <= COLLAPSED_OUT_OF_FRAME and COLLAPSED_SCALE[0] <= scale <= COLLAPSED_SCALE[1]
    if not in_sight or not math.isfinite(spread):  # one theta that is not finite is enough
        verdict = "collapsed"
    elif spread < INERT_SPREAD:
        verdict = "inert"
    return Health(
        spread=spread,
        out_of_frame=out_of_frame,
        scale=scale,
        determinant=determinant_N.mean().item(),
        verdict=verdict,
    )


def reads_frames(by_fill: Mapping[str, float], control: Mapping[str, float]) -> bool:
    """Whether a localizer is no better than none under any of the fills (accuracies through the frozen classifier)."""
    return any(top1 <= control[fill] for fill, top1 in by_fill.items())
