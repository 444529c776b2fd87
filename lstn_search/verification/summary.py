"""From finished trainings to a `Verification`: series by seed, intervals, verdicts, the pick, and sentences. No torch.

A seed counts when all that its plan asks for has ended, under the same conditions; the others are left out of every
statistic. The pick rests on validation alone, verdicts are about test accuracy.
"""

import dataclasses
from collections.abc import Mapping, Sequence

from lstn_search.spec.results import DEAD, gap_closed
from lstn_search.verification.plan import CONTROL, ORACLE, Contender, Plan
from lstn_search.verification.records import Record
from lstn_search.verification.result import Difference, Finalist, SeedResult, Verification
from lstn_search.verification.sentences import write_sentences
from lstn_search.verification.statistics import (
    Interval,
    bootstrap_interval,
    least_sd,
    one_standard_error,
    paired,
    t_interval,
)

__all__ = ["LSTN", "complete_seeds", "summarize"]

LSTN = "lstn"
"""Name of the seed point that all others are compared with."""

Trainings = Mapping[tuple[str, int], Record]
"""By (key, seed)."""


def complete_seeds(plan: Plan, records: Trainings) -> tuple[int, ...]:
    """The seeds with which everything has ended, all under the same conditions: only those are pairs."""
    complete = []
    for seed in plan.seeds:
        block = [records.get((key, seed)) for key in plan.keys]
        conditions = {record.conditions for record in block if record is not None and record.evaluation is not None}
        if None not in block and len(conditions) == 1:
            complete.append(seed)
    return tuple(complete)


def summarize(
    plan: Plan, records: Trainings, *, versions: dict[str, str] | None = None, hardware: dict[str, object] | None = None
) -> Verification:
    """Everything that can be said from the trainings on file."""
    seeds = complete_seeds(plan, records)
    table = _Table(plan, records, seeds)
    finalists = {contender.name: table.finalist(contender) for contender in plan.contenders}
    control, oracle = (table.reference(key) if key in plan.keys else None for key in (CONTROL, ORACLE))
    eligible = {name: row for name, row in finalists.items() if _can_be_picked(row)}
    pick, behind = one_standard_error(
        {name: _counted(row, "val_top1") for name, row in eligible.items()},
        {name: row.gflops or 0.0 for name, row in eligible.items()},
        least_sd=least_sd(plan.num_val, of_difference=True),
    )
    for name, gap in behind.items():
        finalists[name] = dataclasses.replace(finalists[name], behind_best=gap.mean, behind_best_se=gap.se)
    verification = Verification(
        finalists=tuple(finalists.values()),
        control=control,
        oracle=oracle,
        pick=pick,
        sentences=(),
        wanted_seeds=plan.seeds,
        complete_seeds=seeds,
        task=plan.task.to_dict(),
        budget_gflops=plan.budget_gflops,
        command=plan.command,
        seconds=sum(row.seconds for finalist in finalists.values() for row in finalist.seeds)
        + sum(row.seconds for reference in (control, oracle) if reference for row in reference.seeds),
        versions=versions or {},
        hardware=hardware or {},
    )
    return dataclasses.replace(verification, sentences=write_sentences(verification))


class _Table:
    """The trainings as series over the complete seeds."""

    def __init__(self, plan: Plan, records: Trainings, seeds: tuple[int, ...]) -> None:
        self.plan, self.records, self.seeds = plan, records, seeds
        self.control = self._tests(CONTROL)
        self.lstn = next((self._tests(row.arch.digest) for row in plan.contenders if row.name == LSTN), None)

    def reference(self, key: str) -> Finalist:
        """Control or oracle: accuracies only."""
        return self._with_statistics(Finalist(name=key, number=None, seeds=self._rows(key)))

    def finalist(self, contender: Contender) -> Finalist:
        """An architecture with everything but the pick."""
        finalist = Finalist(
            name=contender.name,
            number=contender.number,
            digest=contender.arch.digest,
            gflops=contender.gflops,
            params=contender.params,
            over_budget=contender.over_budget,
            is_seed=contender.is_seed,
            is_front_pick=contender.is_front_pick,
            searched_top1=contender.searched_top1,
            searched_epochs=contender.searched_epochs,
            seeds=self._rows(contender.arch.digest),
        )
        finalist = self._with_statistics(finalist)
        if contender.is_comparable and contender.searched_top1 is not None and finalist.mean_val is not None:
            finalist = dataclasses.replace(finalist, optimism=contender.searched_top1 - finalist.mean_val)
        return self._with_verdicts(finalist)

    def _with_statistics(self, finalist: Finalist) -> Finalist:
        """Means and intervals, unless it failed with some seed: a mean of the others would flatter it."""
        val, test = (_counted(finalist, column) for column in ("val_top1", "test_top1"))
        finalist = dataclasses.replace(finalist, num_seeds=len(self.seeds))
        if not self.seeds or len(test) < len(self.seeds):
            return finalist
        on_val = t_interval(val, least_sd=least_sd(self.plan.num_val, of_difference=False))
        on_test = t_interval(test, least_sd=least_sd(self.plan.num_test, of_difference=False))
        gaps = _counted(finalist, "gap_closed")
        of_gap = _mean_and_bounds(t_interval(gaps)) if len(gaps) == len(self.seeds) else (None, None, None)
        return dataclasses.replace(
            finalist,
            mean_val=on_val.mean,
            low_val=on_val.low,
            high_val=on_val.high,
            mean_test=on_test.mean,
            low_test=on_test.low,
            high_test=on_test.high,
            gap_closed=of_gap[0],
            low_gap=of_gap[1],
            high_gap=of_gap[2],
        )

    def _with_verdicts(self, finalist: Finalist) -> Finalist:
        verdicts = _health(finalist)
        if finalist.mean_test is None:
            return dataclasses.replace(finalist, verdicts=verdicts)
        ours = _counted(finalist, "test_top1")
        versus_control, interval = self._difference(ours, self.control)
        if interval is not None:
            verdicts += ("better than no STN" if interval.is_above_0 else "no benefit over no STN",)
        versus_lstn, interval = self._difference(ours, self.lstn if finalist.name != LSTN else None)
        if interval is not None:
            words = "better than" if interval.is_above_0 else "worse than" if interval.is_below_0 else None
            verdicts += (f"{words or 'not distinguishable from'} L-STN",)
        return dataclasses.replace(finalist, verdicts=verdicts, versus_control=versus_control, versus_lstn=versus_lstn)

    def _difference(
        self, ours: Sequence[float], theirs: Sequence[float] | None
    ) -> tuple[Difference | None, Interval | None]:
        """The paired difference, and its interval when there are two seeds to take it from."""
        if theirs is None or len(theirs) < len(ours):
            return None, None
        differences = paired(ours, theirs)
        interval = t_interval(differences, least_sd=least_sd(self.plan.num_test, of_difference=True))
        bootstrap = bootstrap_interval(differences) or (None, None)
        difference = Difference(
            mean=interval.mean,
            low=interval.low,
            high=interval.high,
            bootstrap_low=bootstrap[0],
            bootstrap_high=bootstrap[1],
        )
        return difference, interval if interval.se is not None else None

    def _tests(self, key: str) -> list[float]:
        records = (self.records.get((key, seed)) for seed in self.seeds)
        tests = (record.tested() for record in records if record is not None)
        return [value for value in tests if value is not None]

    def _rows(self, key: str) -> tuple[SeedResult, ...]:
        records = ((seed, self.records.get((key, seed))) for seed in self.plan.seeds)
        return tuple(self._row(seed, record) for seed, record in records if record is not None)

    def _row(self, seed: int, record: Record) -> SeedResult:
        result = record.result
        references = (self.records.get((key, seed)) for key in (CONTROL, ORACLE))
        control, oracle = (None if reference is None else reference.tested() for reference in references)
        return SeedResult(
            seed=seed,
            counted=seed in self.seeds,
            status=result.status,
            reason=result.reason,
            val_top1=result.val_top1,
            test_top1=record.tested(),
            test_clean_top1=record.tested("test_clean"),
            gap_closed=gap_closed(record.tested(), control, oracle),
            spread=result.spread,
            out_of_frame=result.out_of_frame,
            scale=result.scale,
            corner_error_px=result.corner_error_px,
            seconds=result.seconds,
            device=record.device,
            autocast=record.autocast,
        )


def _mean_and_bounds(interval: Interval) -> tuple[float, float | None, float | None]:
    return interval.mean, interval.low, interval.high


def _counted(finalist: Finalist, column: str) -> list[float]:
    """A column over the complete seeds, without failures."""
    values = (getattr(row, column) for row in finalist.seeds if row.counted)
    return [value for value in values if value is not None]


def _health(finalist: Finalist) -> tuple[str, ...]:
    """Every way in which its localizer died, or its training failed, with any complete seed."""
    counted = [row for row in finalist.seeds if row.counted]
    found = {status: sum(row.status == status for row in counted) for status in ("failed", *DEAD)}
    return tuple(f"{status} in {count} of {len(counted)} seeds" for status, count in found.items() if count)


def _can_be_picked(finalist: Finalist) -> bool:
    """Within the budget, and alive with every complete seed."""
    statuses = {row.status for row in finalist.seeds if row.counted}
    return statuses == {"ok"} and finalist.mean_val is not None and not finalist.over_budget
