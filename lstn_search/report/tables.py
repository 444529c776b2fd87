"""Tables for the terminal: the front, and the references it is quoted against."""

from typing import TYPE_CHECKING

from rich.table import Table

if TYPE_CHECKING:
    from lstn_search.search.driver import Run
    from lstn_search.search.study import Entry

__all__ = ["front_table", "number"]


def number(value: float | None, digits: int = 1, unit: str = "") -> str:
    """A number with fixed digits, or a dash."""
    return "–" if value is None else f"{value:.{digits}f}{unit}"


def front_table(run: "Run", *, with_seeds: bool = True) -> Table:
    """The front, cheapest first; below it the seed points that are not on it, then control and oracle."""
    task = run.folder.settings.task
    view = "upright" if task.view == "none" else f"{task.view} view"
    table = Table(
        title=f"Pareto front at {task.image_size} px", title_justify="left", header_style="bold", pad_edge=False
    )
    table.add_column("name", no_wrap=True)
    for heading in (
        "GFLOPs",
        "params",
        f"top-1 %\n{view}",
        "of the gap\nclosed %",
        "top-1 %\nupright",
        "corner\nerror px",
    ):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("theta", no_wrap=True)
    front = run.front
    for entry in front:
        table.add_row(*_cells(run, entry), style="bold" if entry is front[-1] else "")
    if with_seeds:
        others = [entry for entry in run.entries if entry.candidate.is_seed and entry not in front]
        if others:
            table.add_section()
        for entry in sorted(others, key=lambda entry: entry.candidate.gflops):
            table.add_row(*_cells(run, entry), style="dim")
    table.add_section()
    for name, result in (
        ("control: no transformer", run.references.control),
        ("oracle: warp undone", run.references.oracle),
    ):
        closed = run.references.gap_closed(result.val_top1)
        table.add_row(
            name, "–", "–", number(result.val_top1), number(closed, 0), number(result.val_clean_top1), "–", ""
        )
    return table


def _cells(run: "Run", entry: "Entry") -> list[str]:
    candidate, result = entry.candidate, entry.result
    notes = []
    if candidate.over_budget:
        notes.append("over budget")
    notes.append("alive" if result.status == "ok" else result.status)
    return [
        candidate.name,
        f"{candidate.gflops:.5f}",
        f"{candidate.params:,}",
        number(result.val_top1),
        number(run.references.gap_closed(result.val_top1), 0),
        number(result.val_clean_top1),
        number(result.corner_error_px),
        ", ".join(notes),
    ]
