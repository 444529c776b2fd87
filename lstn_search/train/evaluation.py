"""The full schedule for one architecture, and its test accuracy beside that of control and oracle."""

import dataclasses
import json
from pathlib import Path
from typing import Any

from lstn_search.atomic import write_atomically
from lstn_search.errors import RunError
from lstn_search.nets.localizer import Localizer
from lstn_search.nets.transformer import TransformedClassifier
from lstn_search.shipping.folder import write_model
from lstn_search.spec.arch import Arch
from lstn_search.spec.cost import cost
from lstn_search.spec.results import TrialResult
from lstn_search.spec.task import Task
from lstn_search.train.memo import remembered
from lstn_search.train.references import reference_key
from lstn_search.train.trial import OnStage, run_reference, run_trial
from lstn_search.train.warm import Warm
from lstn_search.train.workbench import Scores, Workbench

__all__ = ["Evaluation", "Report", "evaluate", "evaluate_arch", "evaluate_reference", "write_evaluation"]


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

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "Evaluation":
        """Read what `to_dict` wrote."""
        scores = {name: data[name] and Scores(**data[name]) for name in ("test", "test_clean")}
        return cls(**{**data, "result": TrialResult.from_dict(data["result"]), **scores})


@dataclasses.dataclass(kw_only=True, frozen=True, slots=True)
class Report:
    """What `eval` prints: the architecture (None for `--arch none`) between control and oracle."""

    task: Task
    control: Evaluation
    oracle: Evaluation | None
    """None without a view: there is no warp to undo."""
    arch: Evaluation | None

    def to_dict(self) -> dict[str, Any]:
        """Everything, as JSON types."""
        rows = {name: row and row.to_dict() for name, row in
                (("arch", self.arch), ("control", self.control), ("oracle", self.oracle))}  # fmt: skip
        return {"task": self.task.to_dict(), **rows}


def evaluate(
    bench: Workbench,
    warm: Warm | None,
    arch: Arch | None,
    *,
    name: str,
    cache_dir: Path,
    on_stage: OnStage,
) -> tuple[Report, TransformedClassifier | None]:
    """Train `arch` (None: only the references) at the task's schedule; control and oracle come from the cache if there.

    Returns the report and the trained model, None when there is none.
    """
    control = evaluate_reference(bench, warm, cache_dir, oracle=False, on_stage=_named("control", on_stage))
    oracle = None
    if bench.view is not None:
        oracle = evaluate_reference(bench, warm, cache_dir, oracle=True, on_stage=_named("oracle", on_stage))
    if arch is None:
        return Report(task=bench.task, control=control, oracle=oracle, arch=None), None
    row, model = evaluate_arch(bench, warm, arch, name=name, on_stage=_named(name, on_stage))
    return Report(task=bench.task, control=control, oracle=oracle, arch=row), model


def evaluate_arch(
    bench: Workbench, warm: Warm | None, arch: Arch, *, name: str, on_stage: OnStage
) -> tuple[Evaluation, TransformedClassifier | None]:
    """Train `arch` at the task's schedule and test it once; the model is None when training failed."""
    result, model = run_trial(bench, arch, warm, on_stage=on_stage)
    facts = cost(arch, bench.task.image_size)
    test, test_clean = (None, None) if model is None else _test(bench, model, undo=False)
    row = Evaluation(
        name=name, params=facts.params, gflops=facts.gflops, result=result, test=test, test_clean=test_clean
    )
    return row, model


def evaluate_reference(
    bench: Workbench, warm: Warm | None, cache_dir: Path, *, oracle: bool, on_stage: OnStage
) -> Evaluation:
    """Train the control or the oracle at the task's schedule and test it once; from the cache if it is there."""
    name = "oracle" if oracle else "control"

    def train() -> Evaluation:
        result, model = run_reference(bench, warm, oracle=oracle, on_stage=on_stage)
        test, test_clean = _test(bench, model, undo=oracle)
        return Evaluation(name=name, params=None, gflops=None, result=result, test=test, test_clean=test_clean)

    key = reference_key(bench, warm, evaluation=name)
    return remembered(cache_dir / "evaluations", key, train, write=Evaluation.to_dict, read=Evaluation.from_dict)


def _named(name: str, on_stage: OnStage) -> OnStage:
    return lambda stage: on_stage(f"{name}: {stage}")


def _test(bench: Workbench, model: TransformedClassifier, *, undo: bool) -> tuple[Scores, Scores]:
    test, _ = bench.evaluate(model, bench.dataset.test_I, view=bench.view, undo=undo)
    if bench.view is None:
        return test, test
    return test, bench.evaluate(model, bench.dataset.test_I, view=None)[0]


def write_evaluation(out: Path, report: Report, model: TransformedClassifier | None, bench: Workbench) -> None:
    """Write report.json into `out`, and the trained localization net as code that needs only torch.

    Raises RunError when `out` cannot be written.
    """
    try:
        write_atomically(out / "report.json", (json.dumps(report.to_dict(), indent=2) + "\n").encode())
    except OSError as error:
        raise RunError(f"{out}: cannot be written ({error.strerror}); choose another folder") from None
    if model is None or model.transformer is None or report.arch is None:
        return
    assert isinstance(model.transformer.localizer, Localizer)
    write_model(
        out,
        model.transformer.localizer,
        title=f"{report.arch.name}, trained by lstn-search",
        facts={"dataset": report.task.dataset, "classifier": report.task.backbone, "seed": report.task.seed},
        mean=bench.dataset.mean,
        std=bench.dataset.std,
        classifier=model.backbone.state_dict(),
    )
