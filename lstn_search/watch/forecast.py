"""How long a search has to go, from what its rungs have taken so far. No torch here."""

import math
from collections import defaultdict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lstn_search.spec.results import TrialResult
    from lstn_search.study.search import Search

__all__ = ["in_words", "work_left"]


def work_left(source: "Search") -> float | None:
    """Seconds of training that a search has before it, all its workers together; None: nothing was measured yet.

    One in eta of a rung's trials is taken to climb. A rung that none has ended yet is judged by the others: a joint
    epoch is as many steps as it has batches.
    """
    run, ladder = source.run, source.run.folder.settings.ladder
    rungs = range(ladder.top + 1)
    seconds: dict[int, list[float]] = defaultdict(list)
    for entry in source.study.entries:
        for rung, result in enumerate(entry.results):
            seconds[rung].append(result.seconds)
    steps = [_steps(source, rung) for rung in rungs]
    measured = sum(steps[rung] * len(spent) for rung, spent in seconds.items())
    if not measured:
        return None
    a_step = sum(map(sum, seconds.values())) / measured
    takes = [sum(seconds[rung]) / len(seconds[rung]) if seconds[rung] else a_step * steps[rung] for rung in rungs]

    seeds = [entry for entry in source.study.entries if entry.candidate.is_seed]
    others = [entry for entry in source.study.entries if not entry.candidate.is_seed]
    trials = len(others) if run.folder.manifest.get("exhausted") else max(source.trials, len(others))
    left = 0.0
    for rung in rungs:
        to_come = len(source.study.space.seeds) - len(seeds)
        climbing = sum(len(entry.results) <= rung and _climbs(entry.results) for entry in seeds)
        wanted = max(1, math.ceil(trials / ladder.eta**rung))
        there = sum(len(entry.results) > rung for entry in others)
        left += takes[rung] * (to_come + climbing + max(0, wanted - there))
    return left


def in_words(seconds: float) -> str:
    """A time to wait, to about a tenth: `under a minute`, `12 min`, `3 h 20 min`."""
    minutes = round(seconds / 60)
    if seconds < 50:
        return "under a minute"
    if minutes < 100:
        return f"{max(1, minutes)} min"
    hours, rest = divmod(10 * round(minutes / 10), 60)
    return f"{hours} h {rest} min" if rest and hours < 10 else f"{round(minutes / 60)} h"


def _climbs(results: "list[TrialResult]") -> bool:
    return all(result.status == "ok" for result in results)


def _steps(source: "Search", rung: int) -> float:
    """Steps that a rung adds to the one below."""
    task, ladder = source.run.task, source.run.folder.settings.ladder
    images = source.run.folder.manifest.get("data", {}).get("train") or task.batch_size
    batches = max(1, images // task.batch_size)
    if task.protocol == "paper":
        return float(task.epochs * batches)
    recover = [ladder.recover_steps(r, task.recover_steps) for r in (rung - 1, rung) if r >= 0]
    epochs = [ladder.joint_epochs(r) for r in (rung - 1, rung) if r >= 0]
    return float((recover[-1] - (recover[0] if rung else 0)) + batches * (epochs[-1] - (epochs[0] if rung else 0)))
