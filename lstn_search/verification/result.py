"""What a verification found, as plain facts, and how they are read back. Neither torch nor numpy here.

    Verification          the whole: finalists, control and oracle, the pick, what to say in words
      Finalist            one architecture over all seeds: means, intervals, verdicts
        SeedResult        one training
        Difference        a mean of paired differences, with its intervals

Accuracies are top-1 in percent under the task's view, differences of them in points. `low` and `high` bound a 95 %
interval (Student's t over the seeds); docs/verify.md has the formulas.
"""

import dataclasses
from pathlib import Path
from typing import Any

from lstn_search.errors import RunError
from lstn_search.spec.reading import read_as, read_json
from lstn_search.spec.results import Status

__all__ = ["VERIFICATION_FILE", "Difference", "Finalist", "SeedResult", "Verification", "read_verification"]

VERIFICATION_FILE = "verify.json"
"""In the run folder."""


@dataclasses.dataclass(kw_only=True, frozen=True, slots=True)
class SeedResult:
    """One training of one finalist."""

    seed: int
    counted: bool
    """Whether the seed is complete, so that this training is part of the statistics."""
    status: Status
    reason: str = ""
    """Why it failed."""
    val_top1: float | None = None
    """None: failed. Like the next two."""
    test_top1: float | None = None
    test_clean_top1: float | None = None
    """Of upright images."""
    gap_closed: float | None = None
    """Share of this seed's control-to-oracle gap on test, in percent; None: no gap, or not trained yet."""
    spread: float | None = None
    out_of_frame: float | None = None
    scale: float | None = None
    corner_error_px: float | None = None
    seconds: float = 0.0
    device: str = ""
    autocast: bool = False


@dataclasses.dataclass(kw_only=True, frozen=True, slots=True)
class Difference:
    """A mean of paired differences of test accuracy, in points: this finalist minus the other, seed by seed."""

    mean: float
    low: float | None
    """Student's t; None with a single seed. Like the next three."""
    high: float | None
    bootstrap_low: float | None
    """Percentile bootstrap, to be read beside the other interval; verdicts do not use it."""
    bootstrap_high: float | None


@dataclasses.dataclass(kw_only=True, frozen=True, slots=True)
class Finalist:
    """One architecture, or a reference, over all complete seeds. Statistics are None where there are none."""

    name: str
    number: int | None
    """Of the trial; None for control and oracle, like the next four."""
    digest: str | None = None
    gflops: float | None = None
    params: int | None = None
    over_budget: bool | None = None
    is_seed: bool = False
    is_front_pick: bool = False
    """Among the top K of the front."""
    searched_top1: float | None = None
    """Validation accuracy in the search, at its highest rung."""
    searched_epochs: int | None = None
    optimism: float | None = None
    """`searched_top1` minus `mean_val`; None unless the search trained it for as long as the verification."""
    num_seeds: int = 0
    """Complete seeds."""
    mean_val: float | None = None
    low_val: float | None = None
    high_val: float | None = None
    mean_test: float | None = None
    low_test: float | None = None
    high_test: float | None = None
    gap_closed: float | None = None
    """Mean over seeds of the share of the control-to-oracle gap closed on test, in percent."""
    low_gap: float | None = None
    high_gap: float | None = None
    versus_control: Difference | None = None
    versus_lstn: Difference | None = None
    behind_best: float | None = None
    """How far its mean validation accuracy is below the best one that can be picked; None: cannot be picked."""
    behind_best_se: float | None = None
    """Standard error of that paired difference."""
    verdicts: tuple[str, ...] = ()
    """In words: "better than no STN", "not distinguishable from L-STN", "inert in 5 of 5 seeds", …"""
    seeds: tuple[SeedResult, ...] = ()
    """Every training there is, by seed; those of incomplete seeds are not `counted`."""


@dataclasses.dataclass(kw_only=True, frozen=True, slots=True)
class Verification:
    """A run's finalists, retrained and compared."""

    finalists: tuple[Finalist, ...]
    """Cheapest first."""
    control: Finalist | None
    oracle: Finalist | None
    """None without a view: there is no warp to undo."""
    pick: str | None
    """Name of the finalist that the one-standard-error rule picks; None: nothing can be picked yet."""
    sentences: tuple[str, ...]
    """What was found, in words; a line each."""
    wanted_seeds: tuple[int, ...]
    complete_seeds: tuple[int, ...]
    task: dict[str, Any]
    """Settings of the trainings, its `seed` aside: the schedule is in `recover_steps` and `epochs`."""
    budget_gflops: float
    command: str
    seconds: float
    """Spent on all trainings counted here, added up."""
    versions: dict[str, str] = dataclasses.field(default_factory=dict)
    hardware: dict[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def rows(self) -> tuple[Finalist, ...]:
        """Control, finalists, oracle: as tables list them."""
        return tuple(row for row in (self.control, *self.finalists, self.oracle) if row is not None)

    def to_dict(self) -> dict[str, Any]:
        """Everything, as JSON types."""
        return dataclasses.asdict(self)


def read_verification(run_folder: Path) -> Verification | None:
    """What `verify` left in a run folder; None when it has not been there. Raises RunError when it cannot be read."""
    file = run_folder / VERIFICATION_FILE
    try:
        return read_as(Verification, read_json(file))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise RunError(f"{file} cannot be read ({error}); delete it and run verify again") from None
