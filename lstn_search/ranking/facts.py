"""The rank correlations of a run, and what they say about it. No torch here.

Compared are every pair of rungs, and the cost of an architecture against the longest schedule available: the highest
joint rung that at least `MIN_ARCHITECTURES` architectures have reached (the highest of all, if none has so many).

Left out are seed points over the budget: a search never has to rank them, and they lie far from what it does rank.
Seed points within it count; they climb whatever their score, so they are the only ones not chosen for being good.
"""

import dataclasses
import itertools
import json
from collections.abc import Iterable
from typing import Any

from lstn_search.ranking.deployment import deployment_correlation
from lstn_search.ranking.measures import highest_rung, measures_of_cost, measures_of_rungs, scores_of
from lstn_search.ranking.rank import NUM_RESAMPLES, Correlation, correlate
from lstn_search.runs.folder import save
from lstn_search.runs.run import Run
from lstn_search.spec.settings import SearchSettings

__all__ = [
    "FIDELITY_FILE",
    "FidelityInfo",
    "fidelity_info",
    "warnings",
    "write_fidelity",
]

FIDELITY_FILE = "fidelity.json"


@dataclasses.dataclass(kw_only=True, frozen=True, slots=True)
class FidelityInfo:
    """How well the cheap measurements of a run rank its architectures."""

    num: int
    """Architectures within the budget with at least one measurement."""
    longest: str | None
    """The longest schedule available, which the last correlations are taken against; None: nothing was measured."""
    correlations: tuple[Correlation, ...]
    """Every pair of rungs, lower rungs first, then the cost against the longest schedule."""
    deployment: Correlation | None
    """The size trials are trained at against the size of deployment; None: not measured, or there is no difference."""
    deployment_sentence: str
    """The same in words."""
    notes: tuple[str, ...]
    """What has to be known to read the numbers: who was left out, and what that does to them."""
    warnings: tuple[str, ...]
    """The rungs that do not rank, a sentence each. Too few to say is no warning."""
    seed: int
    """Of the bootstrap."""

    def to_dict(self) -> dict[str, Any]:
        """Everything, as JSON types."""
        return {
            "num": self.num,
            "longest": self.longest,
            "correlations": [correlation.to_dict() for correlation in self.correlations],
            "deployment": None if self.deployment is None else self.deployment.to_dict(),
            "deployment_sentence": self.deployment_sentence,
            "notes": list(self.notes),
            "warnings": list(self.warnings),
            "interval": f"95 % percentile bootstrap over architectures, {NUM_RESAMPLES} resamples, seed {self.seed}",
        }


def fidelity_info(run: Run, *, seed: int = 0) -> FidelityInfo:
    """The facts of a run; `seed` is the bootstrap's. Reads what `fidelity --deployment` has left in the folder."""
    settings = run.folder.settings
    entries = [entry for entry in run.entries if entry.results and not entry.candidate.over_budget]
    rungs, costs = measures_of_rungs(settings, entries), measures_of_cost(entries)
    scores = scores_of(settings, entries)
    counts = {rung: len(score.values) for rung, score in scores.items() if score.values}
    joint = {rung: num for rung, num in counts.items() if settings.ladder.joint_epochs(rung)}
    top = highest_rung(joint or counts)
    longest = None if top is None else scores[top]
    pairs = [(a, b) for a, b in itertools.combinations(rungs, 2) if a.rung != b.rung and b.values]
    if longest is not None:
        pairs += [(measure, longest) for measure in costs]
    found = [(a, b, correlate(a.name, a.values, b.name, b.values, seed=seed)) for a, b in pairs]
    deployment = deployment_correlation(run, seed=seed)
    doubts = [correlation for a, b, correlation in found if a.is_score and b == longest]
    return FidelityInfo(
        num=sum(entry.rung >= 0 for entry in entries),
        longest=None if longest is None else longest.name,
        correlations=tuple(correlation for _, _, correlation in found),
        deployment=deployment,
        deployment_sentence=_deployment_sentence(settings, deployment),
        notes=tuple(_notes(run, [correlation for _, _, correlation in found])),
        warnings=tuple(_warnings(settings, doubts, deployment)),
        seed=seed,
    )


def warnings(run: Run) -> tuple[str, ...]:
    """The rungs of a run that do not rank what is trained longest, a sentence each; empty when none is known not to."""
    return fidelity_info(run).warnings


def write_fidelity(run: Run, info: FidelityInfo) -> None:
    """Write fidelity.json into the run folder. Raises RunError when it cannot be written."""
    save(run.folder.path / FIDELITY_FILE, json.dumps(info.to_dict(), indent=2) + "\n")


def _deployment_sentence(settings: SearchSettings, deployment: Correlation | None) -> str:
    if deployment is not None:
        return deployment.sentence
    if settings.task.trial_size == settings.task.image_size:
        return f"trials are trained at the deployment size, {settings.task.image_size} px"
    return "trial size against deployment size: not measured; run fidelity with --deployment 8"


def _notes(run: Run, correlations: Iterable[Correlation]) -> Iterable[str]:
    settings = run.folder.settings
    over = [entry.candidate.name for entry in run.entries if entry.results and entry.candidate.over_budget]
    if over:
        yield f"left out, being over the budget: {', '.join(over)}"
    left_out = any(correlation.num_left_out for correlation in correlations)
    if left_out and settings.ladder.eta > 1:
        yield (
            "those that climbed were chosen for being good, and among survivors alone tau comes out smaller (range "
            "restriction); for a sample nobody chose: search with --eta 1 --sampler random"
        )
    elif left_out:
        yield "those left out were dead, failed or interrupted, and tau comes out a little smaller without them"
    if settings.sampler != "random" and settings.ladder.eta == 1:
        yield f"the sampler ({settings.sampler}) prefers good ones, so tau comes out smaller than with --sampler random"


def _warnings(settings: SearchSettings, doubts: Iterable[Correlation], deployment: Correlation | None) -> Iterable[str]:
    for doubt in doubts:
        if doubt.is_doubtful:
            survivors = (
                " (of survivors only, which lowers tau)" if doubt.num_left_out and settings.ladder.eta > 1 else ""
            )
            yield f"{doubt.sentence}{survivors}. What the ladder stopped there may be as good as what climbed"
    if deployment is not None and deployment.is_doubtful:
        yield f"{deployment.sentence}. The winner of this search need not win at deployment: raise --trial-size"
