"""The files a search leaves for its user: tables, picture, best architecture."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pandas as pd

from lstn_search.errors import CheckpointError, RunError
from lstn_search.export.folder import write_model
from lstn_search.export.proof import Proof
from lstn_search.localizer import Localizer
from lstn_search.report.front_plot import draw_front, front_info
from lstn_search.results import TrialResult
from lstn_search.search.driver import Run
from lstn_search.search.study import Entry
from lstn_search.weights import load_weights

__all__ = ["COLUMNS", "load_localizer", "trial_row", "write_export", "write_outputs"]

COLUMNS = [
    *("trial", "name", "seed_point", "over_budget", "on_front", "gflops", "params", "macs", "gap_closed"),
    *(field.name for field in dataclasses.fields(TrialResult) if field.name != "history"),
    "digest",
]
"""Of trials.csv and pareto.csv."""

LOCALIZER_PREFIX = "transformer.localizer."
BACKBONE_PREFIX = "backbone."


def write_outputs(run: Run) -> None:
    """trials.csv, pareto.csv, pareto.json, pareto.png and best/, from whatever has been trained."""
    front = run.front
    rows = [trial_row(run, entry, on_front=entry in front) for entry in run.entries]
    front_rows = [trial_row(run, entry, on_front=True) for entry in front]
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
        write_export(run, run.pick("best"), run.folder.path / "best")


def trial_row(run: Run, entry: Entry, *, on_front: bool) -> dict[str, Any]:
    """One row of trials.csv: the candidate's cost and everything its trial measured, flat; see COLUMNS."""
    candidate = entry.candidate
    result = entry.result.to_dict()
    del result["history"]
    return {
        "trial": candidate.number,
        "name": candidate.name,
        "seed_point": candidate.is_seed,
        "over_budget": candidate.over_budget,
        "on_front": on_front,
        "gflops": candidate.gflops,
        "params": candidate.params,
        "macs": candidate.macs,
        "gap_closed": run.references.gap_closed(entry.result.val_top1),
        **result,
        "digest": candidate.arch.digest,
    }


def load_localizer(run: Run, entry: Entry) -> tuple[Localizer, dict[str, Any]]:
    """The trained localizer of an entry, on the CPU at its trial size, and the state of its classifier.

    Raises CheckpointError when the run keeps no weights of it, or the file is not what the run wrote.
    """
    candidate, path = entry.candidate, run.folder.path
    file = run.folder.weights_file(candidate.arch.digest)
    if not file.exists():
        raise CheckpointError(
            f"{path} keeps no weights of {candidate.name}, only those of its front and seed points; train it with: "
            f"eval --arch {path}:{candidate.number} --out DIR"
        )
    tensors = load_weights(file)
    localizer = Localizer(candidate.arch, run.folder.settings.task.trial_size)
    parts = {
        prefix: {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
        for prefix in (LOCALIZER_PREFIX, BACKBONE_PREFIX)
    }
    try:
        localizer.load_state_dict(parts[LOCALIZER_PREFIX])
    except RuntimeError:
        raise CheckpointError(f"{file} does not hold the weights of {candidate.name}; restore the file") from None
    return localizer.eval(), parts[BACKBONE_PREFIX]


def model_facts(run: Run, entry: Entry) -> dict[str, Any]:
    """What an exported file says about where its weights come from."""
    task = run.folder.settings.task
    closed = run.references.gap_closed(entry.result.val_top1)
    return {
        "dataset": task.dataset,
        "classifier": task.backbone,
        "view": f"{task.view}, strength {task.view_strength:g}",
        "validation accuracy": f"{entry.result.val_top1:.1f} % ({run.references.control.val_top1:.1f} % without it)",
        "gap to the oracle closed": "no gap" if closed is None else f"{closed:.0f} %",
        f"GFLOPs at {task.image_size} px": f"{entry.candidate.gflops:.6f}",
    }


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
