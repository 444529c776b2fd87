"""What a trial measured, as flat columns; and the scale it is quoted on. No torch here."""

import dataclasses
from typing import Any, Literal

__all__ = ["Status", "TrialResult", "gap_closed"]

Status = Literal["ok", "inert", "collapsed", "failed"]


@dataclasses.dataclass(kw_only=True, frozen=True, slots=True)
class TrialResult:
    """What a trial measured, as flat columns. Accuracies in percent; None where a stage did not run."""

    status: Status
    """inert or collapsed: the localizer finished its training but is dead, see `lstn_search.train.health`."""
    reason: str = ""
    """Why the trial failed."""
    seconds: float = 0.0
    recover_steps: int | None = None
    recover_seconds: float | None = None
    alignment_mse: float | None = None
    corner_error_px: float | None = None
    """Mean corner error after recover, in pixels at the deployment size."""
    frozen_top1: float | None = None
    """Accuracy under the view after recover, through the frozen warm backbone."""
    epochs: int | None = None
    joint_seconds: float | None = None
    val_top1: float | None = None
    """Accuracy under the view after the joint stage: the objective of the search."""
    val_top5: float | None = None
    val_clean_top1: float | None = None
    val_clean_top5: float | None = None
    spread: float | None = None
    out_of_frame: float | None = None
    scale: float | None = None
    determinant: float | None = None
    history: tuple[dict[str, Any], ...] = ()
    """One row a joint epoch: loss, theta's health, accuracy where it was measured."""

    def to_dict(self) -> dict[str, Any]:
        """Every column, as JSON types."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "TrialResult":
        """Read what `to_dict` wrote."""
        return cls(**{**data, "history": tuple(data.get("history", ()))})


def gap_closed(top1: float | None, control: TrialResult, oracle: TrialResult) -> float | None:
    """Share of the control-to-oracle gap that `top1` closes, in percent; None where there is no gap to close."""
    if top1 is None or control.val_top1 is None or oracle.val_top1 is None or oracle.val_top1 <= control.val_top1:
        return None
    return 100 * (top1 - control.val_top1) / (oracle.val_top1 - control.val_top1)
