"""How the front grew with the compute that was spent: its hypervolume after every rung that changed it.

The reference point is (accuracy of the control at the lowest joint rung, budget). A network that is less accurate than
the classifier alone after its shortest joint training, or costs as much as the budget, adds nothing. Without a control
the accuracy of the reference is 0. Of a cost that has no budget the reference is a tenth above the dearest architecture
of the run. Divided by the budget, the hypervolume is the accuracy of the best affordable network above that of the
control, in points, averaged over all budgets from 0 to this one; with several costs, over their budgets together.
"""

import dataclasses
import math
from collections.abc import Iterable
from typing import TYPE_CHECKING

from lstn_search.pages.facts.history import History
from lstn_search.runs.entries import Entry
from lstn_search.spec import pareto
from lstn_search.spec.objectives import Objective

if TYPE_CHECKING:
    from lstn_search.runs.run import Run

__all__ = ["GrowthInfo", "GrowthPoint", "growth_info", "reference_point"]


@dataclasses.dataclass(kw_only=True, frozen=True, slots=True)
class GrowthPoint:
    """The front after so much training."""

    seconds: float
    """Of all rungs so far, references and warm backbone not counted."""
    hypervolume: float
    """In points of accuracy x costs."""
    num_on_front: int
    num_architectures: int
    """With a finished rung."""


@dataclasses.dataclass(kw_only=True, frozen=True, slots=True)
class GrowthInfo:
    """The curve, and what its area is measured from."""

    points: tuple[GrowthPoint, ...]
    """One for every rung that changed the front, and the last rung of all."""
    reference: pareto.Point
    """(accuracy, costs)."""
    costs: tuple[Objective, ...]
    seeds_hypervolume: float
    """Of the seed points alone, as they ended."""

    def height(self, hypervolume: float) -> float:
        """Points of accuracy above the reference, averaged over all budgets up to the reference's costs."""
        return hypervolume / math.prod(self.reference[1:])

    @property
    def limits(self) -> str:
        """The reference's costs, in words."""
        return " and ".join(cost.quote(limit) for cost, limit in zip(self.costs, self.reference[1:], strict=True))


def reference_point(run: "Run") -> pareto.Point:
    """(accuracy, costs) that a network has to beat to add to the hypervolume."""
    joint = [result.val_top1 for result in run.references.control if result.val_top1 is not None]
    settings = run.folder.settings
    limits = [1.1 * max((e.candidate.costs[i] for e in run.entries), default=1.0) for i in range(len(settings.costs))]
    if "gflops" in settings.objectives:
        limits[settings.objectives.index("gflops") - 1] = settings.budget_gflops - settings.overhead_gflops
    return (min(joint, default=0.0), *limits)


def growth_info(run: "Run", history: History) -> GrowthInfo:
    """The hypervolume of the front as it stood after each finished rung."""
    reference = reference_point(run)
    candidates = {entry.candidate.number: entry.candidate for entry in run.entries}
    replayed: dict[int, Entry] = {}
    offered: dict[int, pareto.Point] = {}
    on_front: dict[int, pareto.Point] = {}
    seconds = area = 0.0
    points: list[GrowthPoint] = []
    for position, (number, _, result) in enumerate(history.rungs):
        seconds += result.seconds
        entry = replayed.setdefault(number, Entry(candidate=candidates[number]))
        entry.results.append(result)
        before = offered.pop(number, None)
        after = entry.point if entry.on_offer else None
        if after is not None:
            offered[number] = after
        changes = number in on_front or (after is not None and not _is_beaten(after, on_front.values()))
        if changes and before != after:
            numbers = list(offered)
            on_front = {numbers[i]: offered[numbers[i]] for i in pareto.front(list(offered.values()))}
            area = pareto.hypervolume(list(on_front.values()), reference)
        elif position < len(history.rungs) - 1:
            continue
        points.append(
            GrowthPoint(seconds=seconds, hypervolume=area, num_on_front=len(on_front), num_architectures=len(replayed))
        )
    seeds = [e.point for e in run.entries if e.candidate.is_seed and e.on_offer]
    return GrowthInfo(
        points=tuple(points),
        reference=reference,
        costs=run.folder.settings.costs,
        seeds_hypervolume=pareto.hypervolume(seeds, reference),
    )


def _is_beaten(point: pareto.Point, front: Iterable[pareto.Point]) -> bool:
    return any(
        other[0] >= point[0] and all(a <= b for a, b in zip(other[1:], point[1:], strict=True)) for other in front
    )
