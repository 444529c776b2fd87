"""The files a search leaves for its user: tables, picture, best architecture."""

import json
from pathlib import Path
from typing import Any

import pandas as pd

from lstn_search.export.folder import write_model
from lstn_search.export.proof import Proof
from lstn_search.localizer import Localizer
from lstn_search.report.front_plot import draw_front, front_info
from lstn_search.search.driver import Run
from lstn_search.search.study import Entry
from lstn_search.weights import load_weights

__all__ = ["load_localizer", "trial_row", "write_export", "write_outputs"]

LOCALIZER_PREFIX = "transformer.localizer."
BACKBONE_PREFIX = "backbone."


def write_outputs(run: Run) -> None:
    """trials.csv, pareto.csv, pareto.json, pareto.png and best/, from whatever has been trained."""
    rows = [trial_row(run, entry) for entry in run.entries]
    front = run.front
    front_rows = [trial_row(run, entry) for entry in front]
    run.folder.write_text("trials.csv", pd.DataFrame(rows).to_csv(index=False))
    run.folder.write_text(
        "pareto.csv", pd.DataFrame(front_rows, columns=list(rows[0]) if rows else None).to_csv(index=False)
    )
    content = {
        "budget_gflops": run.folder.settings.budget_gflops,
        "image_size": run.folder.settings.task.image_size,
        "front": [row | {"arch": entry.candidate.arch.to_dict()} for row, entry in zip(front_rows, front, strict=True)],
        "references": run.references.to_dict(),
    }
    run.folder.write_text("pareto.json", json.dumps(content, indent=2) + "\n")
    draw_front(front_info(run), run.folder.path / "pareto.png")
    if front:
        write_export(run, run.pick("best"), run.folder.path / "best")


def trial_row(run: Run, entry: Entry) -> dict[str, Any]:
    """One row of trials.csv: the candidate's cost and everything its trial measured, flat."""
    candidate = entry.candidate
    result = entry.result.to_dict()
    del result["history"]
    return {
        "trial": candidate.number,
        "name": candidate.name,
        "seed_point": candidate.is_seed,
        "over_budget": candidate.over_budget,
        "on_front": entry in run.front,
        "gflops": candidate.gflops,
        "params": candidate.params,
        "macs": candidate.macs,
        "gap_closed": run.references.gap_closed(entry.result.val_top1),
        **result,
        "digest": candidate.arch.digest,
    }


def load_localizer(run: Run, entry: Entry) -> tuple[Localizer, dict[str, Any]]:
    """The trained localizer of an entry, on the CPU at its trial size, and the state of its classifier."""
    tensors = load_weights(run.folder.weights_file(entry.candidate.arch.digest))
    localizer = Localizer(entry.candidate.arch, run.folder.settings.task.trial_size)
    parts = {
        prefix: {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
        for prefix in (LOCALIZER_PREFIX, BACKBONE_PREFIX)
    }
    localizer.load_state_dict(parts[LOCALIZER_PREFIX])
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
