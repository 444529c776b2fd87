"""The ladder: what is a valid one, and who climbs."""

import random

import pytest

from lstn_search import pareto
from lstn_search.errors import SettingError
from lstn_search.search.ladder import Ladder, Standing, climber, order


def standings(*points: tuple[float, float]) -> list[Standing]:
    return [Standing(number=i, score=score, gflops=gflops) for i, (score, gflops) in enumerate(points)]


def test_a_ladder_is_read_from_text() -> None:
    assert Ladder.parse("2,6,18") == Ladder(epochs=(2, 6, 18))
    assert Ladder.parse("4").top == 1


@pytest.mark.parametrize("text", ["", "2,x", "6,2", "2,2", "0,1", "-1"])
def test_a_ladder_that_makes_no_sense_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(SettingError, match=r"try 2,6,18|for example 2,6,18"):
        Ladder.parse(text)


def test_eta_is_at_least_two() -> None:
    with pytest.raises(SettingError, match="eta"):
        Ladder(eta=1)


def test_a_front_comes_before_what_it_dominates() -> None:
    rng = random.Random(0)
    for _ in range(50):
        points = [(rng.random(), rng.random()) for _ in range(12)]
        ordered = [s.number for s in order(standings(*points))]
        front = set(pareto.front(points))
        assert set(ordered[: len(front)]) == front
        assert sorted(ordered) == list(range(12))


def test_within_a_rank_the_largest_gap_in_the_hypervolume_counts() -> None:
    # 1 and 2 are neighbours that add nearly nothing to each other; 0 and 3 hold the ends of the front
    ordered = [s.number for s in order(standings((50, 0.001), (60, 0.01), (60.1, 0.0101), (70, 0.03)))]
    assert set(ordered[:2]) == {0, 3}


def test_the_order_of_a_front_agrees_with_explicit_hypervolumes() -> None:
    rng = random.Random(1)
    for _ in range(20):
        points = [(rng.random(), rng.random()) for _ in range(8)]
        found = standings(*points)
        worst, costliest = min(s for s, _ in points), max(g for _, g in points)
        reference = (worst - 0.1 * (max(s for s, _ in points) - worst),
                     costliest + 0.1 * (costliest - min(g for _, g in points)))  # fmt: skip
        front = pareto.front(points)
        whole = pareto.hypervolume([points[i] for i in front], reference)
        gain = {i: whole - pareto.hypervolume([points[j] for j in front if j != i], reference) for i in front}
        assert [s.number for s in order(found)][: len(front)] == sorted(front, key=lambda i: -gain[i])


def test_one_in_eta_climbs_and_each_once() -> None:
    found = standings((50, 0.01), (60, 0.02), (40, 0.03), (30, 0.04))
    first = climber(found, set(), 2)
    second = climber(found, {first} if first is not None else set(), 2)
    assert {first, second} == {0, 1}
    assert climber(found, {0, 1}, 2) is None
    assert climber(found[:1], set(), 2) is None


def test_the_dead_and_the_unfinished_do_not_climb() -> None:
    dead = Standing(number=0, score=99, gflops=0.001, may_climb=False)
    failed = Standing(number=1, score=float("nan"), gflops=0.001)
    alive = Standing(number=2, score=10, gflops=0.02)
    assert [s.number for s in order([dead, failed, alive])] == [2]
    assert climber([dead, failed, alive, dead], set(), 2) == 2
