"""Fronts of (accuracy, GFLOPs): accuracy up, GFLOPs down. Pure functions on pairs, without a model in sight.

Points whose accuracy or GFLOPs is not finite (a trial that failed) are never on a front and never picked.
"""

import math
from collections.abc import Sequence

from lstn_search.errors import SettingError, did_you_mean

__all__ = ["Point", "front", "hypervolume", "knee", "parse_pick", "pick"]

Point = tuple[float, float]
"""(accuracy, GFLOPs)."""


def front(points: Sequence[Point]) -> list[int]:
    """Indices of the points that no other point beats, cheapest first.

    A point beats another when it is at least as accurate and at most as costly. Of points that are equal in both the
    first one stays, so along the front accuracy and GFLOPs both rise strictly.
    """
    found: list[int] = []
    best = -math.inf
    for i in sorted(_finite(points), key=lambda i: (points[i][1], -points[i][0], i)):
        accuracy = points[i][0]
        if accuracy > best:
            best = accuracy
            found.append(i)
    return found


def hypervolume(points: Sequence[Point], reference: Point) -> float:
    """Area between the front and `reference` (accuracy, GFLOPs), a point that is worse than all of interest.

    Points that do not beat the reference in both add nothing; without any the area is 0.
    """
    import moocore  # here, because it brings numpy: 0.15 s

    inside = [points[i] for i in _finite(points) if points[i][0] > reference[0] and points[i][1] < reference[1]]
    if not inside:
        return 0.0
    return float(moocore.hypervolume(inside, ref=reference, maximise=[True, False]))


def knee(points: Sequence[Point]) -> int:
    """Index of the front's knee: where more GFLOPs stop paying.

    Both axes are scaled so that the front runs from (0, 0), its cheapest point, to (1, 1), its most accurate; the knee
    lies farthest above the straight line between the two. Of equally far points the cheapest is taken, so a front of
    one or two points, or a straight one, answers with its cheapest. Raises SettingError when there is no point.
    """
    indices = _nonempty(front(points))
    lowest, highest = points[indices[0]], points[indices[-1]]

    def above(i: int) -> float:
        accuracy = (points[i][0] - lowest[0]) / (highest[0] - lowest[0])
        gflops = (points[i][1] - lowest[1]) / (highest[1] - lowest[1])
        return accuracy - gflops

    return indices[0] if len(indices) < 3 else max(indices, key=above)


def pick(points: Sequence[Point], how: str) -> int:
    """Index of one point of the front: `best` (most accurate), `knee`, or `max-gflops=X` (most accurate up to X).

    Raises SettingError: another `how`, no point at all, or none as cheap as X.
    """
    name, limit = parse_pick(how)
    if name == "knee":
        return knee(points)
    indices = _nonempty(front(points))
    if limit is None:
        return indices[-1]
    cheap = [i for i in indices if points[i][1] <= limit]
    if not cheap:
        raise SettingError(
            f"no point of the front needs at most {limit:g} GFLOPs; the cheapest: {points[indices[0]][1]:g}"
        )
    return cheap[-1]


def parse_pick(how: str) -> tuple[str, float | None]:
    """Split `best`, `knee` or `max-gflops=X` into its name and X. Raises SettingError on anything else."""
    name, equals, text = how.partition("=")
    known = ("best", "knee", "max-gflops=X")
    if name in ("best", "knee") and not equals:
        return name, None
    if name != "max-gflops" or not equals:
        raise SettingError(f"pick {how!r} is unknown; {did_you_mean(how, known)}")
    try:
        limit = float(text)
    except ValueError:
        limit = math.nan
    if not (math.isfinite(limit) and limit > 0):
        raise SettingError(f"pick {how!r}: {text!r} is not a positive number; write for example max-gflops=0.01")
    return name, limit


def _finite(points: Sequence[Point]) -> list[int]:
    return [i for i, (accuracy, gflops) in enumerate(points) if math.isfinite(accuracy) and math.isfinite(gflops)]


def _nonempty(indices: list[int]) -> list[int]:
    if not indices:
        raise SettingError("the front is empty: no trial has a result yet; run more trials")
    return indices
