"""What to run next: pure bookkeeping over the ladder, shared by the driver and by the simulation of large clusters.

Order of preference whenever a slot is free: a seed point's next rung; the highest rung's next climber; a new
architecture, while more are wanted; and at the end, what stands on the front without having climbed to the top, so
that the front is compared at equal epochs.
"""

import dataclasses
from typing import Literal

from lstn_search import pareto
from lstn_search.search.ladder import Ladder, Standing, climber

__all__ = ["Runner", "Schedule", "Step"]


@dataclasses.dataclass(kw_only=True, slots=True)
class Runner:
    """An architecture on the ladder."""

    number: int
    gflops: float
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
        self._seeds: list[Runner] = []
        self._promoted: list[set[int]] = [set() for _ in range(ladder.top + 1)]
        self._climbers: dict[int, int | None] = {}  # the answer for a rung whose results have not changed

    @property
    def num_in_flight(self) -> int:
        """Jobs under way."""
        return sum(runner.in_flight for runner in self.runners.values())

    def start(self, number: int, *, gflops: float, is_seed: bool = False, on_offer: bool = True) -> None:
        """A new architecture begins rung 0."""
        runner = Runner(number=number, gflops=gflops, is_seed=is_seed, on_offer=on_offer)
        self.runners[number] = runner
        if is_seed:
            self._seeds.append(runner)

    def finish(self, number: int, score: float | None, *, alive: bool = True) -> None:
        """The rung under way ended with this score (None: it failed); the dead and the failed climb no further."""
        runner = self.runners[number]
        rung = runner.next_rung
        runner.in_flight = False
        runner.alive = alive and score is not None
        if score is not None:
            runner.scores.append(score)
        self._climbers.pop(rung, None)

    def next(self, *, may_propose: bool) -> Step | None:
        """What a free slot should do, or None: nothing, until something ends."""
        for runner in self._seeds:
            if self._can_climb(runner):
                return self._climb(runner)
        for rung in reversed(range(self.ladder.top)):
            runner_or_none = self._next_climber(rung)
            if runner_or_none is not None:
                return self._climb(runner_or_none)
        if may_propose:
            return Step(kind="propose")
        return next((self._climb(runner) for runner in self._front() if self._can_climb(runner)), None)

    def _climb(self, runner: Runner) -> Step:
        runner.in_flight = True
        self._promoted[runner.next_rung - 1].add(runner.number)
        self._climbers.pop(runner.next_rung - 1, None)
        return Step(kind="climb", number=runner.number, rung=runner.next_rung)

    def _can_climb(self, runner: Runner) -> bool:
        return runner.alive and not runner.in_flight and 0 < runner.next_rung <= self.ladder.top

    def _next_climber(self, rung: int) -> Runner | None:
        if rung not in self._climbers:
            standings = [
                Standing(
                    number=runner.number,
                    score=runner.scores[rung],
                    gflops=runner.gflops,
                    may_climb=runner.on_offer and (runner.alive or runner.next_rung > rung + 1),
                )
                for runner in self.runners.values()
                if not runner.is_seed and runner.next_rung > rung
            ]
            self._climbers[rung] = climber(standings, self._promoted[rung], self.ladder.eta)
        number = self._climbers[rung]
        return None if number is None else self.runners[number]

    def _front(self) -> list[Runner]:
        """Those on offer whose accuracy no other beats, joint rungs only, cheapest first."""
        offered = [r for r in self.runners.values() if r.on_offer and r.alive and r.next_rung > 1]
        return [offered[i] for i in pareto.front([(runner.scores[-1], runner.gflops) for runner in offered])]
