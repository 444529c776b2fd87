"""The architectures of a simulated search: how good they are, what each rung tells of it, and how long it takes.

Everything is drawn once from a seed, so that every strategy and every cluster meets the same architectures.

What the defaults rest on (2 cores, one thread a trial, Caltech-101 at 64 px, timm's `test_resnet`, 500 recover steps;
docs/trial.md): recover takes 8 to 25 s and a joint epoch 6.5 to 12.5 s, slow networks being slow at both
(correlation 0.9); joint accuracy of 18 networks has mean 62.9 and standard deviation 3.5, is skewed towards an oracle
of 67 and hardly depends on GFLOPs (tau 0.11); a seed is worth 1 to 1.5 points; the order of networks after recover,
2 and 4 joint epochs agrees with a later joint accuracy to tau 0.66-0.80, 0.29 and 0.47.
"""

import dataclasses
import math
import random
from collections.abc import Iterable

from lstn_search.errors import SettingError
from lstn_search.spec import pareto
from lstn_search.spec.ladder import Ladder

__all__ = ["BUDGET_GFLOPS", "Accuracy", "Network", "RungRun", "Timing", "World"]

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
        self.ladder = ladder or Ladder(epochs=(2, 6, 18))
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
