"""Every trained architecture as one compact row, for the table that a reader sorts and filters."""

import math
from typing import TYPE_CHECKING, Any

from lstn_search.pages.facts.theta import reason_of_death
from lstn_search.pictures.architecture_plot import summary
from lstn_search.spec.cost import gflops_as_trained

if TYPE_CHECKING:
    from lstn_search.runs.run import Run

__all__ = ["COLUMNS", "trial_rows"]

COLUMNS: tuple[tuple[str, int | None, str], ...] = (
    ("name", None, "the seed point's name, or t and the number of the trial"),
    ("role", None, "seed point, front or searched"),
    ("theta", None, "alive, inert, collapsed, frame reader or failed"),
    ("GFLOPs", 5, "at the deployment size"),
    ("as trained", 5, "GFLOPs at the size of the trials, where that is another network"),
    ("params", 0, "of the localization net"),
    ("rung", 0, "the highest one measured"),
    ("epochs", 0, "joint epochs"),
    ("top-1 %", 1, "validation, under the view, at that rung"),
    ("gap %", 0, "share of the control-to-oracle gap closed at that rung"),
    ("upright %", 1, "validation top-1 on upright images"),
    ("frozen %", 1, "validation top-1 after recover, through the frozen classifier"),
    ("corner px", 1, "mean corner error after recover, at the deployment size"),
    ("spread", 3, "of theta over images"),
    ("outside %", 1, "sampling points outside the image"),
    ("scale", 2, "above 1 it zooms out"),
    ("det", 2, "mean determinant; negative: mirrored"),
    ("seconds", 0, "of training, all rungs"),
    ("layers", None, "the look, if any; kernel/stride-width, dw depthwise, p2 max-pool; then the head"),
    ("note", None, "over budget; why it is dead or failed"),
)
"""(heading, digits after the point or None for words, meaning)."""


def trial_rows(run: "Run") -> list[list[Any]]:
    """A row an architecture, in the order of `COLUMNS`, numbers rounded to what is shown; None where there is none."""
    on_front = {entry.candidate.number for entry in run.front}
    sizes = {"image_size": run.task.image_size, "trial_size": run.task.trial_size}
    rows = []
    for entry in run.entries:
        candidate, result = entry.candidate, entry.result
        notes = ["over budget"] if candidate.over_budget else []
        if entry.status != "ok":
            notes.append(reason_of_death(entry.results[-1]))
        cells = (
            candidate.name,
            "front" if candidate.number in on_front else "seed point" if candidate.is_seed else "searched",
            "alive" if entry.status == "ok" else entry.status,
            candidate.gflops,
            gflops_as_trained(candidate.arch, **sizes),
            candidate.params,
            entry.rung if entry.rung >= 0 else None,
            result.epochs or 0,
            result.accuracy,
            run.gap_closed(entry),
            result.val_clean_top1,
            result.frozen_top1,
            result.corner_error_px,
            result.spread,
            None if result.out_of_frame is None else 100 * result.out_of_frame,
            result.scale,
            result.determinant,
            entry.seconds,
            summary(candidate.arch),
            "; ".join(notes),
        )
        rows.append([_short(cell, digits) for cell, (_, digits, _) in zip(cells, COLUMNS, strict=True)])
    return rows


def _short(cell: Any, digits: int | None) -> Any:
    if digits is None or cell is None:
        return cell
    return None if not math.isfinite(cell) else round(cell, digits) if digits else round(cell)
