"""The ladder: how far an architecture is trained, and who climbs to the next rung.

    rung 0             recover: seconds, and it orders localizers well
    rung 1, 2, ...     joint training up to `epochs[0]`, `epochs[1]`, ... epochs in all

Promotion is asynchronous, as in ASHA (Li et al. 2020): whenever a worker is free, the best not yet promoted
architecture among the top 1/eta of a rung climbs; if there is none, a new architecture starts. "Best" is by constrained
non-dominated rank of (score, GFLOPs), and within a rank by what an architecture adds to the hypervolume, so what climbs
is the front and not one corner of it. Dead, failed and over-budget architectures do not climb. Seed points always do.
"""

import dataclasses
import math
from collections.abc import Collection, Sequence

from lstn_search import pareto
from lstn_search.errors import SettingError

__all__ = ["Ladder", "Standing", "climber", "order"]

MAXIMISE = (True, False)
"""Score up, GFLOPs down."""


@dataclasses.dataclass(kw_only=True, frozen=True, slots=True)
class Ladder:
    """The declared rungs."""

    epochs: tuple[int, ...] = (2, 6, 18)
    """Joint epochs in all at the end of rung 1, 2, ...: strictly rising."""
    eta: int = 2
    """One in eta of a rung's architectures climbs."""

    def __post_init__(self) -> None:
        if not self.epochs or any(isinstance(e, bool) or not isinstance(e, int) or e < 1 for e in self.epochs):
            raise SettingError(f"the ladder must be whole numbers of epochs, got {self.epochs!r}; try 2,6,18")
        if any(later <= earlier for earlier, later in zip(self.epochs, self.epochs[1:], strict=False)):
            raise SettingError(f"the ladder's epochs must rise, got {','.join(map(str, self.epochs))}; try 2,6,18")
        if isinstance(self.eta, bool) or not isinstance(self.eta, int) or self.eta < 2:
            raise SettingError(f"eta must be a whole number of at least 2, got {self.eta!r}")

    @property
    def top(self) -> int:
        """The number of the highest rung; recover is rung 0."""
        return len(self.epochs)

    @classmethod
    def parse(cls, text: str, eta: int = 2) -> "Ladder":
        """A ladder from `2,6,18`."""
        try:
            epochs = tuple(int(part) for part in text.split(","))
        except ValueError:
            raise SettingError(f"the ladder {text!r} is not a list of epochs; write for example 2,6,18") from None
        return cls(epochs=epochs, eta=eta)


@dataclasses.dataclass(kw_only=True, frozen=True, slots=True)
class Standing:
    """An architecture's result at one rung."""

    number: int
    score: float
    """Higher is better; comparable within a rung only."""
    gflops: float
    may_climb: bool = True
    """False: dead, failed, or over the budget."""


def order(standings: Sequence[Standing]) -> list[Standing]:
    """Those that may climb, best first: by non-dominated rank, then by hypervolume contribution, then by number."""
    import moocore  # here, because it brings numpy

    able = [standing for standing in standings if standing.may_climb and math.isfinite(standing.score)]
    if len(able) < 2:
        return able
    points = [(standing.score, standing.gflops) for standing in able]
    ranks = moocore.pareto_rank(points, maximise=MAXIMISE)
    reference = _reference(points)
    gains = [0.0] * len(able)
    for rank in set(ranks):
        members = [i for i, other in enumerate(ranks) if other == rank]
        contributions = moocore.hv_contributions([points[i] for i in members], ref=reference, maximise=MAXIMISE)
        for i, gain in zip(members, contributions, strict=True):
            gains[i] = float(gain)
    best_first = sorted(range(len(able)), key=lambda i: (ranks[i], -gains[i], able[i].number))
    return [able[i] for i in best_first]


def climber(standings: Sequence[Standing], promoted: Collection[int], eta: int) -> int | None:
    """The number of the next architecture to climb from a rung with these results, or None: nobody deserves it yet."""
    quota = len(standings) // eta
    for standing in order(standings)[:quota]:
        if standing.number not in promoted:
            return standing.number
    return None


def _reference(points: Sequence[pareto.Point]) -> pareto.Point:
    """A tenth of the range beyond the worst score and the highest GFLOPs, so that both ends of a front contribute."""
    scores, gflops = [point[0] for point in points], [point[1] for point in points]
    return (
        min(scores) - 0.1 * (max(scores) - min(scores) or 1.0),
        max(gflops) + 0.1 * (max(gflops) - min(gflops) or 1.0),
    )
