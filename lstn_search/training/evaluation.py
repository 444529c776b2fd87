"""The full schedule for one architecture, and its test accuracy beside that of control and oracle."""

import dataclasses
import functools
from pathlib import Path
from typing import Any

from lstn_search.nets.transformer import TransformedClassifier
from lstn_search.spec.arch import Arch
from lstn_search.spec.cost import cost
from lstn_search.spec.reading import read_as
from lstn_search.spec.results import TrialResult
from lstn_search.spec.task import Task
from lstn_search.training.memo import remembered
from lstn_search.training.prepared import OnStage, Prepared
from lstn_search.training.references import better, fair_epochs, reference_key
from lstn_search.training.trial import start_trial
from lstn_search.training.workbench import Scores, Workbench

__all__ = ["EvalReport", "Evaluation", "evaluate", "evaluate_arch", "evaluate_reference"]


@dataclasses.dataclass(kw_only=True, frozen=True, slots=True)
class Evaluation:
    """One training at the full schedule; the test images are looked at once, at its end."""

    name: str
    params: int | None
    """Of the localization net at the deployment size; None for control and oracle. Like the next."""
    gflops: float | None
    result: TrialResult
    test: Scores | None
    """Under the view (None when training failed), like validation in `result`."""
    test_clean: Scores | None
    """Upright."""

    def to_dict(self) -> dict[str, Any]:
        """Everything, as JSON types."""
        return dataclasses.asdict(self)


@dataclasses.dataclass(kw_only=True, frozen=True, slots=True)
class EvalReport:
    """What `eval` prints: the architecture (None for `--arch none`) between control and oracle."""

    task: Task
    control: Evaluation
    oracle: Evaluation | None
    """None without a view: there is no warp to undo."""
    arch: Evaluation | None
    data: dict[str, Any] = dataclasses.field(default_factory=dict)
    """What a run's manifest says about its data, too: classes, parts, fingerprints."""

    def to_dict(self) -> dict[str, Any]:
        """Everything, as JSON types."""
        rows = {name: row and row.to_dict() for name, row in
                (("arch", self.arch), ("control", self.control), ("oracle", self.oracle))}  # fmt: skip
        return {"task": self.task.to_dict(), "data": self.data, **rows}


def evaluate(
    prepared: Prepared, arch: Arch | None, *, name: str, cache_dir: Path, on_stage: OnStage
) -> tuple[EvalReport, TransformedClassifier | None]:
    """Train `arch` (None: only the references) at the task's schedule; control and oracle come from the cache if there.

    Returns the report and the trained model, None when there is none.
    """
    task, data = prepared.bench.task, prepared.bench.dataset.facts
    control = evaluate_reference(prepared, cache_dir, oracle=False, on_stage=_named("control", on_stage))
    oracle = None
    if task.has_oracle:
        oracle = evaluate_reference(prepared, cache_dir, oracle=True, on_stage=_named("oracle", on_stage))
    if arch is None:
        return EvalReport(task=task, control=control, oracle=oracle, arch=None, data=data), None
    row, model = evaluate_arch(prepared, arch, name=name, on_stage=_named(name, on_stage))
    return EvalReport(task=task, control=control, oracle=oracle, arch=row, data=data), model


def evaluate_arch(
    prepared: Prepared, arch: Arch, *, name: str, on_stage: OnStage
) -> tuple[Evaluation, TransformedClassifier | None]:
    """Train `arch` at the task's schedule and test it once; the model is None when training failed."""
    trial = start_trial(prepared, arch, on_stage=on_stage)
    result = trial.run()
    model = None if result.status == "failed" else trial.model
    facts = cost(arch, prepared.bench.task.image_size)
    test, test_clean = (None, None) if model is None else _test(prepared.bench, model, undo=False)
    row = Evaluation(
        name=name, params=facts.params, gflops=facts.gflops, result=result, test=test, test_clean=test_clean
    )
    return row, model


def evaluate_reference(prepared: Prepared, cache_dir: Path, *, oracle: bool, on_stage: OnStage) -> Evaluation:
    """Train the control or the oracle at the task's schedule and test it once; from the cache if it is there."""
    name = "oracle" if oracle else "control"

    def train() -> Evaluation:
        trial = start_trial(prepared, None, oracle=oracle, on_stage=on_stage)
        result = trial.run()
        test, test_clean = _test(prepared.bench, trial.model, undo=oracle)
        if not oracle and prepared.warm is not None:
            longer = trial.train_to(fair_epochs(prepared.bench, prepared.bench.task.epochs))
            best = better(result, longer)
            if best.epochs == longer.epochs:
                test, test_clean = _test(prepared.bench, trial.model, undo=False)
            result = best.with_recover_of(result)
        return Evaluation(name=name, params=None, gflops=None, result=result, test=test, test_clean=test_clean)

    key = reference_key(prepared.bench, prepared.warm, evaluation=name)
    return remembered(
        cache_dir / "evaluations", key, train, write=Evaluation.to_dict, read=functools.partial(read_as, Evaluation)
    )


def _named(name: str, on_stage: OnStage) -> OnStage:
    return lambda stage: on_stage(f"{name}: {stage}")


def _test(bench: Workbench, model: TransformedClassifier, *, undo: bool) -> tuple[Scores, Scores]:
    test, _ = bench.evaluate(model, bench.dataset.test_I, view=bench.view, undo=undo)
    if bench.view is None:
        return test, test
    return test, bench.evaluate(model, bench.dataset.test_I, view=None)[0]
