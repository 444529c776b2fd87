"""The health of theta: what the localizers do to the images, and which of them are dead, with the reason."""

import dataclasses
from typing import TYPE_CHECKING

from lstn_search.spec.results import COLLAPSED_OUT_OF_FRAME, COLLAPSED_SCALE, INERT_SPREAD

if TYPE_CHECKING:
    from lstn_search.runs.run import Run
    from lstn_search.spec.results import TrialResult

__all__ = ["DeadInfo", "ThetaInfo", "ThetaPoint", "reason_of_death", "theta_info"]


@dataclasses.dataclass(kw_only=True, frozen=True, slots=True)
class ThetaPoint:
    """Theta of one architecture at its highest rung, over all validation images."""

    name: str
    spread: float
    """Standard deviation over images, averaged over theta's six entries."""
    out_of_frame: float
    """Share of sampling points outside the image, 0 to 1."""
    scale: float
    determinant: float
    status: str
    on_front: bool
    is_seed: bool


@dataclasses.dataclass(kw_only=True, frozen=True, slots=True)
class DeadInfo:
    """An architecture that is not alive: dead, or its training failed."""

    name: str
    status: str
    rung: int
    """The rung on which it died."""
    reason: str


@dataclasses.dataclass(kw_only=True, frozen=True, slots=True)
class ThetaInfo:
    """Everybody's theta, and the dead by name."""

    points: tuple[ThetaPoint, ...]
    dead: tuple[DeadInfo, ...]


def theta_info(run: "Run") -> ThetaInfo:
    """The health of every architecture with a theta to measure, and what became of the others."""
    on_front = {entry.candidate.number for entry in run.front}
    points, dead = [], []
    for entry in run.entries:
        result, last = entry.result, entry.results[-1]
        if result.spread is not None:
            points.append(
                ThetaPoint(
                    name=entry.candidate.name,
                    spread=result.spread,
                    out_of_frame=result.out_of_frame or 0.0,
                    scale=result.scale or 0.0,
                    determinant=result.determinant or 0.0,
                    status=entry.status,
                    on_front=entry.candidate.number in on_front,
                    is_seed=entry.candidate.is_seed,
                )
            )
        if last.status != "ok":
            reason = reason_of_death(last)
            dead.append(
                DeadInfo(name=entry.candidate.name, status=last.status, rung=len(entry.results) - 1, reason=reason)
            )
    return ThetaInfo(points=tuple(points), dead=tuple(dead))


def reason_of_death(result: "TrialResult") -> str:
    """Why a result is not `ok`, with the value and the bound it broke."""
    if result.status == "failed":
        return result.reason or "no reason was recorded"
    if result.status == "inert":
        return f"theta is the same for every image: spread {result.spread or 0:.4f}, below {INERT_SPREAD:g}"
    if result.out_of_frame is not None and result.out_of_frame > COLLAPSED_OUT_OF_FRAME:
        share = f"{100 * result.out_of_frame:.0f} % of its sampling points lie outside the image"
        return f"{share}, more than {100 * COLLAPSED_OUT_OF_FRAME:.0f} %"
    low, high = COLLAPSED_SCALE
    if result.scale is not None and not low <= result.scale <= high:
        way = "out" if result.scale > high else "in"
        return f"it zooms {way} without bounds: scale {result.scale:.3g}, not within {low:g} to {high:g}"
    return "theta is not finite for some image"
