"""The files a search leaves for its user: tables, picture, best architecture."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pandas as pd

from lstn_search.errors import CheckpointError, RunError
from lstn_search.jobs.work import load_trained
from lstn_search.nets.localizer import Localizer
from lstn_search.pictures.front_plot import draw_front, front_info
from lstn_search.runs.entries import Entry
from lstn_search.runs.folder import checkpoint_file
from lstn_search.runs.run import Run
from lstn_search.shipping.folder import write_model
from lstn_search.shipping.proof import Proof
from lstn_search.spec.results import TrialResult

__all__ = ["COLUMNS", "load_localizer", "write_export", "write_outputs"]

COLUMNS = [
    *("trial", "name", "rung", "seed_point", "over_budget", "on_front", "gflops", "params", "macs", "gap_closed"),
    *(field.name for field in dataclasses.fields(TrialResult) if field.name != "history"),
    "digest",
]
"""Of trials.csv (a row a trial and rung) and pareto.csv (a row an architecture, at its highest rung)."""


def write_outputs(run: Run) -> None:
    """trials.csv, pareto.csv, pareto.json, pareto.png and best/, from whatever has been trained."""
    front = run.front
    rows = [
        _row(run, entry, rung, result, on_front=entry in front)
        for entry in run.entries
        for rung, result in enumerate(entry.results)
    ]
    front_rows = [_row(run, entry, entry.rung, entry.result, on_front=True) for entry in front]
    for name, table in (("trials.csv", rows), ("pareto.csv", front_rows)):
        run.folder.write_text(name, pd.DataFrame(table, columns=COLUMNS).to_csv(index=False))
    content = {
        "budget_gflops": run.folder.settings.budget_gflops,
        "image_size": run.folder.settings.task.image_size,
        "front": [row | {"arch": entry.candidate.arch.to_dict()} for row, entry in zip(front_rows, front, strict=True)],
        "references": run.references.to_dict(),
    }
    run.folder.write_text("pareto.json", json.dumps(content, indent=2) + "\n")
    picture = run.folder.path / "pareto.png"
    try:
        draw_front(front_info(run), picture)
    except OSError as error:
        raise RunError(f"{picture} cannot be written ({error.strerror}); make room or access") from None
    if front:
        try:
            write_export(run, run.pick("best"), run.folder.path / "best")
        except CheckpointError as error:  # all the rest is there
            run.notes.append(f"best/ was not written: {error}")


def _row(run: Run, entry: Entry, rung: int, result: TrialResult, *, on_front: bool) -> dict[str, Any]:
    """The candidate's cost and everything one rung measured, flat; see COLUMNS."""
    candidate = entry.candidate
    measured = result.to_dict()
    del measured["history"]
    return {
        "trial": candidate.number,
        "name": candidate.name,
        "rung": rung,
        "seed_point": candidate.is_seed,
        "over_budget": candidate.over_budget,
        "on_front": on_front,
        "gflops": candidate.gflops,
        "params": candidate.params,
        "macs": candidate.macs,
        "gap_closed": run.references.gap_closed(result, rung),
        **measured,
        "digest": candidate.arch.digest,
    }


def load_localizer(run: Run, entry: Entry) -> tuple[Localizer, dict[str, Any]]:
    """The trained localizer of an entry, on the CPU at its trial size, and the weights of its classifier.

    Raises CheckpointError when the run keeps no weights of it, or the file is not what the run wrote.
    """
    candidate, path = entry.candidate, run.folder.path
    file = checkpoint_file(run.folder.checkpoints_in, candidate.arch, max(entry.rung, 0))
    if not file.exists() or (entry.rung == 0 and entry.result.val_top1 is None):
        raise CheckpointError(
            f"{path} holds no jointly trained weights of {candidate.name}; train it with: "
            f"eval --arch {path}:{candidate.number} --out DIR"
        )
    return load_trained(file, candidate.arch, run.folder.settings.task.trial_size)


def model_facts(run: Run, entry: Entry) -> dict[str, Any]:
    """What an exported file says about where its weights come from."""
    task, result = run.folder.settings.task, entry.result
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
    return facts | {f"GFLOPs at {task.image_size} px": f"{entry.candidate.gflops:.6f}"}


def write_export(run: Run, entry: Entry, out: Path) -> Proof:
    """One entry as code that needs only torch, with its trained weights; proved in a process without this package."""
    localizer, classifier = load_localizer(run, entry)
    dataset = run.folder.manifest["data"]
    return write_model(
        out,
        localizer,
        title=f"{entry.candidate.name}: a localization net found by lstn-search",
        facts=model_facts(run, entry),
        mean=dataset["mean"],
        std=dataset["std"],
        classifier=classifier,
    )
