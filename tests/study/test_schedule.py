"""The schedule: who climbs, who never does, and that one rebuilt from its results goes on as if uninterrupted."""

import dataclasses
import heapq
import random
from collections import defaultdict

import pytest

from lstn_search.spec import pareto
from lstn_search.spec.ladder import Ladder
from lstn_search.study.rung import Rung, Standing
from lstn_search.study.schedule import Schedule, Step

LADDER = Ladder(epochs=(2, 6, 18))
TOP = LADDER.top


@pytest.fixture(autouse=True, params=[LADDER, Ladder(recover=(25,), epochs=(2, 6))], ids=lambda ladder: ladder.text)
def ladder(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything below holds whether recover is one rung or two."""
    monkeypatch.setitem(globals(), "LADDER", request.param)


@dataclasses.dataclass
class World:
    """What every architecture would score: a function of its number and the rung, so that histories can be compared."""

    seed: int = 0
    num_seeds: int = 3
    num_failing_in: int = 12
    """One in so many results is a failure, and as many are dead."""

    def facts(self, number: int) -> dict[str, object]:
        is_seed = number < self.num_seeds
        gflops = random.Random(f"{self.seed} {number}").uniform(0.001, 0.03) + (0.1 if number == 0 else 0.0)
        return {"costs": (gflops,), "is_seed": is_seed, "on_offer": number != 0}

    def result(self, number: int, rung: int) -> tuple[float | None, bool]:
        rng = random.Random(f"{self.seed} {number} {rung}")
        fate = rng.randrange(self.num_failing_in)
        score = random.Random(f"{self.seed} {number}").gauss(60, 3) + rng.gauss(0, 1.5) + 2 * rung
        if number < self.num_seeds:
            return score, True
        return (None if fate == 0 else score), fate > 1


@dataclasses.dataclass
class Search:
    """A driver in miniature: workers, the order things happened in, and what a crash would leave behind."""

    world: World
    num_workers: int = 1
    trials: int = 60
    schedule: Schedule = dataclasses.field(default_factory=lambda: Schedule(LADDER))
    steps: list[Step] = dataclasses.field(default_factory=list)
    results: list[tuple[int, float | None, bool]] = dataclasses.field(default_factory=list)
    under_way: list[tuple[float, int]] = dataclasses.field(default_factory=list)
    now: float = 0.0

    def run(self, *, stop_after: int | None = None) -> "Search":
        """Until everything is done, or until so many results are in."""
        while stop_after is None or len(self.results) < stop_after:
            while len(self.under_way) < self.num_workers:
                num_started = len(self.schedule.runners)
                step = self.schedule.next(may_propose=num_started < self.trials)
                if step is None:
                    break
                self.steps.append(step)
                number = step.number
                if step.kind == "propose":
                    number = num_started
                    self.schedule.start(number, **self.world.facts(number))
                self._begin(number, step.rung)
            assert self.schedule.num_in_flight == len(self.under_way)
            if not self.under_way:
                break
            self.now, number = heapq.heappop(self.under_way)
            score, alive = self.world.result(number, self.schedule.runners[number].next_rung)
            self.results.append((number, score, alive))
            self.schedule.finish(number, score, alive=alive)
        return self

    def resumed(self) -> "Search":
        """A new search from what is on disk: the finished results, and those proposed but never finished once."""
        again = Search(self.world, self.num_workers, self.trials)
        again.results = list(self.results)
        for number in self.schedule.runners:
            again.schedule.start(number, **self.world.facts(number))
            if not any(number == finished for finished, _, _ in self.results):
                again._begin(number, 0)
        for number, score, alive in self.results:
            again.schedule.finish(number, score, alive=alive)
        return again

    def _begin(self, number: int, rung: int) -> None:
        heapq.heappush(self.under_way, (self.now + random.Random(f"{number} {rung} time").expovariate(1), number))


def climbed(search: Search) -> dict[int, list[int]]:
    """The numbers that climbed to each rung, in order."""
    found: dict[int, list[int]] = defaultdict(list)
    for step in search.steps:
        if step.kind == "climb":
            found[step.rung].append(step.number)
    return found


def final_front(schedule: Schedule) -> list[int]:
    offered = [r for r in schedule.runners.values() if r.on_offer and r.alive and r.next_rung > LADDER.recovered + 1]
    return [offered[i].number for i in pareto.front([(r.scores[-1], *r.costs) for r in offered])]


ALL = [(seed, workers) for seed in range(8) for workers in (1, 2, 7, 100)]


@pytest.mark.parametrize(("seed", "workers"), ALL)
def test_every_step_is_taken_once_and_one_rung_at_a_time(seed: int, workers: int) -> None:
    search = Search(World(seed), workers).run()
    assert sum(step.kind == "propose" for step in search.steps) == search.trials == len(search.schedule.runners)
    rungs: dict[int, int] = {}
    for step in search.steps:
        if step.kind == "climb":
            assert step.rung == rungs.get(step.number, 0) + 1 <= TOP
            rungs[step.number] = step.rung
    assert len(search.steps) == len(search.results)


@pytest.mark.parametrize(("seed", "workers"), ALL)
def test_seeds_climb_every_rung_also_over_budget_but_never_reach_the_front_there(seed: int, workers: int) -> None:
    schedule = Search(World(seed), workers).run().schedule
    assert all(schedule.runners[number].next_rung == TOP + 1 for number in range(3))
    assert not schedule.runners[0].on_offer
    assert 0 not in final_front(schedule)


@pytest.mark.parametrize(("seed", "workers"), ALL)
def test_the_dead_and_the_failed_climb_no_further(seed: int, workers: int) -> None:
    search = Search(World(seed, num_failing_in=4), workers).run()
    ended: set[int] = set()
    for number, score, alive in search.results:
        assert number not in ended
        if score is None or not alive:
            ended.add(number)
    assert len(ended) > 10
    assert all(not search.schedule.runners[number].alive for number in ended)


@pytest.mark.parametrize(("seed", "workers"), ALL)
def test_at_the_end_the_front_has_climbed_to_the_top(seed: int, workers: int) -> None:
    schedule = Search(World(seed), workers).run().schedule
    front = final_front(schedule)
    assert front
    assert all(schedule.runners[number].next_rung == TOP + 1 for number in front)


@pytest.mark.parametrize("workers", [1, 5])
def test_what_climbs_is_in_the_top_half_of_its_rung_at_that_moment(workers: int) -> None:
    world = World(1, num_failing_in=6)
    schedule, rng = Schedule(LADDER), random.Random(0)
    results: dict[int, list[Standing]] = defaultdict(list)
    under_way: list[int] = []
    num_climbs = 0
    for _ in range(600):
        while len(under_way) < workers:
            step = schedule.next(may_propose=True)
            assert step is not None
            number = step.number
            if step.kind == "propose":
                number = len(schedule.runners)
                schedule.start(number, **world.facts(number))
            elif number >= world.num_seeds:
                below = Rung()
                for standing in results[step.rung - 1]:
                    below.add(standing)
                assert number in below.order()[: len(results[step.rung - 1]) // 2]
                num_climbs += 1
            under_way.append(number)
        number = under_way.pop(rng.randrange(workers))
        runner = schedule.runners[number]
        rung = runner.next_rung
        score, alive = world.result(number, rung)
        schedule.finish(number, score, alive=alive)
        if score is not None and number >= world.num_seeds:
            results[rung].append(Standing(number=number, score=score, costs=runner.costs, may_climb=alive))
    assert num_climbs > 150


def test_about_one_in_eta_climbs() -> None:
    world = World(0, num_seeds=0, num_failing_in=10**9)
    for eta in (2, 3, 4):
        search = Search(world, trials=200, schedule=Schedule(Ladder(epochs=(2, 6), eta=eta))).run()
        numbers = climbed(search)
        assert 200 // eta <= len(numbers[1]) <= 200 // eta + 25  # one worker climbs as soon as it may: some in error
        assert len(numbers[2]) >= len(numbers[1]) // eta


@pytest.mark.parametrize("workers", [1, 7])
def test_the_same_search_takes_the_same_steps(workers: int) -> None:
    assert Search(World(3), workers).run().steps == Search(World(3), workers).run().steps


@pytest.mark.parametrize("seed", range(4))
def test_interrupted_after_any_result_it_goes_on_as_if_nothing_had_happened(seed: int) -> None:
    world = World(seed, num_failing_in=6)
    whole = Search(world, trials=30).run()
    for count in range(len(whole.results)):
        before = Search(world, trials=30).run(stop_after=count)
        after = before.resumed().run()
        assert before.steps + after.steps == whole.steps
        assert after.results == whole.results


def test_a_job_that_was_under_way_is_asked_for_again() -> None:
    world = World(5)
    whole = Search(world, trials=30).run()
    for count in range(1, len(whole.results)):
        before = Search(world, trials=30).run(stop_after=count)
        step = before.schedule.next(may_propose=len(before.schedule.runners) < 30)
        assert before.resumed().schedule.next(may_propose=len(before.schedule.runners) < 30) == step


def test_the_order_in_which_results_are_read_back_does_not_matter() -> None:
    before = Search(World(2), num_workers=7).run(stop_after=60)
    shuffled = before.resumed()
    by_number = Search(World(2), num_workers=7)
    for number in before.schedule.runners:
        by_number.schedule.start(number, **before.world.facts(number))
        for finished, score, alive in before.results:
            if finished == number:
                by_number.schedule.finish(number, score, alive=alive)
    for _ in range(20):
        assert shuffled.schedule.next(may_propose=True) == by_number.schedule.next(may_propose=True)


def test_a_search_can_be_made_longer() -> None:
    world = World(4)
    short = Search(world, trials=20).run()
    longer = short.resumed()
    longer.trials = 40
    longer.run()
    assert len(longer.schedule.runners) == 40
    assert all(longer.schedule.runners[number].next_rung == TOP + 1 for number in final_front(longer.schedule))


def test_a_single_architecture_climbs_to_the_top() -> None:
    schedule = Schedule(LADDER)
    schedule.start(0, costs=(0.01,))
    rungs = []
    for rung in range(TOP + 1):
        schedule.finish(0, 50.0 + rung)
        rungs.append(schedule.next(may_propose=False))
    assert rungs == [*(Step(kind="climb", number=0, rung=rung) for rung in range(1, TOP + 1)), None]


def test_where_the_first_to_climb_dies_the_second_best_makes_the_front() -> None:
    schedule = Schedule(LADDER)
    for number, score in enumerate((50.0, 60.0)):
        schedule.start(number, costs=(0.01,))
        schedule.finish(number, score)
    assert schedule.next(may_propose=False) == Step(kind="climb", number=1, rung=1)
    assert schedule.next(may_propose=False) is None
    schedule.finish(1, 10.0, alive=False)
    assert schedule.next(may_propose=False) == Step(kind="climb", number=0, rung=1)


def test_failures_in_a_row_end_quietly() -> None:
    schedule = Schedule(LADDER)
    for number in range(5):
        assert schedule.next(may_propose=True) == Step(kind="propose")
        schedule.start(number, costs=(0.01,))
        schedule.finish(number, None)
    assert schedule.next(may_propose=False) is None
    assert schedule.num_in_flight == 0


def test_a_score_that_is_no_number_counts_as_dead() -> None:
    schedule = Schedule(LADDER)
    schedule.start(0, costs=(0.01,), is_seed=True)
    schedule.finish(0, float("nan"))
    assert schedule.next(may_propose=False) is None
    assert not schedule.runners[0].alive


def test_a_ladder_of_one_rung_ends_with_the_last_proposal() -> None:
    schedule = Schedule(Ladder(epochs=()))
    schedule.start(0, costs=(0.01,))
    schedule.finish(0, 60.0)
    assert schedule.next(may_propose=False) is None
