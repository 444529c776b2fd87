"""The two references of a task, run once and kept in the cache: the no-STN control and the oracle.

Both climb the same ladder as the trials, so every rung is quoted against its own control and oracle.
"""

from pathlib import Path
from typing import Any

from lstn_search.spec.ladder import Ladder
from lstn_search.spec.results import TrialResult
from lstn_search.training.memo import remembered
from lstn_search.training.prepared import OnStage, Prepared
from lstn_search.training.trial import start_trial
from lstn_search.training.warm import RECIPE_VERSION, Warm, warm_key
from lstn_search.training.workbench import Workbench

__all__ = ["load_reference", "reference_key"]


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
            **({"recover": ladder.recover} if ladder.recover else {}),
            name="oracle" if oracle else "control",
        ),
        lambda: _train(prepared, ladder, oracle=oracle, on_stage=on_stage),
        write=lambda results: {"rungs": [result.to_dict() for result in results]},
        read=lambda data: tuple(TrialResult.from_dict(row) for row in data["rungs"]),
    )


def reference_key(bench: Workbench, warm: Warm | None, **extra: Any) -> str:
    """The name of a training without a localizer: everything it depends on."""
    return bench.task.key(
        "reference",
        device=bench.device.type,
        fingerprint=bench.fingerprint,
        warm=warm_key(bench) if warm is not None else None,
        autocast=bench.use_autocast,
        recipe=RECIPE_VERSION,
        **extra,
    )


def _train(prepared: Prepared, ladder: Ladder, *, oracle: bool, on_stage: OnStage) -> tuple[TrialResult, ...]:
    trial = start_trial(prepared, None, oracle=oracle, on_stage=on_stage)
    first = trial.begin()  # the frozen classifier, which recover does not change
    return (*[first] * (ladder.recovered + 1), *(trial.train_to(epochs) for epochs in ladder.epochs))
