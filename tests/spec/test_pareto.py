"""Fronts, against their definition written out."""

import itertools
import math
import random

import numpy as np
import pytest

from lstn_search.errors import SettingError
from lstn_search.spec.objectives import OBJECTIVES, Objective
from lstn_search.spec.pareto import Point, contributions, front, hypervolume, knee, parse_pick, pick


def random_points(seed: int, num_costs: int = 1) -> list[Point]:
    """Up to 40 points on a coarse grid, so that ties are common."""
    rng = random.Random(seed)
    return [
        (rng.randrange(12) / 2, *(rng.randrange(1, 12) / 4 for _ in range(num_costs)))
        for _ in range(rng.randrange(1, 40))
    ]


def beaten(points: list[Point], i: int) -> bool:
    """By a point at least as good in all, and better in one or earlier in the list."""
    accuracy, *costs = points[i]
    return any(
        other[0] >= accuracy
        and all(theirs <= own for theirs, own in zip(other[1:], costs, strict=True))
        and (other != points[i] or j < i)
        for j, other in enumerate(points)
    )


@pytest.mark.parametrize("num_costs", [1, 2])
@pytest.mark.parametrize("seed", range(50))
def test_front_is_its_definition(seed: int, num_costs: int) -> None:
    points = random_points(seed, num_costs)
    indices = front(points)
    assert set(indices) == {i for i in range(len(points)) if not beaten(points, i)}
    assert indices == sorted(indices, key=lambda i: points[i][1:])


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


@pytest.mark.parametrize("seed", range(20))
def test_a_hypervolume_of_three_is_its_inclusion_and_exclusion(seed: int) -> None:
    points, reference = random_points(seed, 2)[:9], (1.0, 2.25, 2.0)
    volume = 0.0
    for size in range(1, len(points) + 1):
        for some in itertools.combinations(points, size):
            corner = (min(p[0] for p in some), max(p[1] for p in some), max(p[2] for p in some))
            sides = (corner[0] - reference[0], reference[1] - corner[1], reference[2] - corner[2])
            volume += (-1) ** (size + 1) * math.prod(max(side, 0.0) for side in sides)
    assert hypervolume(points, reference) == pytest.approx(volume, abs=1e-9)


@pytest.mark.parametrize("num_costs", [1, 2])
@pytest.mark.parametrize("seed", range(20))
def test_what_a_point_contributes_is_the_hypervolume_without_it_less(seed: int, num_costs: int) -> None:
    points, reference = random_points(seed, num_costs), (-1.0, *[3.0] * num_costs)
    twins = [points[i] for i in front(points)] + [points[front(points)[0]]]
    whole = hypervolume(twins, reference)
    without = [hypervolume(twins[:i] + twins[i + 1 :], reference) for i in range(len(twins))]
    expected = [whole - part for part in without]
    assert contributions(np.array(twins), reference).tolist() == pytest.approx(expected, abs=1e-9)
    assert expected[0] == expected[-1] == pytest.approx(0)


def test_failed_trials_are_on_no_front() -> None:
    points = [(math.nan, 0.001), (60.0, 0.02), (70.0, math.inf), (50.0, 0.01)]
    assert front(points) == [3, 1]
    assert hypervolume(points, (40.0, 0.03)) == pytest.approx(10 * 0.01 + 20 * 0.01)
    assert front([(50.0, 0.01, math.nan), (40.0, 0.02, 5.0)]) == [1]


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


def test_knee_of_two_costs_weighs_both() -> None:
    points = [(50.0, 0.001, 900.0), (64.0, 0.004, 200.0), (65.0, 0.015, 100.0), (66.0, 0.03, 1000.0)]
    assert front(points) == [0, 1, 2, 3]
    heights = [0 - 8 / 9 / 2, 14 / 16 - (3 / 29 + 1 / 9) / 2, 15 / 16 - 14 / 29 / 2, 1 - 1]
    assert knee(points) == heights.index(max(heights)) == 1
    assert knee([(50.0, 0.5, 3.0)]) == 0


def test_picks_of_two_costs() -> None:
    costs = (OBJECTIVES["gflops"], Objective(name="weight", heading="kg", format=",.0f"))
    points = [(64.0, 0.004, 2000.0), (66.0, 0.01, 3000.0), (60.0, 0.02, 1000.0), (65.0, 0.03, 2000.0)]
    assert front(points) == [0, 1, 2, 3]
    assert pick(points, "best", costs) == 1, "the most accurate is not the dearest"
    assert pick(points, "max-gflops=0.005", costs) == 0
    assert pick(points, "max-weight=2500", costs) == 3
    assert pick([(64.0, 0.01, 2.0), (64.0, 0.02, 1.0)], "best", costs) == 0, "of equals the cheaper"
    with pytest.raises(SettingError, match="needs at most 10 kg; the cheapest: 1,000"):
        pick(points, "max-weight=10", costs)
    with pytest.raises(SettingError, match="'max-weight=10' is unknown; known: best, knee, max-gflops=X"):
        pick(points, "max-weight=10")
    with pytest.raises(SettingError, match="'x' is not a positive number; write max-weight=X with X in kg"):
        parse_pick("max-weight=x", costs)


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
