"""The two references of a task, run once and kept in the cache: the no-STN control and the oracle.

Both climb the same ladder as the trials, so every rung is quoted against its own control and oracle.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lstn_search.spec.ladder import Ladder
from lstn_search.spec.results import TrialResult
from lstn_search.train.joint import JointTraining
from lstn_search.train.memo import remembered
from lstn_search.train.trial import joint_columns, must_not_diverge, run_reference
from lstn_search.train.warm import RECIPE_VERSION, Warm, warm_key
from lstn_search.train.workbench import Workbench

__all__ = ["load_reference", "reference_key"]


def load_reference(
    bench: Workbench,
    warm: Warm | None,
    ladder: Ladder,
    cache_dir: Path,
    *,
    oracle: bool,
    on_stage: Callable[[str], None],
) -> tuple[TrialResult, ...]:
    """The control or the oracle of the workbench's task, a result a rung, from the cache or trained now.

    Without a view there is nothing to undo: the oracle is the control. Raises SettingError when the training diverges.
    """
    oracle = oracle and bench.view is not None
    return remembered(
        cache_dir / "references",
        reference_key(bench, warm, ladder=ladder.epochs, name="oracle" if oracle else "control"),
        lambda: _climb(bench, warm, ladder, oracle=oracle, on_stage=on_stage),
        write=lambda results: {"rungs": [result.to_dict() for result in results]},
        read=lambda data: tuple(TrialResult.from_dict(row) for row in data["rungs"]),
    )


def reference_key(bench: Workbench, warm: Warm | None, **extra: Any) -> str:
    """The name of a training without a localizer: everything it depends on."""
    return bench.task.key(
        "reference",
        device=bench.device.type,
        fingerprint=bench.dataset.fingerprint,
        warm=warm_key(bench) if warm is not None else None,
        autocast=bench.use_autocast,
        recipe=RECIPE_VERSION,
        **extra,
    )


def _climb(
    bench: Workbench, warm: Warm | None, ladder: Ladder, *, oracle: bool, on_stage: Callable[[str], None]
) -> tuple[TrialResult, ...]:
    if warm is None:
        result, _ = run_reference(bench, None, oracle=oracle, on_stage=on_stage)
        return (result,)
    start = time.perf_counter()
    training = JointTraining(bench, None, warm.backbone(bench), view=bench.view, undo=oracle)
    frozen, _ = bench.evaluate(training.model, bench.dataset.val_I, view=bench.recover_view, undo=oracle)
    results = [TrialResult(status="ok", seconds=time.perf_counter() - start, frozen_top1=frozen.top1)]
    for total in ladder.epochs:
        start = time.perf_counter()
        while len(training.epochs) < total:
            on_stage(f"joint {len(training.epochs) + 1}/{total}")
            with must_not_diverge(bench):
                training.run_epoch()
        columns = joint_columns(training.measure())
        results.append(TrialResult(status="ok", seconds=time.perf_counter() - start, **columns))
    return tuple(results)
