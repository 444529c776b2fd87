"""Tables for the terminal: the front, and the references it is quoted against."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rich import box
from rich.table import Table

from lstn_search.spec.cost import gflops_as_trained
from lstn_search.spec.objectives import front_name

if TYPE_CHECKING:
    from lstn_search.runs.entries import Entry
    from lstn_search.runs.run import Run
    from lstn_search.spec.ladder import Ladder
    from lstn_search.spec.results import TrialResult
    from lstn_search.spec.task import Task

__all__ = ["front_facts", "front_table", "number", "plain_table", "short_front", "trained_words", "why_inert"]

WIDTH = 80
"""Columns of a whole table."""


def number(value: float | None, digits: int = 1) -> str:
    """A number with fixed digits, or a dash."""
    return "–" if value is None else f"{value:.{digits}f}"


def why_inert(task: "Task") -> str | None:
    """What an inert localizer means where nobody said what there is to undo, and the cures; None elsewhere."""
    if task.has_oracle:
        return None
    return (
        "inert: theta is the same for every image, as nothing says what there is to undo; train under a view "
        "(--view affine), or say where the objects are (--poses)"
    )


def plain_table(title: str, caption: str, **layout: Any) -> Table:
    """A table with a title above and a caption below, and one rule under its headings."""
    return Table(
        title=title,
        caption=caption,
        box=box.SIMPLE_HEAD,
        title_justify="left",
        caption_justify="left",
        title_style="bold",
        caption_style="dim",
        header_style="",
        show_edge=False,
        pad_edge=False,
        **layout,
    )


def front_table(run: "Run", *, width: int = WIDTH) -> Table:
    """The front, cheapest first, the best in bold; below it the seed points that are not on it, and the references.

    80 columns are enough for it; in fewer, down to 60, it says less.
    """
    task, front, best = run.task, run.front, run.best
    others = [entry for entry in run.entries if entry.candidate.is_seed and entry.results and entry not in front]
    others = sorted(others, key=lambda entry: entry.candidate.gflops)
    as_trained = width >= WIDTH and not all(
        e.candidate.arch.is_same_at(task.image_size, task.trial_size) for e in (*front, *others)
    )
    caption = "control: no transformer, as many epochs or steps; oracle: warp undone exactly; gap: between them"
    caption += f"\nas trained: GFLOPs at {task.trial_size} px, where that is another network" * as_trained
    title = f"Pareto {front_name(run.folder.settings.objectives)} at {task.image_size} px"
    table = plain_table(title, caption, collapse_padding=True, padding=(0, 0 if as_trained else 1))
    table.add_column("name", no_wrap=True)
    view = "top-1 %" if task.view == "none" else f"top-1 %\n{task.view}"
    costs = ("GFLOPs", *("as\ntrained",) * as_trained, "params")
    headings = ("name", *costs, "epochs", view, "gap %\nclosed", "top-1 %\nupright", "corner\npx", "theta")
    left_out = () if width >= WIDTH else ("params", "top-1 %\nupright", "corner\npx")
    kept = [i for i, heading in enumerate(headings) if heading not in left_out]
    for i in kept[1:-1]:
        table.add_column(headings[i], justify="right", no_wrap=True)
    table.add_column("theta")

    def add(cells: Sequence[str], style: str = "") -> None:
        table.add_row(*(cells[i] for i in kept), style=style)

    for entry in front:
        add(_cells(run, entry, as_trained), "bold" if entry is best else "")
    table.add_section()
    for entry in others:
        add(_cells(run, entry, as_trained), "dim")
    table.add_section()
    for name, results in (("control", run.references.control), ("oracle", run.references.oracle)):
        for rung, result in enumerate(results):
            if result.val_top1 is not None and rung in {entry.rung for entry in run.entries}:
                closed = number(run.references.gap_closed(result, rung), 0)
                cells = (f"{result.epochs}", number(result.val_top1), closed, number(result.val_clean_top1))
                add([name, *("" for _ in costs), *cells, "", ""])
    return table


def short_front(run: "Run") -> Table:
    """The front in 60 columns, for the view of a search under way."""
    table = plain_table(f"Pareto {front_name(run.folder.settings.objectives)}", "", padding=(0, 1))
    table.add_column("name", no_wrap=True)
    for heading in ("GFLOPs", "trained", "top-1 %", "gap %"):
        table.add_column(heading, justify="right", no_wrap=True)
    best = run.best
    for entry in run.front:
        trained = trained_words(run.folder.settings.ladder, entry.rung, entry.result)
        cells = (f"{entry.candidate.gflops:.5f}", trained, number(entry.accuracy), number(run.gap_closed(entry), 0))
        table.add_row(entry.candidate.name, *cells, style="bold" if entry is best else "")
    return table


def trained_words(ladder: "Ladder", rung: int, result: "TrialResult") -> str:
    """How far a rung trains: `25% rec`, `recover`, `6 ep`; before `ep` the accuracy is of the frozen classifier."""
    if result.val_top1 is not None or rung > ladder.recovered:
        return f"{result.epochs or ladder.joint_epochs(rung)} ep"
    return f"{ladder.recover[rung]}% rec" if rung < ladder.recovered else "recover"


def front_facts(run: "Run") -> dict[str, Any]:
    """What `front_table` shows, as JSON types; the fields are in the README."""
    on_front = run.front

    def facts(entry: "Entry") -> dict[str, Any]:
        candidate, result = entry.candidate, entry.result
        return {
            "name": candidate.name,
            "digest": candidate.arch.digest,
            "gflops": candidate.gflops,
            "params": candidate.params,
            "macs": candidate.macs,
            "over_budget": candidate.over_budget,
            "epochs": result.epochs or 0,
            "top1": result.accuracy,
            "gap_closed": run.gap_closed(entry),
            "top1_upright": result.val_clean_top1,
            "corner_error_px": result.corner_error_px,
            "status": entry.status,
        }

    references = {"control": run.references.control, "oracle": run.references.oracle}
    return {
        "run": str(run.folder.path),
        "best": run.best and run.best.candidate.name,
        "front": [facts(entry) for entry in on_front],
        "seed_points": [
            facts(entry) for entry in run.entries if entry.candidate.is_seed and entry.results and entry not in on_front
        ],
        **{
            name: [
                {"epochs": row.epochs or 0, "top1": row.accuracy, "top1_upright": row.val_clean_top1} for row in rows
            ]
            for name, rows in references.items()
        },
        "counts": run.folder.manifest.get("counts", {}),
    }


def _cells(run: "Run", entry: "Entry", as_trained: bool) -> list[str]:
    candidate, result = entry.candidate, entry.result
    notes = ["alive" if entry.status == "ok" else entry.status] + ["over budget"] * candidate.over_budget
    trained = gflops_as_trained(candidate.arch, image_size=run.task.image_size, trial_size=run.task.trial_size)
    return [
        candidate.name,
        f"{candidate.gflops:.5f}",
        *["same" if trained is None else f"{trained:.5f}"] * as_trained,
        f"{candidate.params:,}",
        str(result.epochs or 0),
        number(entry.result.accuracy),
        number(run.gap_closed(entry), 0),
        number(result.val_clean_top1),
        number(result.corner_error_px),
        ", ".join(notes),
    ]
