"""The numbers that architectures are ranked by: what each rung measures, and what a network costs. No torch here."""

import dataclasses
import math
from collections.abc import Iterable

from lstn_search.ranking.rank import MIN_ARCHITECTURES
from lstn_search.runs.entries import Entry
from lstn_search.spec.results import TrialResult
from lstn_search.spec.settings import SearchSettings

__all__ = ["Measure", "highest_rung", "measures_of_cost", "measures_of_rungs", "scores_of"]


@dataclasses.dataclass(kw_only=True, frozen=True, slots=True)
class Measure:
    """One number an architecture has, at one rung; None: before any training."""

    name: str
    rung: int | None
    values: dict[int, float]
    """By the number of the trial. More is better, errors with their sign changed."""
    is_score: bool = False
    """Whether the ladder promotes by it."""


def scores_of(settings: SearchSettings, entries: Iterable[Entry]) -> dict[int, Measure]:
    """What the ladder promotes by, rung by rung."""
    return {m.rung: m for m in measures_of_rungs(settings, entries) if m.is_score and m.rung is not None}


def highest_rung(counts: dict[int, int]) -> int | None:
    """The highest rung that enough architectures have reached; the highest of all, if none has enough."""
    enough = [rung for rung, num in counts.items() if num >= MIN_ARCHITECTURES]
    return max(enough or [rung for rung, num in counts.items() if num], default=None)


def measures_of_rungs(settings: SearchSettings, entries: Iterable[Entry]) -> list[Measure]:
    """Everything that is measured at a rung, lower rungs first."""
    entries = list(entries)

    def at(rung: int, name: str, column: str, *, sign: int = 1, is_score: bool = True) -> Measure:
        found = {e.candidate.number: _value(e.results[rung], column) for e in entries if rung <= e.rung}
        values = {number: sign * value for number, value in found.items() if value is not None}
        return Measure(name=name, rung=rung, values=values, is_score=is_score)

    if settings.task.protocol == "paper":
        return [at(0, "accuracy after training", "val_top1")]
    ladder, measures = settings.ladder, []
    for rung in range(ladder.recovered + 1):
        after = f" after {ladder.recover[rung]} % of recover" if rung < ladder.recovered else ""
        measures += [
            at(rung, f"corner error{after}", "corner_error_px", sign=-1),
            at(rung, f"alignment error{after}", "alignment_mse", sign=-1, is_score=False),
            at(rung, f"frozen-backbone accuracy{after}", "frozen_top1", is_score=False),
        ]
    for rung in range(ladder.recovered + 1, ladder.top + 1):
        epochs = ladder.joint_epochs(rung)
        measures.append(at(rung, f"accuracy after {epochs} epoch{'s' * (epochs > 1)}", "val_top1"))
    return measures


def measures_of_cost(entries: Iterable[Entry]) -> list[Measure]:
    candidates = [entry.candidate for entry in entries if entry.rung >= 0]
    return [
        Measure(name="parameters", rung=None, values={c.number: float(c.params) for c in candidates}),
        Measure(name="GFLOPs", rung=None, values={c.number: c.gflops for c in candidates}),
    ]


def _value(result: TrialResult, column: str) -> float | None:
    value = getattr(result, column)
    return value if value is not None and math.isfinite(value) else None
