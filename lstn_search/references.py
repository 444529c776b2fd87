"""The two references of a task, run once and kept in the cache: the no-STN control and the oracle."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lstn_search.memo import remembered
from lstn_search.results import TrialResult, gap_closed
from lstn_search.train.warm import RECIPE_VERSION, Warm, warm_key
from lstn_search.train.workbench import Workbench
from lstn_search.trial import run_reference

__all__ = ["References", "load_references", "reference_key"]


@dataclasses.dataclass(kw_only=True, frozen=True, slots=True)
class References:
    """The trial's joint training without a transformer, and behind one that undoes the drawn warp exactly."""

    control: TrialResult
    oracle: TrialResult

    def gap_closed(self, top1: float | None) -> float | None:
        """Share of the control-to-oracle gap that an accuracy closes, in percent; None where there is no gap."""
        return gap_closed(top1, self.control, self.oracle)

    def to_dict(self) -> dict[str, Any]:
        """Both results, as JSON types."""
        return {"control": self.control.to_dict(), "oracle": self.oracle.to_dict()}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "References":
        """Read what `to_dict` wrote."""
        return cls(**{name: TrialResult.from_dict(data[name]) for name in ("control", "oracle")})


def load_references(
    bench: Workbench, warm: Warm | None, cache_dir: Path, *, on_stage: Callable[[str], None]
) -> References:
    """The references of the workbench's task, from the cache or trained now. Without a view the two are the same."""

    def train() -> References:
        control, _ = run_reference(bench, warm, oracle=False, on_stage=lambda stage: on_stage(f"control: {stage}"))
        oracle = control
        if bench.view is not None:
            oracle, _ = run_reference(bench, warm, oracle=True, on_stage=lambda stage: on_stage(f"oracle: {stage}"))
        return References(control=control, oracle=oracle)

    key = reference_key(bench, warm)
    return remembered(cache_dir / "references", key, train, write=References.to_dict, read=References.from_dict)


def reference_key(bench: Workbench, warm: Warm | None, **extra: Any) -> str:
    """The name of a training without a localizer: everything it depends on, and nothing a localizer's stages use."""
    return bench.task.key(
        *("backbone", "trial_size", "view", "view_strength", "protocol", "epochs", "max_epochs"),
        *("batch_size", "lr", "seed", "split_seed"),
        device=bench.device.type,
        fingerprint=bench.dataset.fingerprint,
        warm=warm_key(bench) if warm is not None else None,
        autocast=bench.use_autocast,
        recipe=RECIPE_VERSION,
        **extra,
    )
