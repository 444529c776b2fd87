"""A rung's order after every result, against its definition written out with moocore, for one cost and for two."""

import itertools
import math
import random

import moocore
import numpy as np
import pytest
from numpy.typing import NDArray

from lstn_search.spec import pareto
from lstn_search.study.rung import Rung, Standing

Point = tuple[float, ...]


def rung_of(points: list[Point]) -> Rung:
    """A rung with these (score, costs), numbered as they come."""
    rung = Rung()
    for number, (score, *costs) in enumerate(points):
        rung.add(Standing(number=number, score=score, costs=tuple(costs)))
    return rung


def reference_of(points: list[Point]) -> Point:
    """A tenth of the range beyond the worst of each."""
    scores, *costs = zip(*points, strict=True)
    worst = min(scores) - 0.1 * (max(scores) - min(scores) or 1.0)
    return (worst, *(max(values) + 0.1 * (max(values) - min(values) or 1.0) for values in costs))


def plain_ranks(points: list[Point]) -> list[int]:
    """By definition: how many points stand in the longest chain of those that dominate it, one the next."""

    def dominates(a: Point, b: Point) -> bool:
        return a != b and a[0] >= b[0] and all(x <= y for x, y in zip(a[1:], b[1:], strict=True))

    ranks: dict[int, int] = {}
    for i in sorted(range(len(points)), key=lambda i: (-points[i][0], points[i][1:])):  # whatever dominates comes first
        ranks[i] = 1 + max((ranks[j] for j in ranks if dominates(points[j], points[i])), default=-1)
    return [ranks[i] for i in range(len(points))]


def plain_order(points: list[Point]) -> list[int]:
    """The definition: by rank, within a rank by hypervolume contribution, then the cheaper, then by number."""
    maximise = [True] + [False] * (len(points[0]) - 1)
    ranks = moocore.pareto_rank(points, maximise=maximise)
    gains: dict[int, float] = {}
    for rank in set(ranks):
        members = [i for i, other in enumerate(ranks) if other == rank]
        found = moocore.hv_contributions([points[i] for i in members], ref=reference_of(points), maximise=maximise)
        gains |= {i: float(gain) for i, gain in zip(members, found, strict=True)}
    return sorted(range(len(points)), key=lambda i: (ranks[i], -gains[i], points[i][1:], i))


def random_points(rng: random.Random, kind: str, count: int) -> list[Point]:
    if kind == "two costs":
        return [(rng.random(), rng.random(), rng.random()) for _ in range(count)]
    if kind == "two costs that agree":
        costs = [rng.random() for _ in range(count)]
        return [(cost + rng.gauss(0, 0.2), cost, cost + rng.gauss(0, 0.1)) for cost in costs]
    if kind == "scattered":
        return [(rng.random(), rng.random()) for _ in range(count)]
    if kind == "costlier is better":
        return [(gflops + rng.gauss(0, 0.05), gflops) for gflops in (rng.random() for _ in range(count))]
    return [(gflops, -gflops) for gflops in (rng.random() for _ in range(count))]  # cheaper is better: a layer each


KINDS = ["scattered", "costlier is better", "cheaper is better", "two costs", "two costs that agree"]


@pytest.mark.parametrize("kind", KINDS)
def test_the_order_after_every_result_is_its_definition(kind: str) -> None:
    for seed in range(10):
        points = random_points(random.Random(seed), kind, 40)
        rung = Rung()
        for number, (score, *costs) in enumerate(points):
            rung.add(Standing(number=number, score=score, costs=tuple(costs)))
            assert rung.order() == plain_order(points[: number + 1])


@pytest.mark.parametrize("num_costs", [1, 2])
def test_equal_points_and_equal_scores_have_their_ranks(num_costs: int) -> None:
    for seed in range(200):
        rng = random.Random(seed)
        points = [tuple(float(rng.randrange(4)) for _ in range(1 + num_costs)) for _ in range(15)]
        ranks = plain_ranks(points)
        assert pareto.ranks(np.array(points)).tolist() == ranks
        assert [ranks[i] for i in rung_of(points).order()] == sorted(ranks)


def test_equal_points_are_ordered_by_number_however_they_came_in() -> None:
    points = [(60.0, 0.02), (50.0, 0.01), (60.0, 0.02), (60.0, 0.02)]
    for numbers in itertools.permutations(range(4)):
        rung = Rung()
        for number in numbers:
            rung.add(Standing(number=number, score=points[number][0], costs=points[number][1:]))
        assert rung.order() == [1, 0, 2, 3]


def test_the_climber_is_the_first_of_the_top_that_has_not_left() -> None:
    for seed in range(20):
        rng = random.Random(seed)
        rung, points, left = Rung(), [], set()
        for number in range(60):
            points.append((rng.random(), rng.random()))
            rung.add(Standing(number=number, score=points[-1][0], costs=points[-1][1:]))
            if number % 7 == 3:
                gone = rng.randrange(number + 1)
                rung.leave(gone)
                left.add(gone)
            while True:
                deserving = [i for i in plain_order(points)[: len(points) // 3] if i not in left]
                assert rung.climber(3) == (deserving[0] if deserving else None)
                if not deserving or rng.random() < 0.3:
                    break
                rung.leave(deserving[0])
                left.add(deserving[0])


def test_a_front_comes_before_what_it_dominates() -> None:
    points = random_points(random.Random(0), "scattered", 100)
    front = pareto.front(points)
    assert set(rung_of(points).order()[: len(front)]) == set(front)


@pytest.mark.parametrize("kind", ["scattered", "two costs"])
def test_the_order_of_a_front_agrees_with_explicit_hypervolumes(kind: str) -> None:
    for seed in range(20):
        points = random_points(random.Random(seed), kind, 8)
        reference, front = reference_of(points), pareto.front(points)
        whole = pareto.hypervolume([points[i] for i in front], reference)
        gain = {i: whole - pareto.hypervolume([points[j] for j in front if j != i], reference) for i in front}
        assert rung_of(points).order()[: len(front)] == sorted(front, key=lambda i: -gain[i])


def test_the_ends_of_a_front_come_before_near_twins_in_its_middle() -> None:
    order = rung_of([(50, 0.001), (60, 0.01), (60.1, 0.0101), (70, 0.03)]).order()
    assert set(order[:2]) == {0, 3}


def test_those_that_may_not_climb_count_as_results_but_have_no_place() -> None:
    rung = Rung()
    rung.add(Standing(number=0, score=99, costs=(0.001,), may_climb=False))
    rung.add(Standing(number=1, score=math.nan, costs=(0.001,)))
    rung.add(Standing(number=2, score=10, costs=(0.02,)))
    assert rung.order() == [2]
    assert rung.climber(4) is None
    assert rung.climber(3) == 2


@pytest.mark.parametrize("kind", ["scattered", "two costs"])
def test_a_result_after_ten_thousand_is_ranked_once(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    points = random_points(random.Random(0), kind, 10_020)
    rung = rung_of(points[:10_000])
    for number in rung.order()[:5000]:
        rung.leave(number)
    ranked: list[int] = []

    def counted(points_ND: NDArray[np.float64]) -> NDArray[np.intc]:
        ranked.append(len(points_ND))
        return ranks(points_ND)

    ranks = pareto.ranks
    monkeypatch.setattr(pareto, "ranks", counted)
    for number, (score, *costs) in enumerate(points[10_000:], start=10_000):
        rung.add(Standing(number=number, score=score, costs=tuple(costs)))
        climber = rung.climber(2)
        if climber is not None:
            rung.leave(climber)
    assert ranked == [*range(10_001, 10_021)]
