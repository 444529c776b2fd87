"""The ladder: how far an architecture is trained, and who climbs to the next rung.

    rung 0             recover: seconds, and it orders localizers well
    rung 1, 2, ...     joint training up to `epochs[0]`, `epochs[1]`, ... epochs in all

Promotion is asynchronous, as in ASHA (Li et al. 2020): whenever a worker is free, the best not yet promoted
architecture among the top 1/eta of a rung climbs; if there is none, a new architecture starts. "Best" is by constrained
non-dominated rank of (score, costs), and within a rank by what an architecture adds to the hypervolume, so what climbs
is the front and not one corner of it. Dead, failed and over-budget architectures do not climb. Seed points always do.
"""

import dataclasses

from lstn_search.errors import SettingError

__all__ = ["Ladder"]


@dataclasses.dataclass(kw_only=True, frozen=True, slots=True)
class Ladder:
    """The declared rungs."""

    epochs: tuple[int, ...] = (2, 6, 18)
    """Joint epochs in all at the end of rung 1, 2, ...: strictly rising."""
    eta: int = 3
    """One in eta of a rung's architectures climbs; 1: all that are alive and within the budget."""

    def __post_init__(self) -> None:
        if any(isinstance(e, bool) or not isinstance(e, int) or e < 1 for e in self.epochs):
            raise SettingError(f"the ladder must be whole numbers of epochs, got {self.epochs!r}; try 2,6,18")
        if any(later <= earlier for earlier, later in zip(self.epochs, self.epochs[1:], strict=False)):
            raise SettingError(f"the ladder's epochs must rise, got {','.join(map(str, self.epochs))}; try 2,6,18")
        if isinstance(self.eta, bool) or not isinstance(self.eta, int) or self.eta < 1:
            raise SettingError(f"eta must be a whole number of at least 1, got {self.eta!r}")

    @property
    def top(self) -> int:
        """The number of the highest rung; recover is rung 0."""
        return len(self.epochs)

    def check_rung(self, rung: int) -> None:
        """Raise SettingError unless the ladder has this rung."""
        if isinstance(rung, bool) or not isinstance(rung, int) or not 0 <= rung <= self.top:
            raise SettingError(f"the rungs are 0 (recover) to {self.top}, got {rung!r}")

    @classmethod
    def parse(cls, text: str, eta: int = 3) -> "Ladder":
        """A ladder from `2,6,18`."""
        try:
            epochs = tuple(int(part) for part in text.split(","))
        except ValueError:
            raise SettingError(f"the ladder {text!r} is not a list of epochs; write for example 2,6,18") from None
        return cls(epochs=epochs, eta=eta)
