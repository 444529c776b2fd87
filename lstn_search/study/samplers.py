"""The samplers: Optuna's TPE and random search as they are, its NSGA-II taught to breed networks, and evolution.

Networks of different depth have different choices. Optuna's NSGA-II inherits only the choices that every trial so far
has in common and draws all others at random; here a child takes each block whole from one of its parents.

Evolution is our own: a parent from the front, a few of the space's own moves (widen, narrow, move a stride, pad or
unpad, add or drop a unit, move BN, change the head), and a repair to the budget by exact cost.
"""

import contextlib
import random
from collections.abc import Callable, Sequence
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial, TrialState

from lstn_search.errors import SpaceError
from lstn_search.spec import moves
from lstn_search.spec.arch import Arch
from lstn_search.spec.settings import SamplerName
from lstn_search.spec.space import Choices, Space

__all__ = ["evolve", "make_sampler"]

POPULATION_SIZE = 16
SHARE_OF_STRANGERS = 0.1
"""Of evolution's children: random networks, so that no part of the space is out of reach."""


def make_sampler(name: SamplerName, seed: int, fixed: Choices | None = None) -> optuna.samplers.BaseSampler:
    """A fresh sampler for one proposal: what it draws depends on the seed and the study's history, nothing else.

    `fixed` prescribes choices instead of drawing them.
    """
    seed %= 2**32
    sampler: optuna.samplers.BaseSampler
    if name == "tpe":
        sampler = optuna.samplers.TPESampler(seed=seed, multivariate=True, group=True)
    elif name == "nsga2":
        sampler = _NSGA2(seed)
    else:
        sampler = optuna.samplers.RandomSampler(seed=seed)
    return optuna.samplers.PartialFixedSampler(dict(fixed), sampler) if fixed else sampler


class _NSGA2(optuna.samplers.NSGAIISampler):
    """NSGA-II over choices that depend on each other."""

    def __init__(self, seed: int) -> None:
        self._breeder = random.Random(seed)
        super().__init__(population_size=POPULATION_SIZE, seed=seed, child_generation_strategy=self._breed)

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """Every choice any trial has had, not only those all trials share."""
        found: dict[str, BaseDistribution] = {}
        for other in study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)):
            found |= other.distributions
        return {name: found[name] for name in sorted(found) if not found[name].single()}

    def get_parent_population(self, study: optuna.Study, generation: int) -> list[FrozenTrial]:
        """Always in the order of proposal; Optuna's order is another one where they have been selected before."""
        return sorted(super().get_parent_population(study, generation), key=lambda trial: trial.number)

    def _breed(
        self, study: optuna.Study, search_space: dict[str, BaseDistribution], parents: list[FrozenTrial]
    ) -> dict[str, Any]:
        """Each block (`stem`, `unit2`, ...) of one of two parents; each choice left out, to be drawn, once in a child.

        A block that only one parent has is taken from it: the child may want it.
        """
        pair = self._breeder.sample(parents, 2)
        child: dict[str, Any] = {}
        for block in sorted({_block(name) for name in search_space}):
            genes = [{name: value for name, value in parent.params.items() if _block(name) == block} for parent in pair]
            chosen, other = self._breeder.sample(genes, 2)
            child |= chosen or other
        return {
            name: value
            for name, value in child.items()
            if name in search_space and self._breeder.random() >= 1 / len(child)
        }


def evolve(
    space: Space, parents: Sequence[Choices], affordable: Callable[[Arch], bool], rng: random.Random
) -> Choices | None:
    """A child of one of `parents`, within the budget; a random network without parents. None: repair found no way."""
    if not parents or rng.random() < SHARE_OF_STRANGERS:
        return moves.repair(space, space.sample(rng), affordable, rng)
    child = rng.choice(parents)
    with contextlib.suppress(SpaceError):  # a space of one network has no moves
        child = moves.mutate(space, child, rng)
        while rng.random() < 0.5:
            child = moves.mutate(space, child, rng)
    return moves.repair(space, child, affordable, rng)


def _block(name: str) -> str:
    return name.partition(".")[0]
