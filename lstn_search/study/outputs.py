"""The files a search leaves for its user: tables, picture, best architecture."""

import dataclasses
import json
from typing import Any

import pandas as pd

from lstn_search.errors import CheckpointError, RunError, why
from lstn_search.pictures.front_plot import draw_front, front_info
from lstn_search.runs.entries import Entry
from lstn_search.runs.run import Run
from lstn_search.shipping.export import write_export
from lstn_search.spec.results import TrialResult

__all__ = ["COLUMNS", "write_outputs"]

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
        "image_size": run.task.image_size,
        "front": [row | {"arch": entry.candidate.arch.to_dict()} for row, entry in zip(front_rows, front, strict=True)],
        "references": run.references.to_dict(),
    }
    run.folder.write_text("pareto.json", json.dumps(content, indent=2) + "\n")
    picture = run.folder.path / "pareto.png"
    try:
        draw_front(front_info(run), picture)
    except OSError as error:
        raise RunError(f"{picture} cannot be written {why(error, 'make room or access')}") from None
    if front:
        try:
            write_export(run, run.pick("best"), run.folder.path / "best", force=True)  # the run's, whatever lies there
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
