"""The results of one rung, kept in order as they come in, and who of them deserves to climb.

The order is by non-dominated rank of (score up, GFLOPs down), within a rank by what an architecture adds to the
hypervolume, of equals the cheaper first, then by number. The best 1/eta of a rung's results may climb.

The ranks are kept as layers: layer 0 is the front, layer 1 the front of the rest, and so on. In two dimensions a new
result pushes one contiguous piece of its layer down into the next, which pushes one of that, and so on, so among
thousands of results only some tens move (incremental non-dominated sorting, Li et al. 2017).
"""

import bisect
import dataclasses
import heapq
import math

__all__ = ["Rung", "Standing"]

Point = tuple[float, float, int]
"""(GFLOPs, score, number): so that a sorted layer runs from the cheapest to the most accurate."""


@dataclasses.dataclass(kw_only=True, frozen=True, slots=True)
class Standing:
    """An architecture's result at one rung."""

    number: int
    score: float
    """Higher is better; comparable within a rung only."""
    gflops: float
    may_climb: bool = True
    """False: dead, or over the budget. It counts among the rung's results and stands behind all others."""


class Rung:
    """One rung's results."""

    def __init__(self) -> None:
        self.num_results = 0
        self._layers: list[list[Point]] = []
        self._layer_of: dict[int, int] = {}
        self._waiting: set[int] = set()
        self._queue: list[tuple[int, int]] = []  # (layer, number), a heap; layers as they once were, and some have left
        self._bounds = (math.inf, -math.inf, math.inf, -math.inf)  # least and greatest score, least and greatest GFLOPs

    def add(self, standing: Standing) -> None:
        """A result came in."""
        assert standing.number not in self._layer_of
        self.num_results += 1
        if not (standing.may_climb and math.isfinite(standing.score)):
            return
        score, gflops, number = standing.score, standing.gflops, standing.number
        low, high, cheap, dear = self._bounds
        self._bounds = (min(low, score), max(high, score), min(cheap, gflops), max(dear, gflops))
        self._insert((gflops, score, number))
        self._waiting.add(number)
        heapq.heappush(self._queue, (self._layer_of[number], number))

    def leave(self, number: int) -> None:
        """This architecture climbs, or need not be asked any more."""
        self._waiting.discard(number)

    def climber(self, eta: int) -> int | None:
        """The best that has not left, if it is among the best 1/eta of all results; None: nobody deserves it yet."""
        layer = self._first_waiting_layer()
        if layer is None:
            return None
        room = self.num_results // eta - sum(map(len, self._layers[:layer]))
        if room <= 0:
            return None
        return next((number for number in self._ordered(layer)[:room] if number in self._waiting), None)

    def order(self) -> list[int]:
        """The numbers of those that may climb or have climbed, best first."""
        return [number for layer in range(len(self._layers)) for number in self._ordered(layer)]

    def _first_waiting_layer(self) -> int | None:
        """Layers only ever sink, so an outdated entry of the queue is too optimistic and goes back to where it is."""
        while self._queue:
            layer, number = self._queue[0]
            if number not in self._waiting:
                heapq.heappop(self._queue)
            elif layer != self._layer_of[number]:
                heapq.heapreplace(self._queue, (self._layer_of[number], number))
            else:
                return layer
        return None

    def _ordered(self, layer: int) -> list[int]:
        """The numbers of a layer, the largest contribution to its hypervolume first.

        The reference is a tenth of the range beyond the worst score and the highest GFLOPs of the rung, so that both
        ends of a layer contribute.
        """
        low, high, cheap, dear = self._bounds
        worst, dearest = low - 0.1 * (high - low or 1.0), dear + 0.1 * (dear - cheap or 1.0)
        points = self._layers[layer]
        scores_below = [worst, *(score for _, score, _ in points)]
        gflops_above = [*(gflops for gflops, _, _ in points[1:]), dearest]
        gains = [
            (score - below) * (above - gflops)
            for (gflops, score, _), below, above in zip(points, scores_below, gflops_above, strict=False)
        ]
        ranked = sorted(range(len(points)), key=gains.__getitem__, reverse=True)  # stable also in reverse
        return [points[i][2] for i in ranked]

    def _insert(self, point: Point) -> None:
        """Into the first layer that does not dominate it; what it dominates there sinks a layer, and so on."""
        gflops, score, number = point
        first = bisect.bisect_left(self._layers, True, key=lambda layer: not _dominates(layer, gflops, score))
        sinking = [point]
        for depth in range(first, len(self._layers)):
            layer = self._layers[depth]
            start = bisect.bisect_left(layer, (sinking[0][0],))
            if start < len(layer) and layer[start][:2] == (gflops, score):  # the same point again: nothing sinks
                bisect.insort(layer, point)
                self._layer_of[number] = depth
                return
            stop, highest = start, sinking[-1][1]
            while stop < len(layer) and layer[stop][1] <= highest:
                stop += 1
            sunk = layer[start:stop]
            layer[start:stop] = sinking
            self._layer_of |= {number: depth for _, _, number in sinking}
            if not sunk:
                return
            sinking = sunk
        self._layers.append(sinking)
        self._layer_of |= {number: len(self._layers) - 1 for _, _, number in sinking}


def _dominates(layer: list[Point], gflops: float, score: float) -> bool:
    """Whether a point of the layer is no worse in both and better in one: if any is, the dearest that is as cheap."""
    i = bisect.bisect_right(layer, (gflops, math.inf))
    if i == 0:
        return False
    other_gflops, other_score, _ = layer[i - 1]
    return other_score > score or (other_score == score and other_gflops < gflops)
