"""How a search went, as its study tells: every proposal with its choices, every rung in the order they ended."""

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lstn_search.search.entries import Rung
    from lstn_search.search.run import Run

__all__ = ["History", "Proposal", "read_history"]


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
    import optuna

    from lstn_search.search.entries import read_rungs, using_storage

    folder = run.folder
    if not folder.has_study:
        return History()
    with using_storage(folder):
        storage = optuna.storages.RDBStorage(folder.storage_url)
        try:
            study = optuna.load_study(study_name=folder.study_name, storage=storage)
            rungs = read_rungs(optuna.load_study(study_name=folder.rungs_name, storage=storage))
        except KeyError:  # the search was killed as it began the study
            return History()
        proposals = tuple(
            Proposal(
                number=trial.number,
                kind=trial.user_attrs["kind"],
                choices=trial.params,
                distributions=trial.distributions,
            )
            for trial in study.get_trials(deepcopy=False)
            if "kind" in trial.user_attrs
        )
    return History(proposals=proposals, rungs=tuple(rungs))
