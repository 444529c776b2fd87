"""The results of one rung as they come in, and who of them deserves to climb.

The order is by non-dominated rank of (score up, costs down), within a rank by what an architecture adds to the
hypervolume, of equals the cheaper first, then by number. The best 1/eta of a rung's results may climb.
"""

import dataclasses
import math
from array import array

import numpy as np
from numpy.typing import NDArray

from lstn_search.spec import pareto

__all__ = ["Rung", "Standing"]


@dataclasses.dataclass(kw_only=True, frozen=True, slots=True)
class Standing:
    """An architecture's result at one rung."""

    number: int
    score: float
    """Higher is better; comparable within a rung only."""
    costs: tuple[float, ...]
    """Lower is better, in the order of the search's objectives."""
    may_climb: bool = True
    """False: dead, or over the budget. It counts among the rung's results and stands behind all others."""


class Rung:
    """One rung's results. They are ranked when somebody asks for the best, once a result."""

    def __init__(self) -> None:
        self.num_results = 0
        self._standings: dict[int, Standing] = {}  # of those that may climb, by number
        self._values = array("d")  # (score, costs) of each, and below whether it has not left yet
        self._waits: dict[int, bool] = {}
        self._ranks: NDArray[np.intc] | None = None

    def add(self, standing: Standing) -> None:
        """A result came in."""
        assert standing.number not in self._standings
        self.num_results += 1
        if standing.may_climb and math.isfinite(standing.score):
            self._standings[standing.number] = standing
            self._values.extend((standing.score, *standing.costs))
            self._waits[standing.number] = True
            self._ranks = None

    def leave(self, number: int) -> None:
        """This architecture climbs, or need not be asked any more."""
        if number in self._waits:
            self._waits[number] = False

    def climber(self, eta: int) -> int | None:
        """The best that has not left, if it is among the best 1/eta of all results; None: nobody deserves it yet."""
        waits_N = np.fromiter(self._waits.values(), bool, len(self._waits))
        if not waits_N.any():
            return None
        ranks_N = self._ranked()
        rank = int(ranks_N[waits_N].min())
        room = self.num_results // eta - int((ranks_N < rank).sum())
        return next((number for number in self._ordered(rank)[: max(room, 0)] if self._waits[number]), None)

    def order(self) -> list[int]:
        """The numbers of those that may climb or have climbed, best first."""
        ranks = sorted(set(self._ranked().tolist())) if self._standings else []
        return [number for rank in ranks for number in self._ordered(rank)]

    def _ranked(self) -> NDArray[np.intc]:
        if self._ranks is None:
            self._ranks = pareto.ranks(self._points())
        return self._ranks

    def _points(self) -> NDArray[np.float64]:
        return np.array(self._values).reshape(len(self._standings), -1)

    def _ordered(self, rank: int) -> list[int]:
        """The numbers of a rank, the largest contribution to its hypervolume first.

        The reference is a tenth of the range beyond the worst score and the highest costs of the rung, so that all ends
        of a rank contribute.
        """
        numbers, points_ND = list(self._standings), self._points()
        lowest_D, highest_D = points_ND.min(axis=0), points_ND.max(axis=0)
        beyond_D = 0.1 * np.where(highest_D > lowest_D, highest_D - lowest_D, 1.0)
        reference_D = [lowest_D[0] - beyond_D[0], *(highest_D + beyond_D)[1:]]
        members = np.flatnonzero(self._ranked() == rank).tolist()
        members.sort(key=lambda i: (self._standings[numbers[i]].costs, numbers[i]))
        gains = dict(zip(members, pareto.contributions(points_ND[members], reference_D), strict=True))
        return [numbers[i] for i in sorted(members, key=gains.__getitem__, reverse=True)]  # stable also in reverse
