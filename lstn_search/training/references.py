"""The two references of a task, run once and kept in the cache: the no-STN control and the oracle.

Both climb the same ladder as the trials, so every rung is quoted against its own control and oracle. A control of as
many epochs as an architecture has had less time, as there was nothing to recover: it trains on for as many steps, each
dearer than one of recover, and what counts is the better of the two by validation.
"""

import dataclasses
import math
from pathlib import Path
from typing import Any

from lstn_search.spec.ladder import Ladder
from lstn_search.spec.reading import read_as
from lstn_search.spec.results import TrialResult
from lstn_search.spec.task import RECIPE_VERSION
from lstn_search.training.memo import remembered
from lstn_search.training.prepared import OnStage, Prepared
from lstn_search.training.trial import start_trial
from lstn_search.training.warm import Warm, warm_key
from lstn_search.training.workbench import Workbench

__all__ = ["better", "fair_epochs", "load_reference", "reference_key"]


def load_reference(
    prepared: Prepared, ladder: Ladder, cache_dir: Path, *, oracle: bool, on_stage: OnStage
) -> tuple[TrialResult, ...]:
    """The control or the oracle of the task, a result a rung, from the cache or trained now.

    Without a view and without poses there is nothing to undo: the oracle is the control. Raises SettingError when the
    training diverges.
    """
    bench, warm = prepared.bench, prepared.warm
    oracle = oracle and bench.task.has_oracle
    return remembered(
        cache_dir / "references",
        reference_key(
            bench,
            warm,
            ladder=ladder.epochs,
            recover=ladder.recover,
            name="oracle" if oracle else "control",
        ),
        lambda: _train(prepared, ladder, oracle=oracle, on_stage=on_stage),
        write=lambda results: {"rungs": [result.to_dict() for result in results]},
        read=lambda data: _read(data, num_rungs=ladder.top + 1),
    )


def _read(data: dict[str, Any], *, num_rungs: int) -> tuple[TrialResult, ...]:
    rungs = read_as(_Rungs, data).rungs
    if len(rungs) != num_rungs:
        raise ValueError(f"{len(rungs)} rungs, not {num_rungs}")
    return rungs


@dataclasses.dataclass(kw_only=True, frozen=True, slots=True)
class _Rungs:
    rungs: tuple[TrialResult, ...]


def reference_key(bench: Workbench, warm: Warm | None, **extra: Any) -> str:
    """The name of a training without a localizer: everything it depends on."""
    return bench.task.key(
        "reference",
        device=bench.device.type,
        fingerprint=bench.fingerprint,
        warm=warm_key(bench) if warm is not None else None,
        autocast=bench.use_autocast,
        recipe=RECIPE_VERSION,
        **bench.code_in_keys,
        **extra,
    )


def _train(prepared: Prepared, ladder: Ladder, *, oracle: bool, on_stage: OnStage) -> tuple[TrialResult, ...]:
    trial = start_trial(prepared, None, oracle=oracle, on_stage=on_stage)
    first = trial.begin()  # the frozen classifier, which recover does not change
    rungs = [first] * (ladder.recovered + 1)
    if oracle:
        return (*rungs, *map(trial.train_to, ladder.epochs))
    longer = {epochs: fair_epochs(prepared.bench, epochs) for epochs in ladder.epochs}
    results = {epochs: trial.train_to(epochs) for epochs in sorted({*longer, *longer.values()})}
    return (*rungs, *(better(results[epochs], results[longer[epochs]]) for epochs in ladder.epochs))


def fair_epochs(bench: Workbench, epochs: int) -> int:
    """After how many epochs a control has done as many steps as an architecture that recovers and trains so many."""
    return epochs + math.ceil(bench.task.recover_steps / bench.batches_per_epoch)


def better(shorter: TrialResult, longer: TrialResult) -> TrialResult:
    """Of two results of a control the one with the higher validation accuracy, and what the shorter training gave."""
    best = max(shorter, longer, key=lambda result: result.val_top1 or 0.0)
    return dataclasses.replace(best, equal_epochs_top1=shorter.val_top1)
