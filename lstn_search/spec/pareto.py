"""Fronts of (accuracy, costs): accuracy up, one or more costs down. Pure functions on tuples, without a model in sight.

Points with a value that is not finite (a trial that failed) are never on a front and never picked. moocore does the
sorting; it is imported where it is needed, because it brings numpy: 0.15 s.
"""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from lstn_search.errors import SettingError, did_you_mean
from lstn_search.spec.objectives import OBJECTIVES, Objective

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["Point", "contributions", "front", "hypervolume", "knee", "parse_pick", "pick", "ranks"]

Point = tuple[float, ...]
"""(accuracy, GFLOPs), or with the costs a search was asked for. All of a call have the same length."""
GFLOPS = (OBJECTIVES["gflops"],)


def front(points: Sequence[Point]) -> list[int]:
    """Indices of the points that no other point beats, cheapest first by the first cost, then by the next.

    A point beats another when it is at least as accurate and at most as costly in all. Of points that are equal in all
    the first one stays, so along the front of a single cost accuracy and cost both rise strictly.
    """
    import moocore

    indices = [i for i, point in enumerate(points) if all(map(math.isfinite, point))]
    if not indices:
        return []
    stays = moocore.is_nondominated([points[i] for i in indices], maximise=_maximise(points))
    return sorted((i for i, stay in zip(indices, stays, strict=True) if stay), key=lambda i: points[i][1:])


def ranks(points: "NDArray[np.float64]") -> "NDArray[np.intc]":
    """The non-dominated rank of each point: 0 on the front, 1 on the front of the rest, and so on; equals share one."""
    import moocore

    return moocore.pareto_rank(points, maximise=_maximise(points))  # type: ignore[no-any-return]


def contributions(points: "NDArray[np.float64]", reference: Sequence[float]) -> "NDArray[np.float64]":
    """What each of these points of one rank adds to their hypervolume; twins add nothing."""
    import moocore

    return moocore.hv_contributions(points, ref=reference, maximise=_maximise(points))  # type: ignore[no-any-return]


def hypervolume(points: Sequence[Point], reference: Point) -> float:
    """Area or volume between the front and `reference`, a point that is worse than all of interest.

    Points that do not beat the reference in everything add nothing; without any the volume is 0.
    """
    import moocore

    inside = [
        point
        for point in points
        if all(map(math.isfinite, point))
        and point[0] > reference[0]
        and all(cost < limit for cost, limit in zip(point[1:], reference[1:], strict=True))
    ]
    return float(moocore.hypervolume(inside, ref=reference, maximise=_maximise(inside))) if inside else 0.0


def knee(points: Sequence[Point]) -> int:
    """Index of the front's knee: where paying more stops paying off.

    Every axis is scaled so that the front reaches from 0 to 1, and the knee is highest in accuracy less the mean of its
    costs: with one cost it lies farthest above the straight line from the cheapest point to the most accurate. Of
    equally good points the cheapest is taken, so a front of one cost that is short or straight answers with its
    cheapest. Raises SettingError when there is no point.
    """
    indices = _nonempty(front(points))
    lows = [min(values) for values in zip(*(points[i] for i in indices), strict=True)]
    highs = [max(values) for values in zip(*(points[i] for i in indices), strict=True)]

    def above(i: int) -> float:
        scaled: list[float] = [
            (x - low) / (high - low or 1.0) for x, low, high in zip(points[i], lows, highs, strict=True)
        ]
        return scaled[0] - sum(scaled[1:]) / len(scaled[1:])

    return max(indices, key=above)


def pick(points: Sequence[Point], how: str, costs: Sequence[Objective] = GFLOPS) -> int:
    """Index of one point of the front: `best` (most accurate), `knee`, or `max-COST=X` (most accurate up to X).

    `costs` are those of the points, in their order. Raises SettingError: another `how`, no point at all, or none as
    cheap as X.
    """
    name, limit = parse_pick(how, costs)
    if name == "knee":
        return knee(points)
    indices = _nonempty(front(points))
    if limit is not None:
        axis, cost = next((i, cost) for i, cost in enumerate(costs, start=1) if name == f"max-{cost.name}")
        least = min(points[i][axis] for i in indices)
        indices = [i for i in indices if points[i][axis] <= limit]
        if not indices:
            raise SettingError(
                f"no point of the front needs at most {cost.quote(limit)}; the cheapest: {least:{cost.format}}"
            )
    return max(indices, key=lambda i: points[i][0])


def parse_pick(how: str, costs: Sequence[Objective] = GFLOPS) -> tuple[str, float | None]:
    """Split `best`, `knee` or `max-COST=X` into its name and X. Raises SettingError on anything else."""
    name, equals, text = how.partition("=")
    limits = [f"max-{cost.name}" for cost in costs]
    if name in ("best", "knee") and not equals:
        return name, None
    if name not in limits or not equals:
        raise SettingError(
            f"pick {how!r} is unknown; {did_you_mean(how, ['best', 'knee', *(f'{n}=X' for n in limits)])}"
        )
    try:
        limit = float(text)
    except ValueError:
        limit = math.nan
    if not (math.isfinite(limit) and limit > 0):
        unit = costs[limits.index(name)].heading
        raise SettingError(f"pick {how!r}: {text!r} is not a positive number; write {name}=X with X in {unit}")
    return name, limit


def _maximise(points: "Sequence[Point] | NDArray[np.float64]") -> list[bool]:
    return [True] + [False] * (len(points[0]) - 1)


def _nonempty(indices: list[int]) -> list[int]:
    if not indices:
        raise SettingError("the front is empty: no trial has a result yet; run more trials")
    return indices
