"""What a trial measured, as flat columns; and the scale it is quoted on. No torch here."""

import dataclasses
from typing import Any, Literal

from lstn_search.spec.reading import read_as

__all__ = [
    "COLLAPSED_OUT_OF_FRAME",
    "COLLAPSED_SCALE",
    "DEAD",
    "INERT_SPREAD",
    "References",
    "Status",
    "TrialResult",
    "gap_closed",
]

Status = Literal["ok", "inert", "collapsed", "frame reader", "failed"]
DEAD: tuple[Status, ...] = ("inert", "collapsed", "frame reader")
"""Trained to the end, and of no use; see `lstn_search.training.health`."""

INERT_SPREAD = 0.02
"""Below this spread theta is constant for practical purposes: it moves a 64 px image by about half a pixel."""
COLLAPSED_OUT_OF_FRAME = 0.7
"""Above this share of sampling points outside the image, or outside this scale, a localizer is collapsed."""
COLLAPSED_SCALE = (0.1, 4.0)
RECOVER_COLUMNS = (
    *("recover_steps", "recover_seconds", "alignment_mse", "corner_error_px", "frozen_top1"),
    *("frozen_reflection", "frozen_border", "frozen_picture", "frozen_colour"),
)


@dataclasses.dataclass(kw_only=True, frozen=True, slots=True)
class TrialResult:
    """What a trial measured, as flat columns. Accuracies in percent; None where a stage did not run."""

    status: Status
    """One of DEAD: the localizer finished its training but is of no use."""
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
    frozen_reflection: float | None = None
    """Of `frozen_top1` under each fill, like the next three (`lstn_search.data.fills`); None: nothing was drawn."""
    frozen_border: float | None = None
    frozen_picture: float | None = None
    frozen_colour: float | None = None
    epochs: int | None = None
    equal_epochs_top1: float | None = None
    """Of a control: `val_top1` after as many epochs as the architectures; it may have trained on, for as many steps."""
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

    def with_recover_of(self, first: "TrialResult") -> "TrialResult":
        """The result of a higher rung together with what recover measured on the first."""
        status = first.status if self.status == "ok" and first.status == "frame reader" else self.status
        return dataclasses.replace(self, status=status, **{name: getattr(first, name) for name in RECOVER_COLUMNS})

    def to_dict(self) -> dict[str, Any]:
        """Every column, as JSON types."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "TrialResult":
        """Read what `to_dict` wrote. Raises ValueError on anything else."""
        return read_as(cls, data)


def gap_closed(accuracy: float | None, control: float | None, oracle: float | None) -> float | None:
    """Share of the control-to-oracle gap that an accuracy closes, in percent; None where there is no gap to close."""
    if accuracy is None or control is None or oracle is None or oracle <= control:
        return None
    return 100 * (accuracy - control) / (oracle - control)


@dataclasses.dataclass(kw_only=True, frozen=True, slots=True)
class References:
    """The two references every trial is quoted against, by rung; empty until they have been trained.

    The control is the same training without a transformer, for as many epochs or as many steps, whichever is better;
    the oracle is the same training behind a transformer that undoes the drawn warp exactly. On the rungs of recover
    both are the frozen warm backbone (paper's protocol: the whole training).
    """

    control: tuple[TrialResult, ...] = ()
    oracle: tuple[TrialResult, ...] = ()

    def gap_closed(self, result: TrialResult, rung: int) -> float | None:
        """Share of the rung's control-to-oracle gap that a result closes, in percent; None where there is no gap."""
        if rung >= min(len(self.control), len(self.oracle)):
            return None
        return gap_closed(result.accuracy, self.control[rung].accuracy, self.oracle[rung].accuracy)

    def to_dict(self) -> dict[str, Any]:
        """All results, as JSON types."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "References":
        """Read what `to_dict` wrote. Raises ValueError on anything else."""
        return read_as(cls, data)
