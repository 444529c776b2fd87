"""A search on clusters of any size, simulated: the real `Schedule` over invented architectures (`world.py`).

Three strategies train the same architectures, whose every result is drawn beforehand from the seed:

    asynchronous   the schedule as the driver uses it: whoever deserves it climbs as soon as a worker is free
    synchronous    successive halving: a rung begins when the one below has ended for all
    no ladder      every architecture is trained to the top at once
"""

import dataclasses
import heapq
from collections import Counter
from collections.abc import Sequence
from typing import Any, Literal, get_args

from world import BUDGET_GFLOPS, World

from lstn_search.errors import SettingError
from lstn_search.spec import pareto
from lstn_search.study.rung import Rung, Standing
from lstn_search.study.schedule import Schedule

__all__ = ["STRATEGIES", "Outcome", "Strategy", "simulate"]

Strategy = Literal["asynchronous", "synchronous", "no ladder"]
STRATEGIES: tuple[Strategy, ...] = get_args(Strategy)


@dataclasses.dataclass(kw_only=True, frozen=True, slots=True)
class Outcome:
    """What a strategy came to on so many workers."""

    strategy: Strategy
    num_workers: int
    makespan_seconds: float
    busy_seconds: float
    """Of all workers: training, overhead and failed attempts."""
    rung_runs: tuple[int, ...]
    """How many architectures ran rung 0, 1, ...; those of rung r + 1 were promoted from rung r."""
    num_failed: int
    """Attempts that failed."""
    front: tuple[int, ...]
    """The numbers of the final front, all trained to the top, cheapest first."""
    front_seconds: float
    """What training these took, all rungs and attempts."""
    hypervolume_share: float
    """Of the final front's expected accuracies, over the best there is."""

    @property
    def num_jobs(self) -> int:
        """Rungs run, each counted once however many attempts it took."""
        return sum(self.rung_runs)

    @property
    def utilisation(self) -> float:
        """Share of the workers' time that they had a job."""
        return self.busy_seconds / (self.num_workers * self.makespan_seconds)

    @property
    def front_share(self) -> float:
        """Share of the compute that was spent on the final front."""
        return self.front_seconds / self.busy_seconds

    def to_dict(self) -> dict[str, Any]:
        """Every fact, as JSON types."""
        derived = {"num_jobs": self.num_jobs, "utilisation": self.utilisation, "front_share": self.front_share}
        return dataclasses.asdict(self) | derived


def simulate(world: World, strategy: Strategy, num_workers: int) -> Outcome:
    """Run the search of `world` on so many workers. Raises SettingError when there are none."""
    if num_workers < 1:
        raise SettingError(f"workers must be at least 1, got {num_workers}")
    num_rungs: Counter[int] = Counter()  # by architecture
    saved_seconds = 0.0
    if strategy == "asynchronous":
        makespan = _asynchronous(world, num_workers, num_rungs)
    elif strategy == "synchronous":
        makespan = 0.0
        for rung, stage in enumerate(_halving(world)):
            makespan = _pack([world.run(number, rung).seconds for number in stage], num_workers, makespan, world)
            num_rungs.update(stage)
    else:
        saved_seconds = world.timing.overhead_seconds  # one job for all rungs
        jobs = []
        for net in world.networks:
            seconds = saved_seconds
            while num_rungs[net.number] <= world.ladder.top:
                rung = num_rungs[net.number]
                num_rungs[net.number] += 1
                seconds += world.run(net.number, rung).seconds - saved_seconds
                if not world.climbs(net.number, rung):
                    break
            jobs.append(seconds)
        makespan = _pack(jobs, num_workers, 0.0, world)
    return _outcome(world, strategy, num_workers, makespan, num_rungs, saved_seconds)


def _asynchronous(world: World, num_workers: int, num_rungs: Counter[int]) -> float:
    """Discrete events: the driver, one job at a time, answers each end with the schedule's next step."""
    schedule, networks = Schedule(world.ladder), world.networks
    ends: list[tuple[float, int]] = []
    clock = 0.0
    while True:
        while len(ends) < num_workers:
            step = schedule.next(may_propose=len(schedule.runners) < len(networks))
            if step is None:
                break
            number = step.number
            if step.kind == "propose":
                net = networks[len(schedule.runners)]
                number = net.number
                schedule.start(number, costs=(net.gflops,), is_seed=net.is_seed, on_offer=net.gflops <= BUDGET_GFLOPS)
            clock += world.timing.driver_seconds
            heapq.heappush(ends, (clock + world.run(number, step.rung).seconds, number))
        if not ends:
            return clock
        end, number = heapq.heappop(ends)
        clock = max(clock, end)
        rung = schedule.runners[number].next_rung
        schedule.finish(number, world.run(number, rung).score, alive=world.climbs(number, rung))
        num_rungs[number] += 1


def _halving(world: World) -> list[list[int]]:
    """Who runs each rung in synchronous successive halving."""
    stages = [[net.number for net in world.networks]]
    for rung in range(world.ladder.top):
        results, seeds = Rung(), []
        for number in stages[-1]:
            net, run = world.networks[number], world.run(number, rung)
            climbs = world.climbs(number, rung)
            if net.is_seed:
                seeds += [number] * climbs
            elif run.score is not None:
                results.add(Standing(number=number, score=run.score, costs=(net.gflops,), may_climb=climbs))
        stages.append(seeds + results.order()[: results.num_results // world.ladder.eta])
    return stages


def _pack(jobs: Sequence[float], num_workers: int, start: float, world: World) -> float:
    """When the last of these jobs ends, each handed by the driver to the first free worker."""
    free = [start] * num_workers
    clock = start
    for seconds in jobs:
        clock = max(clock, free[0]) + world.timing.driver_seconds
        heapq.heapreplace(free, clock + seconds)
    return max(free)


def _outcome(
    world: World,
    strategy: Strategy,
    num_workers: int,
    makespan: float,
    num_rungs: Counter[int],
    saved_seconds: float,
) -> Outcome:
    def seconds(number: int) -> float:
        runs = [world.run(number, rung) for rung in range(num_rungs[number])]
        return sum(run.seconds for run in runs) - saved_seconds * (len(runs) - 1)

    top = world.ladder.top
    last = [
        (world.run(number, top).score or 0.0, world.networks[number].gflops, number)
        for number, count in sorted(num_rungs.items())
        if count == top + 1 and world.climbs(number, top) and world.networks[number].gflops <= BUDGET_GFLOPS
    ]
    front = tuple(last[i][2] for i in pareto.front([(score, gflops) for score, gflops, _ in last]))
    return Outcome(
        strategy=strategy,
        num_workers=num_workers,
        makespan_seconds=makespan,
        busy_seconds=sum(map(seconds, num_rungs)),
        rung_runs=tuple(sum(count > rung for count in num_rungs.values()) for rung in range(top + 1)),
        num_failed=sum(world.run(n, rung).num_failed for n, count in num_rungs.items() for rung in range(count)),
        front=front,
        front_seconds=sum(map(seconds, front)),
        hypervolume_share=world.hypervolume(front) / world.best_hypervolume if front else 0.0,
    )
