"""What to run next: pure bookkeeping over the ladder, shared by the driver and by the simulation of large clusters.

Order of preference whenever a slot is free: a seed point's next rung; the highest rung's next climber; a new
architecture, while more are wanted; and at the end, what stands on the front without having climbed to the top, so
that the front is compared at equal epochs.

The answer depends on the results alone, not on how they came about: a schedule rebuilt from finished results goes on
as the interrupted one would have.
"""

import dataclasses
import math
from typing import Literal

from lstn_search.spec import pareto
from lstn_search.spec.ladder import Ladder
from lstn_search.study.rung import Rung, Standing

__all__ = ["Runner", "Schedule", "Step"]


@dataclasses.dataclass(kw_only=True, slots=True)
class Runner:
    """An architecture on the ladder."""

    number: int
    costs: tuple[float, ...]
    """In the order of the search's objectives."""
    is_seed: bool = False
    on_offer: bool = True
    """Within the budget: may stand on the front. Seed points over it climb all the same."""
    alive: bool = True
    scores: list[float] = dataclasses.field(default_factory=list)
    """By rung; comparable within a rung."""
    in_flight: bool = True
    """Whether its next rung is under way."""

    @property
    def next_rung(self) -> int:
        """The rung it has not finished yet."""
        return len(self.scores)


@dataclasses.dataclass(kw_only=True, frozen=True, slots=True)
class Step:
    """What a free slot should do."""

    kind: Literal["propose", "climb"]
    number: int = -1
    """Of the runner that climbs."""
    rung: int = 0


class Schedule:
    """Who has run how far, and who is next."""

    def __init__(self, ladder: Ladder) -> None:
        self.ladder = ladder
        self.runners: dict[int, Runner] = {}
        self.num_in_flight = 0
        """Jobs under way."""
        self._seeds: list[Runner] = []
        self._rungs = [Rung() for _ in range(ladder.top)]  # nobody climbs from the top
        self._climbers: dict[int, int | None] = {}  # the answers of rungs that have not changed since
        self._front: list[Runner] | None = None

    def start(self, number: int, *, costs: tuple[float, ...], is_seed: bool = False, on_offer: bool = True) -> None:
        """A new architecture begins rung 0."""
        assert number not in self.runners, f"runner {number} has started already"
        runner = Runner(number=number, costs=costs, is_seed=is_seed, on_offer=on_offer)
        self.runners[number] = runner
        self.num_in_flight += 1
        if is_seed:
            self._seeds.append(runner)

    def finish(self, number: int, score: float | None, *, alive: bool = True) -> None:
        """The rung under way ended with this score (None: it failed); the dead and the failed climb no further.

        To rebuild a schedule, call `start` and then `finish` once a finished rung; `next` need not have asked for them.
        """
        runner = self.runners[number]
        rung = runner.next_rung
        assert runner.alive and rung <= self.ladder.top, f"runner {number} has no rung left to finish"
        self.num_in_flight -= runner.in_flight
        runner.in_flight = False
        runner.alive = alive and score is not None and math.isfinite(score)
        self._leave(runner)  # the rung below, if it was not `next` that sent it up
        if score is not None:
            runner.scores.append(score)
            if rung < self.ladder.top and not runner.is_seed:
                may_climb = runner.on_offer and runner.alive
                self._rungs[rung].add(Standing(number=number, score=score, costs=runner.costs, may_climb=may_climb))
                self._climbers.pop(rung, None)
        self._front = None

    def next(self, *, may_propose: bool) -> Step | None:
        """What a free slot should do, or None: nothing, until something ends (or for good, if nothing is under way)."""
        for runner in self._seeds:
            if self._can_climb(runner):
                return self._climb(runner)
        for rung in reversed(range(self.ladder.top)):
            number = self._next_climber(rung)
            if number is not None:
                return self._climb(self.runners[number])
        if may_propose:
            return Step(kind="propose")
        return next((self._climb(runner) for runner in self._finalists() if self._can_climb(runner)), None)

    def _climb(self, runner: Runner) -> Step:
        runner.in_flight = True
        self.num_in_flight += 1
        self._leave(runner)
        return Step(kind="climb", number=runner.number, rung=runner.next_rung)

    def _leave(self, runner: Runner) -> None:
        if runner.next_rung > 0 and not runner.is_seed:
            self._rungs[runner.next_rung - 1].leave(runner.number)
            self._climbers.pop(runner.next_rung - 1, None)

    def _can_climb(self, runner: Runner) -> bool:
        return runner.alive and not runner.in_flight and 0 < runner.next_rung <= self.ladder.top

    def _next_climber(self, rung: int) -> int | None:
        if rung not in self._climbers:
            self._climbers[rung] = self._rungs[rung].climber(self.ladder.eta)
        return self._climbers[rung]

    def _finalists(self) -> list[Runner]:
        """Who must have climbed to the top before the search ends: the front.

        When nothing has been trained jointly and nothing is under way, as in a search of a single architecture, the
        best of recover is sent on, so that a search whose architectures are alive does not end without a front.
        """
        if self._front is None:
            joint = [self.runners[number] for number in sorted(self.runners)]
            joint = [
                runner
                for runner in joint
                if runner.on_offer and runner.alive and runner.next_rung > self.ladder.recovered + 1
            ]
            self._front = [joint[i] for i in pareto.front([(runner.scores[-1], *runner.costs) for runner in joint])]
        if self._front or self.num_in_flight or not self._rungs:
            return self._front
        recover = reversed(self._rungs[: self.ladder.recovered + 1])
        return [self.runners[number] for rung in recover for number in rung.order()]
