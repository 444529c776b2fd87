"""What was trained, as an exported folder: an entry of a run, or what `eval` trained."""

import json
from pathlib import Path
from typing import Any

from lstn_search.nets.localizer import Localizer
from lstn_search.nets.transformer import TransformedClassifier
from lstn_search.runs.checkpoints import load_localizer
from lstn_search.runs.entries import Entry
from lstn_search.runs.run import Run
from lstn_search.shipping.folder import write_model
from lstn_search.shipping.place import put_files
from lstn_search.shipping.proof import Proof
from lstn_search.training.evaluation import EvalReport
from lstn_search.training.workbench import Workbench

__all__ = ["write_evaluation", "write_export"]


def write_export(run: Run, entry: Entry, out: Path, *, force: bool = False) -> Proof:
    """One entry as code that needs only torch, with its trained weights; proved in a process without this package.

    With `force`, in the place of others' files of the same names, too. Raises as `write_model` does.
    """
    localizer, classifier = load_localizer(run, entry)
    return write_model(
        out,
        localizer,
        title=f"{entry.candidate.name}: a localization net found by lstn-search",
        facts=model_facts(run, entry),
        mean=run.folder.image_fact("mean"),
        std=run.folder.image_fact("std"),
        classifier=classifier,
        class_names=run.folder.manifest["data"].get("class_names", ()),
        force=force,
    )


def model_facts(run: Run, entry: Entry) -> dict[str, Any]:
    """What an exported file says about where its weights come from."""
    task, result = run.task, entry.result
    closed = run.gap_closed(entry)
    facts: dict[str, Any] = {
        "dataset": task.dataset,
        "classifier": task.backbone,
        "view": f"{task.view}, strength {task.view_strength:g}",
        "joint epochs": result.epochs,
        "validation accuracy": f"{result.val_top1:.1f} %",
    }
    if entry.rung < len(run.references.control):
        facts["without a transformer"] = f"{run.references.control[entry.rung].accuracy:.1f} %"
    if closed is not None:
        facts["gap to the oracle closed"] = f"{closed:.0f} %"
    built = "at" if entry.candidate.arch.is_same_at(task.image_size, task.trial_size) else "if built for"
    return facts | {f"GFLOPs {built} {task.image_size} px": f"{entry.candidate.gflops:.6f}"}


def write_evaluation(
    out: Path, report: EvalReport, model: TransformedClassifier | None, bench: Workbench, *, force: bool = False
) -> None:
    """Write report.json into `out`, and the trained localization net as code that needs only torch.

    Raises RunError when `out` cannot be written, or without `force` when it holds others' files.
    """
    report_file = {"report.json": (json.dumps(report.to_dict(), indent=2) + "\n").encode()}
    if model is None or model.transformer is None or report.arch is None:
        put_files(out, report_file, force=force)
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
        class_names=bench.dataset.class_names,
        more=report_file,
        force=force,
    )
