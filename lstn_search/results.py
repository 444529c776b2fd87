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

    @property
    def accuracy(self) -> float | None:
        """Under the view: after joint training where that ran, else through the frozen backbone; None: failed."""
        return self.frozen_top1 if self.val_top1 is None else self.val_top1

    def to_dict(self) -> dict[str, Any]:
        """Every column, as JSON types."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "TrialResult":
        """Read what `to_dict` wrote."""
        return cls(**{**data, "history": tuple(data.get("history", ()))})


def gap_closed(accuracy: float | None, control: float | None, oracle: float | None) -> float | None:
    """Share of the control-to-oracle gap that an accuracy closes, in percent; None where there is no gap to close."""
    if accuracy is None or control is None or oracle is None or oracle <= control:
        return None
    return 100 * (accuracy - control) / (oracle - control)
