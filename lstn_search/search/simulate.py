"""A search on clusters of any size, simulated: the real `Schedule`, with invented architectures and measured times.

Three strategies train the same architectures, whose every result is drawn beforehand from the seed:

    asynchronous   the schedule as the driver uses it: whoever deserves it climbs as soon as a worker is free
    synchronous    successive halving: a rung begins when the one below has ended for all
    no ladder      every architecture is trained to the top at once

What the defaults rest on (2 cores, one thread a trial, Caltech-101 at 64 px, timm's `test_resnet`, 500 recover steps;
docs/trial.md): recover takes 8 to 25 s and a joint epoch 6.5 to 12.5 s, slow networks being slow at both
(correlation 0.9); joint accuracy of 18 networks has mean 62.9 and standard deviation 3.5, is skewed towards an oracle
of 67 and hardly depends on GFLOPs (tau 0.11); a seed is worth 1 to 1.5 points; the order of networks after recover,
2 and 4 joint epochs agrees with a later joint accuracy to tau 0.66-0.80, 0.29 and 0.47.
"""

import dataclasses
import heapq
import math
import random
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, Literal, get_args

from lstn_search import pareto
from lstn_search.errors import SettingError
from lstn_search.search.ladder import Ladder
from lstn_search.search.rung import Rung, Standing
from lstn_search.search.schedule import Schedule

__all__ = ["STRATEGIES", "Accuracy", "Network", "Outcome", "RungRun", "Strategy", "Timing", "World", "simulate"]

Strategy = Literal["asynchronous", "synchronous", "no ladder"]
STRATEGIES: tuple[Strategy, ...] = get_args(Strategy)

BUDGET_GFLOPS = 0.03
CHEAPEST_GFLOPS = 0.0005
CONTROL_ACCURACY = 47.0
"""Of no transformer at all: the reference of the hypervolume, with the budget."""


@dataclasses.dataclass(kw_only=True, frozen=True, slots=True)
class Timing:
    """How long things take. Spreads are standard deviations of the logarithm."""

    recover_seconds: float = 13.0
    """Median over architectures."""
    epoch_seconds: float = 9.0
    """Of a joint epoch; median over architectures."""
    recover_spread: float = 0.4
    epoch_spread: float = 0.2
    jitter: float = 0.05
    """From job to job of one architecture."""
    overhead_seconds: float = 1.0
    """A job's, besides training: reading and writing its checkpoint, waiting to be noticed. An assumption."""
    driver_seconds: float = 0.1
    """The driver's for each job, one job at a time: proposing, writing the study. It bounds the workers it can feed.
    Optuna's TPE alone takes 0.02 s a proposal after 100 to 1,000 trials and 0.2 s after 10,000, NSGA-II 0.05 and 0.5
    (20 choices of 4 values, in memory, one thread)."""
    failure: float = 0.005
    """Share of attempts at a job that end with the worker's death, at any point of the job."""
    retries: int = 1

    def __post_init__(self) -> None:
        for name in ("recover_seconds", "epoch_seconds"):
            if not (math.isfinite(getattr(self, name)) and getattr(self, name) > 0):
                raise SettingError(f"{name.replace('_', ' ')} must be above 0, got {getattr(self, name)}")
        for name in ("overhead_seconds", "driver_seconds"):
            if not (math.isfinite(getattr(self, name)) and getattr(self, name) >= 0):
                raise SettingError(f"{name.replace('_', ' ')} must be at least 0, got {getattr(self, name)}")


@dataclasses.dataclass(kw_only=True, frozen=True, slots=True)
class Accuracy:
    """How good architectures are and how well a rung tells, in points of accuracy.

    An architecture's expected accuracy is `ceiling` less a log-normal gap; every rung measures it with independent
    Gaussian noise, which is pessimistic: in truth the rungs of one training share their luck.
    """

    ceiling: float = 67.0
    log_gap: float = 1.161
    """Mean and spread of the gap's logarithm: a mean accuracy of 62.9 with a standard deviation of 3.3."""
    log_gap_spread: float = 0.70
    gflops_slope: float = 0.12
    """By how much the gap's logarithm shrinks for each standard deviation of log GFLOPs."""
    recover_noise: float = 0.75
    """Gives a tau of 0.62 with one joint run; measured: 0.66 (frozen score) and 0.80 (alignment error), n = 18."""
    seed_noise: float = 1.25
    """Of joint accuracy, however long it is trained."""
    short_noise: float = 8.0
    """Over the epochs: what a training that short does not tell. tau 0.32 after 2 epochs and 0.43 after 4."""
    short_loss: float = 16.0
    """Over the epochs: what a training that short is short of; 2 points from 4 to 8 epochs."""
    dead: float = 0.02
    """Share of architectures found inert or collapsed after recover. An assumption."""

    def noise(self, epochs: int) -> float:
        """Standard deviation of a score after so many joint epochs; 0 epochs: after recover."""
        return math.hypot(self.seed_noise, self.short_noise / epochs) if epochs else self.recover_noise


@dataclasses.dataclass(kw_only=True, frozen=True, slots=True)
class Network:
    """An invented architecture."""

    number: int
    gflops: float
    accuracy: float
    """Expected after the top rung."""
    slowness: float
    """In standard deviations of log time."""
    is_seed: bool = False
    is_dead: bool = False


@dataclasses.dataclass(kw_only=True, frozen=True, slots=True)
class RungRun:
    """What one rung of one architecture takes and gives."""

    seconds: float
    """On its worker, with failed attempts."""
    score: float | None
    """None: every attempt failed."""
    num_failed: int


TYPICAL_SECONDS = 13.0
"""Recover's median where the seed points' were measured."""
SEED_POINTS = (("L-STN", 0.0257, 64.9, 25.0), ("STN", 0.0793, 63.8, 23.0), ("V-STN", 0.0863, 63.8, 23.0))
"""Name, GFLOPs at 224 px, accuracy, recover seconds; those of V-STN are STN's, for want of a measurement."""


class World:
    """The architectures of a search and all their results, drawn once: the same for every strategy and cluster."""

    def __init__(
        self,
        *,
        trials: int,
        ladder: Ladder | None = None,
        timing: Timing | None = None,
        accuracy: Accuracy | None = None,
        seed: int = 0,
    ) -> None:
        if trials < 1:
            raise SettingError(f"trials must be at least 1, got {trials}")
        self.ladder = ladder or Ladder()
        self.timing = timing or Timing()
        self.accuracy = accuracy or Accuracy()
        self.seed = seed
        self.networks = [*self._seed_points(), *map(self._draw, range(len(SEED_POINTS), trials + len(SEED_POINTS)))]
        self._runs: dict[tuple[int, int], RungRun] = {}

    def run(self, number: int, rung: int) -> RungRun:
        """What this rung of this architecture takes and gives, whenever and wherever it is run."""
        if (number, rung) not in self._runs:
            self._runs[number, rung] = self._draw_run(self.networks[number], rung)
        return self._runs[number, rung]

    def climbs(self, number: int, rung: int) -> bool:
        """Whether it is alive after this rung."""
        return self.run(number, rung).score is not None and not self.networks[number].is_dead

    def hypervolume(self, numbers: Iterable[int]) -> float:
        """Of the expected accuracies of these architectures, over the control and below the budget."""
        points = [(self.networks[number].accuracy, self.networks[number].gflops) for number in numbers]
        return pareto.hypervolume(points, (CONTROL_ACCURACY, BUDGET_GFLOPS))

    @property
    def best_hypervolume(self) -> float:
        """Of all architectures within the budget that are alive: what perfect knowledge would find."""
        return self.hypervolume(net.number for net in self.networks if net.gflops <= BUDGET_GFLOPS and not net.is_dead)

    def _seed_points(self) -> list[Network]:
        spread = self.timing.recover_spread
        slowness = [math.log(seconds / TYPICAL_SECONDS) / spread if spread else 0.0 for *_, seconds in SEED_POINTS]
        return [
            Network(number=i, gflops=gflops, accuracy=accuracy, slowness=slow, is_seed=True)
            for i, ((_, gflops, accuracy, _), slow) in enumerate(zip(SEED_POINTS, slowness, strict=True))
        ]

    def _draw(self, number: int) -> Network:
        rng, model = random.Random(f"{self.seed} {number}"), self.accuracy
        spot = rng.random()
        gap = model.log_gap - model.gflops_slope * (spot - 0.5) * math.sqrt(12) + rng.gauss(0, model.log_gap_spread)
        return Network(
            number=number,
            gflops=CHEAPEST_GFLOPS * (BUDGET_GFLOPS / CHEAPEST_GFLOPS) ** spot,
            accuracy=model.ceiling - math.exp(gap),
            slowness=rng.gauss(0, 1),
            is_dead=rng.random() < model.dead,
        )

    def _draw_run(self, net: Network, rung: int) -> RungRun:
        rng, timing, ladder = random.Random(f"{self.seed} {net.number} {rung}"), self.timing, self.ladder
        epochs = ladder.epochs[rung - 1] if rung else 0
        if rung == 0:
            training = timing.recover_seconds * math.exp(timing.recover_spread * net.slowness)
        else:
            before = ladder.epochs[rung - 2] if rung > 1 else 0
            training = (epochs - before) * timing.epoch_seconds * math.exp(timing.epoch_spread * net.slowness)
        score = net.accuracy - (self.accuracy.short_loss / epochs if epochs else 0.0)
        score += rng.gauss(0, self.accuracy.noise(epochs))
        seconds, num_failed = 0.0, 0
        for _ in range(timing.retries + 1):
            attempt = timing.overhead_seconds + training * math.exp(rng.gauss(0, timing.jitter))
            if rng.random() >= timing.failure:
                return RungRun(seconds=seconds + attempt, score=score, num_failed=num_failed)
            seconds += rng.random() * attempt
            num_failed += 1
        return RungRun(seconds=seconds, score=None, num_failed=num_failed)


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
                schedule.start(number, gflops=net.gflops, is_seed=net.is_seed, on_offer=net.gflops <= BUDGET_GFLOPS)
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
                results.add(Standing(number=number, score=run.score, gflops=net.gflops, may_climb=climbs))
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
