"""Architectures of a search and what became of them, rung by rung, and how they are read back from its study."""

import dataclasses

from optuna.trial import FrozenTrial

from lstn_search.errors import RunError
from lstn_search.runs.folder import RunFolder
from lstn_search.spec.arch import Arch
from lstn_search.spec.cost import cost
from lstn_search.spec.names import checked_label
from lstn_search.spec.reading import parse_json, read_as
from lstn_search.spec.results import Status, TrialResult
from lstn_search.spec.settings import SearchSettings

__all__ = [
    "WORST_SCORE",
    "Candidate",
    "Entry",
    "Rung",
    "make_candidate",
    "read_entries",
    "read_rungs",
    "read_study",
    "read_trials",
    "score",
    "score_name",
]

RESTORE = "restore the study as the search wrote it"

WORST_SCORE = -1e4
"""Told for what failed, or was never trained: below every corner error in pixels and every accuracy."""


@dataclasses.dataclass(kw_only=True, frozen=True, slots=True)
class Candidate:
    """An architecture to train."""

    number: int
    """Of the Optuna trial."""
    name: str
    """The seed point's name, or `t` and the number."""
    arch: Arch
    is_seed: bool
    params: int
    """At the deployment size, like the two below."""
    macs: int
    gflops: float
    costs: tuple[float, ...]
    """Those of the above that are objectives of the search, in their order."""
    over_budget: bool
    """True only for seed points: they are trained as references whatever they cost."""


@dataclasses.dataclass(kw_only=True, slots=True)
class Entry:
    """A candidate and what became of it, rung by rung."""

    candidate: Candidate
    results: list[TrialResult] = dataclasses.field(default_factory=list)
    """By rung; empty while rung 0 is under way. Only the last one can be a failure."""

    @property
    def rung(self) -> int:
        """The highest rung with a measurement; -1: none."""
        return len([result for result in self.results if result.status != "failed"]) - 1

    @property
    def result(self) -> TrialResult:
        """The measurement of the highest rung, with what recover measured; the failure when there is nothing else."""
        if self.rung < 0:
            return self.results[0]
        return self.results[self.rung].with_recover_of(self._recovered)

    @property
    def status(self) -> Status:
        """Of the last rung, but a frame reader stays one."""
        return self.results[-1].with_recover_of(self._recovered).status

    @property
    def _recovered(self) -> TrialResult:
        """Of the last rung that recovers."""
        return next((result for result in reversed(self.results) if result.recover_steps is not None), self.results[0])

    @property
    def accuracy(self) -> float:
        """Validation accuracy under the view at the highest rung, in percent; 0 when nothing was measured."""
        return self.result.accuracy or 0.0

    @property
    def point(self) -> tuple[float, ...]:
        """(accuracy, costs): the objectives of the search, as `lstn_search.spec.pareto` takes them."""
        return (self.accuracy, *self.candidate.costs)

    @property
    def seconds(self) -> float:
        """Spent on all its rungs."""
        return sum(result.seconds for result in self.results)

    @property
    def on_offer(self) -> bool:
        """Whether it may stand on the front: within the budget, jointly trained, and alive."""
        return (
            bool(self.results)
            and self.result.status == "ok"
            and self.result.val_top1 is not None
            and not self.candidate.over_budget
        )


Rung = tuple[int, int, TrialResult]
"""(number of the trial, rung, result)."""


def score_name(settings: SearchSettings) -> str:
    """What the rungs of recover are judged by."""
    return "accuracy under the view" if settings.task.protocol == "paper" else "minus corner error px"


def score(settings: SearchSettings, result: TrialResult) -> float:
    """What the rungs of recover are judged by, higher is better: minus the corner error (docs/trial.md says why)."""
    value = result.val_top1 if settings.task.protocol == "paper" else result.corner_error_px
    if value is None:
        return WORST_SCORE
    return value if settings.task.protocol == "paper" else -value


def read_entries(folder: RunFolder) -> list[Entry]:
    """The trained architectures of a run, in the order of proposal. Raises RunError when its study cannot be read."""
    return [entry for entry in read_trials(folder.settings, *read_study(folder)) if entry.results]


def read_study(folder: RunFolder) -> tuple[list[FrozenTrial], list[Rung]]:
    """All proposals of a run, and all rungs in the order in which they ended; none where there is no study yet.

    Raises RunError when the study cannot be read, or is not the run's.
    """
    trials, rungs = folder.read_study()
    return trials, read_rungs(rungs)


def read_trials(settings: SearchSettings, trials: list[FrozenTrial], rungs: list[Rung]) -> list[Entry]:
    """The architectures that are or were trained, with their results. Raises LstnError on what no search wrote."""
    entries = {
        trial.number: Entry(candidate=_read_candidate(settings, trial))
        for trial in trials
        if "arch" in trial.user_attrs
    }
    for number, rung, result in rungs:
        if number not in entries or rung != len(entries[number].results):
            raise RunError(f"the study has a result of rung {rung} of trial {number}, but none before it; {RESTORE}")
        entries[number].results.append(result)
    return list(entries.values())


def read_rungs(trials: list[FrozenTrial]) -> list[Rung]:
    """Every finished rung, in the order they ended. Raises RunError on what no search wrote."""
    return [_read_rung(trial) for trial in trials]


def _read_rung(trial: FrozenTrial) -> Rung:
    attrs = trial.user_attrs
    try:
        number, rung = read_as(int, attrs["trial"]), read_as(int, attrs["rung"])
        return number, rung, TrialResult.from_dict(parse_json(attrs["result"]))
    except (KeyError, TypeError, ValueError) as error:
        raise RunError(f"result {trial.number} of the study cannot be read ({error}); {RESTORE}") from None


def _read_candidate(settings: SearchSettings, trial: FrozenTrial) -> Candidate:
    attrs = trial.user_attrs
    name = checked_label(attrs.get("name"), f"trial {trial.number}: name")
    arch = Arch.from_json(str(attrs["arch"]), where=f"trial {trial.number}")
    return make_candidate(settings, trial.number, name, arch, is_seed=attrs.get("kind") == "seed")


def make_candidate(settings: SearchSettings, number: int, name: str, arch: Arch, *, is_seed: bool) -> Candidate:
    facts = cost(arch, settings.task.image_size)
    return Candidate(
        number=number,
        name=name,
        arch=arch,
        is_seed=is_seed,
        params=facts.params,
        macs=facts.macs,
        gflops=facts.gflops,
        costs=tuple(float(getattr(facts, cost.name)) for cost in settings.costs),
        over_budget=settings.violation(arch) > 0,
    )
