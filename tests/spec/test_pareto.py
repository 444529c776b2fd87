"""Fronts, against their definition written out."""

import math
import random

import pytest

from lstn_search.errors import SettingError
from lstn_search.spec.pareto import Point, front, hypervolume, knee, parse_pick, pick


def random_points(seed: int) -> list[Point]:
    """Up to 40 points on a coarse grid, so that ties are common."""
    rng = random.Random(seed)
    return [(rng.randrange(12) / 2, rng.randrange(1, 12) / 4) for _ in range(rng.randrange(1, 40))]


def beaten(points: list[Point], i: int) -> bool:
    """By a point at least as good in both, and better in one or earlier in the list."""
    accuracy, gflops = points[i]
    return any(
        a >= accuracy and g <= gflops and ((a, g) != (accuracy, gflops) or j < i) for j, (a, g) in enumerate(points)
    )


@pytest.mark.parametrize("seed", range(50))
def test_front_is_its_definition(seed: int) -> None:
    points = random_points(seed)
    indices = front(points)
    assert set(indices) == {i for i in range(len(points)) if not beaten(points, i)}
    assert indices == sorted(indices, key=lambda i: points[i][1])


@pytest.mark.parametrize("seed", range(50))
def test_hypervolume_is_the_area_of_the_steps(seed: int) -> None:
    points, reference = random_points(seed), (1.0, 2.25)
    area, gflops_before, best = 0.0, 0.0, reference[0]
    for gflops in sorted({g for _, g in points if g < reference[1]}):  # sweep from cheap to dear
        area += (best - reference[0]) * (gflops - gflops_before)
        best = max([best, *(a for a, g in points if g == gflops)])
        gflops_before = gflops
    area += (best - reference[0]) * (reference[1] - gflops_before)
    assert hypervolume(points, reference) == pytest.approx(area)


def test_failed_trials_are_on_no_front() -> None:
    points = [(math.nan, 0.001), (60.0, 0.02), (70.0, math.inf), (50.0, 0.01)]
    assert front(points) == [3, 1]
    assert hypervolume(points, (40.0, 0.03)) == pytest.approx(10 * 0.01 + 20 * 0.01)


def test_hypervolume_of_nothing_is_zero() -> None:
    assert hypervolume([], (0.0, 1.0)) == 0
    assert hypervolume([(0.0, 0.5), (1.0, 1.0)], (0.0, 1.0)) == 0


def test_knee_is_where_more_stops_paying() -> None:
    points = [(50.0, 0.001), (64.0, 0.004), (65.0, 0.015), (66.0, 0.03), (40.0, 0.02)]
    assert knee(points) == 1
    assert knee([(10 * a, 1000 * g) for a, g in points]) == 1, "units do not matter"


def test_knee_of_a_short_or_straight_front_is_its_cheapest() -> None:
    assert knee([(50.0, 0.5)]) == 0
    assert knee([(60.0, 0.5), (50.0, 0.25)]) == 1
    assert knee([(75.0, 0.75), (50.0, 0.5), (25.0, 0.25)]) == 2


def test_picks() -> None:
    points = [(50.0, 0.001), (64.0, 0.004), (65.0, 0.015), (66.0, 0.03)]
    assert pick(points, "best") == 3
    assert pick(points, "knee") == 1
    assert pick(points, "max-gflops=0.015") == 2
    assert parse_pick("max-gflops=0.01") == ("max-gflops", 0.01)


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("bset", "did you mean 'best'"),
        ("best=3", "is unknown"),
        ("max-gflops", "did you mean 'max-gflops=X'"),
        ("max-gflops=lots", "'lots' is not a positive number"),
        ("max-gflops=nan", "'nan' is not a positive number"),
        ("max-gflops=0.0001", "at most 0.0001 GFLOPs; the cheapest: 0.001"),
    ],
)
def test_pick_refuses(how: str, message: str) -> None:
    with pytest.raises(SettingError, match=message):
        pick([(50.0, 0.001)], how)


@pytest.mark.parametrize("how", ["best", "knee", "max-gflops=1"])
def test_nothing_to_pick_from(how: str) -> None:
    with pytest.raises(SettingError, match="front is empty"):
        pick([(math.nan, 0.1)], how)
