"""The paper's early stopping (section 4.2, step 4; window and tolerance as in its authors' notebooks)."""

import dataclasses
from collections.abc import Sequence

__all__ = ["EarlyStopping"]


@dataclasses.dataclass(kw_only=True, frozen=True, slots=True)
class EarlyStopping:
    """Stop once past the epoch floor, when accuracy has stopped rising and a whole window of it lies level."""

    floor_epochs: int = 280
    window_epochs: int = 10
    tolerance_points: float = 0.25
    """Half-width, in points of accuracy, of the band around the window's mean (the notebooks: 0.25; AlexNet 0.35)."""

    def should_stop(self, accuracies: Sequence[float]) -> bool:
        """Whether training ends after these epochs' validation accuracies (in points, first epoch first)."""
        if len(accuracies) < max(self.floor_epochs, self.window_epochs):
            return False
        if len(accuracies) > 1 and accuracies[-1] > accuracies[-2]:
            return False
        window = accuracies[-self.window_epochs :]
        mean = sum(window) / len(window)
        return all(abs(accuracy - mean) <= self.tolerance_points for accuracy in window)
