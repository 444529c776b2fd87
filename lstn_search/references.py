"""The two references of a task, run once and kept in the cache: the no-STN control and the oracle.

Both climb the same ladder as the trials, so every rung is quoted against its own control and oracle.
"""

import dataclasses
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lstn_search.memo import remembered
from lstn_search.results import TrialResult, gap_closed
from lstn_search.search.ladder import Ladder
from lstn_search.train.joint import JointTraining
from lstn_search.train.warm import RECIPE_VERSION, Warm, warm_key
from lstn_search.train.workbench import Workbench
from lstn_search.trial import joint_columns, run_reference

__all__ = ["References", "load_references", "reference_key"]


@dataclasses.dataclass(kw_only=True, frozen=True, slots=True)
class References:
    """The trial's training without a transformer, and behind one that undoes the drawn warp exactly, by rung."""

    control: tuple[TrialResult, ...]
    """Rung 0 is the frozen warm backbone (paper's protocol: the whole training)."""
    oracle: tuple[TrialResult, ...]

    def gap_closed(self, result: TrialResult, rung: int) -> float | None:
        """Share of the rung's control-to-oracle gap that a result closes, in percent; None where there is no gap."""
        return gap_closed(result.accuracy, self.control[rung].accuracy, self.oracle[rung].accuracy)

    def to_dict(self) -> dict[str, Any]:
        """All results, as JSON types."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "References":
        """Read what `to_dict` wrote."""
        return cls(**{name: tuple(TrialResult.from_dict(row) for row in data[name]) for name in ("control", "oracle")})


def load_references(
    bench: Workbench, warm: Warm | None, ladder: Ladder, cache_dir: Path, *, on_stage: Callable[[str], None]
) -> References:
    """The references of the workbench's task, from the cache or trained now. Without a view the two are the same."""

    def train() -> References:
        control = _climb(bench, warm, ladder, oracle=False, on_stage=on_stage)
        oracle = control if bench.view is None else _climb(bench, warm, ladder, oracle=True, on_stage=on_stage)
        return References(control=control, oracle=oracle)

    key = reference_key(bench, warm, ladder=ladder.epochs)
    return remembered(cache_dir / "references", key, train, write=References.to_dict, read=References.from_dict)


def _climb(
    bench: Workbench, warm: Warm | None, ladder: Ladder, *, oracle: bool, on_stage: Callable[[str], None]
) -> tuple[TrialResult, ...]:
    name = "oracle" if oracle else "control"
    if warm is None:
        result, _ = run_reference(bench, None, oracle=oracle, on_stage=lambda stage: on_stage(f"{name}: {stage}"))
        return (result,)
    start = time.perf_counter()
    training = JointTraining(bench, None, warm.backbone(bench), view=bench.view, undo=oracle)
    frozen, _ = bench.evaluate(training.model, bench.dataset.val_I, view=bench.recover_view, undo=oracle)
    results = [TrialResult(status="ok", seconds=time.perf_counter() - start, frozen_top1=frozen.top1)]
    for total in ladder.epochs:
        start = time.perf_counter()
        while len(training.epochs) < total:
            on_stage(f"{name}: joint {len(training.epochs) + 1}/{total}")
            training.run_epoch()
        columns = joint_columns(training.measure())
        results.append(TrialResult(status="ok", seconds=time.perf_counter() - start, **columns))
    return tuple(results)


def reference_key(bench: Workbench, warm: Warm | None, **extra: Any) -> str:
    """The name of a training without a localizer: everything it depends on, and nothing a localizer's stages use."""
    return bench.task.key(
        *("backbone", "trial_size", "view", "view_strength", "protocol", "epochs", "max_epochs", "warm_epochs"),
        *("batch_size", "lr", "seed", "split_seed"),
        fingerprint=bench.dataset.fingerprint,
        warm=warm_key(bench) if warm is not None else None,
        autocast=bench.use_autocast,
        recipe=RECIPE_VERSION,
        **extra,
    )
