"""How a search went, as its study tells: every proposal with its choices, every rung in the order they ended."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

    from lstn_search.runs.entries import Rung
    from lstn_search.runs.run import Run

__all__ = ["History", "Proposal", "open_with_history", "read_history"]


@dataclasses.dataclass(kw_only=True, frozen=True, slots=True)
class Proposal:
    """What a sampler proposed, or a seed point."""

    number: int
    kind: str
    """seed, trial (trained both, or to be), rejected (over the budget), duplicate (of a trained one)."""
    choices: Mapping[str, Any]
    """By name (`stem.stride`); empty for a seed point outside the space."""
    distributions: Mapping[str, Any]
    """Optuna's, by the same names: all the values there were."""


@dataclasses.dataclass(kw_only=True, frozen=True, slots=True)
class History:
    """All of a search, in order."""

    proposals: tuple[Proposal, ...] = ()
    rungs: "tuple[Rung, ...]" = ()
    """(number of the proposal, rung, result), in the order in which they ended."""


def read_history(run: "Run") -> History:
    """The history of a run; empty when it has no study. Raises RunError when the study cannot be read."""
    from lstn_search.runs.entries import read_study

    return _history(*read_study(run.folder))


def open_with_history(path: Path, *, storage: str | None = None) -> "tuple[Run, History]":
    """What `open_run` and `read_history` give, from one reading of the study: of 10,000 trials it takes seconds.

    Raises RunError when the folder holds no run, or the study cannot be read.
    """
    from lstn_search.runs.entries import read_study, read_trials
    from lstn_search.runs.folder import RunFolder
    from lstn_search.runs.run import Run, open_run
    from lstn_search.spec.results import References

    folder = RunFolder.open(path, storage=storage)
    if "data" not in folder.manifest:
        return open_run(path), History()  # says what is wrong with it
    trials, rungs = read_study(folder)
    references = References.from_dict(folder.manifest.get("references", References().to_dict()))
    entries = [entry for entry in read_trials(folder.settings, trials, rungs) if entry.results]
    return Run(folder=folder, entries=entries, references=references), _history(trials, rungs)


def _history(trials: "list[FrozenTrial]", rungs: "list[Rung]") -> History:
    proposals = tuple(
        Proposal(
            number=trial.number,
            kind=trial.user_attrs["kind"],
            choices=trial.params,
            distributions=trial.distributions,
        )
        for trial in trials
        if "kind" in trial.user_attrs
    )
    return History(proposals=proposals, rungs=tuple(rungs))
