"""What each choice of the search space did: how well the networks did that share a value, and which choices matter.

Every number is of rung 0, the only rung that all architectures have climbed: the accuracy through the frozen backbone
after recover (paper's protocol: after the whole training). Seed points are left out, they were not chosen; so are
failures. A sampler prefers what did well, so values are not drawn independently of each other: these are
descriptions of this search, not effects.
"""

import dataclasses
import math
import random
import statistics
import warnings
from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from lstn_search.pages.facts.history import History, Proposal

if TYPE_CHECKING:
    from lstn_search.runs.run import Run

__all__ = ["MIN_TRIALS", "ChoiceInfo", "MarginalsInfo", "ValueInfo", "explained_share", "marginals_info"]

QUANTILE = 0.25
"""PED-ANOVA asks which choices tell this best share of the networks from all of them."""
MIN_TRIALS = 20
"""Below, PED-ANOVA would compare fewer than five networks with the rest."""
MAX_TRIALS = 2000
"""Of more networks PED-ANOVA sees a random sample: it needs a millisecond for each."""


@dataclasses.dataclass(kw_only=True, frozen=True, slots=True)
class ValueInfo:
    """The networks that share one value of a choice."""

    value: str
    num: int
    mean: float
    """Of the accuracy at rung 0, in percent."""
    spread: float | None
    """Standard deviation (n - 1); None for a single network."""
    best: float


@dataclasses.dataclass(kw_only=True, frozen=True, slots=True)
class ChoiceInfo:
    """One choice and all its values that occurred."""

    name: str
    num: int
    """Networks that made this choice; `unit3.stride` only exists with three units or more."""
    values: tuple[ValueInfo, ...]
    explained: float | None
    """Share of the variance that this choice explains by itself, in percent, corrected for its number of values:
    0 or less is what chance gives. None with fewer than two values, or no network more than values."""
    importance: float | None
    """PED-ANOVA's, in percent of all choices; None with fewer than `MIN_TRIALS` networks."""


@dataclasses.dataclass(kw_only=True, frozen=True, slots=True)
class MarginalsInfo:
    """All choices, the most important first (without importances: the one that explains most)."""

    choices: tuple[ChoiceInfo, ...]
    num: int
    measure: str
    """What the accuracies are, in words."""


def marginals_info(run: "Run", history: History) -> MarginalsInfo:
    """What the choices did, over the searched architectures that were measured on rung 0."""
    proposed = {proposal.number: proposal for proposal in history.proposals if proposal.kind == "trial"}
    measured = [
        (proposed[entry.candidate.number], accuracy)
        for entry in run.entries
        if entry.candidate.number in proposed and (accuracy := entry.results[0].accuracy) is not None
    ]
    scores: dict[str, dict[Any, list[float]]] = defaultdict(lambda: defaultdict(list))
    for proposal, accuracy in measured:
        for name, value in proposal.choices.items():
            scores[name][value].append(accuracy)
    importances = _importances(measured) if len(measured) >= MIN_TRIALS else {}
    choices = [
        ChoiceInfo(
            name=name,
            num=sum(map(len, values.values())),
            values=tuple(_value_info(value, values[value]) for value in sorted(values, key=_order)),
            explained=explained_share(list(values.values())),
            importance=importances.get(name),
        )
        for name, values in scores.items()
    ]
    choices.sort(key=lambda choice: (-(choice.importance or 0), -(choice.explained or -math.inf), choice.name))
    paper = run.task.protocol == "paper"
    measure = "accuracy after training" if paper else "accuracy after recover, through the frozen classifier"
    return MarginalsInfo(choices=tuple(choices), num=len(measured), measure=measure)


def explained_share(groups: Sequence[Sequence[float]]) -> float | None:
    """Epsilon squared of a one-way analysis of variance, in percent; 0 on average when the groups do not matter."""
    scores = [score for group in groups for score in group]
    num, num_groups = len(scores), len(groups)
    if num_groups < 2 or num <= num_groups:
        return None
    mean = statistics.fmean(scores)
    total = sum((score - mean) ** 2 for score in scores)
    if total == 0:
        return None
    within = sum((score - statistics.fmean(group)) ** 2 for group in groups for score in group)
    return 100 * (1 - (within / (num - num_groups)) / (total / (num - 1)))


def _value_info(value: Any, accuracies: list[float]) -> ValueInfo:
    return ValueInfo(
        value={True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value),
        num=len(accuracies),
        mean=statistics.fmean(accuracies),
        spread=statistics.stdev(accuracies) if len(accuracies) > 1 else None,
        best=max(accuracies),
    )


def _order(value: Any) -> tuple[bool, float, str]:
    """Numbers by size, then words."""
    return isinstance(value, str), 0.0 if isinstance(value, str) else float(value), str(value)


def _importances(measured: list[tuple[Proposal, float]]) -> dict[str, float]:
    """PED-ANOVA (Watanabe et al. 2023, in Optuna) for the accuracy at rung 0, in percent of their sum."""
    import optuna
    from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances

    if len(measured) > MAX_TRIALS:
        measured = random.Random(0).sample(measured, MAX_TRIALS)
    optuna.logging.set_verbosity(optuna.logging.ERROR)  # as everywhere here: not for users
    study = optuna.create_study(direction="minimize")
    with warnings.catch_warnings(action="ignore"):  # it warns of values with a single network; the table shows n
        study.add_trials(
            optuna.trial.create_trial(
                value=-accuracy, params=dict(proposal.choices), distributions=dict(proposal.distributions)
            )
            for proposal, accuracy in measured
        )
        evaluator = PedAnovaImportanceEvaluator(target_quantile=QUANTILE)
        importances = get_param_importances(study, evaluator=evaluator, target=lambda trial: trial.value or 0.0)
    return {name: 100 * share for name, share in importances.items()}
