"""Commands about the paper: `paper tables`."""

import json
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from lstn_search.paper.tables import Cell, PaperTable, Summary

__all__ = ["register"]

WIDTH = 108
"""Columns when the output is no terminal; the tables need 100."""

LOCALIZERS = {"none": "–", "stn": "STN", "vstn": "V-STN", "lstn": "L-STN"}
COLUMNS = {"filter": "filter", "output": "output", "parameters": "parameters", "gflops": "GFLOPs"}
STYLES = {"exact": "green", "close": "yellow", "explained": "yellow", "open": "bold red"}


def register(app: typer.Typer) -> None:
    """Add the `paper` group to `app`."""
    group = typer.Typer(no_args_is_help=True, help="The paper's numbers, printed and computed.")
    app.add_typer(group, name="paper")

    @group.command()
    def tables(
        only: Annotated[int | None, typer.Option("--only", metavar="N", help="Table N alone: 1-5, 7 or 9.")] = None,
        as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
    ) -> None:
        """Print the cost tables of the paper beside the same numbers computed.

        Tables 1-3 (localizers, layer by layer), 4 (its cost columns), 5, 7 and 9. Tables 6 and 8 hold accuracies;
        docs/paper.md says why they are no target.
        """
        from rich.console import Console

        from lstn_search.paper.tables import TABLE_NUMBERS, compute_tables, summarise

        numbers = TABLE_NUMBERS if only is None else (only,)
        with Console(stderr=True).status("Counting the backbones"):
            computed = compute_tables(numbers)
        summary = summarise(computed)
        if as_json:
            data = {"tables": [table.to_dict() for table in computed], "summary": _summary_dict(summary)}
            print(json.dumps(data, indent=2, ensure_ascii=False))
            return
        console = Console(highlight=False)
        if not console.is_terminal:
            console = Console(highlight=False, width=WIDTH)
        for table in computed:
            _print_table(console, table)
        _print_summary(console, summary)


def _print_table(console: "Console", table: "PaperTable") -> None:
    from rich.padding import Padding
    from rich.text import Text

    marks = {note: str(number) for number, note in enumerate(table.notes, start=1)}
    console.print(Text.assemble((f"Table {table.number}  ", "bold"), table.title))
    console.print(_layer_grid(table, marks) if table.kind == "layers" else _model_grid(table, marks))
    if marks:
        console.print()
    for note, mark in marks.items():
        console.print(Padding(Text.assemble((f"[{mark}] ", "yellow"), (note, "dim")), (0, 0, 0, 2)))
    console.print()


def _layer_grid(table: "PaperTable", marks: dict[str, str]) -> "Table":
    grid = _grid(["layer"], ["filter", "output", "parameters"])
    for row in table.rows:
        if row.label == "Total":
            grid.add_section()
        by_column = {cell.column: cell for cell in row.cells}
        values = [text for name in ("filter", "output", "parameters") for text in _triple(by_column.get(name), marks)]
        grid.add_row(row.label, *values, style="bold" if row.label == "Total" else None)
    return grid


def _model_grid(table: "PaperTable", marks: dict[str, str]) -> "Table":
    has_localizers = any(row.localizer != "none" for row in table.rows)
    labels = ["model", "px", "STN"] if has_localizers else ["model", "px"]
    grid = _grid(labels, ["parameters", "gflops"])
    previous = None
    for row in table.rows:
        is_first = row.label != previous
        if is_first and previous is not None and has_localizers:
            grid.add_section()
        previous = row.label
        by_column = {cell.column: cell for cell in row.cells}
        name = row.label
        if "model" in by_column:
            cell = by_column["model"]
            name = f"{cell.printed} [yellow]→ {cell.computed.rpartition('-')[2]}{_mark(cell, marks)}[/]"
        values = [text for column in ("parameters", "gflops") for text in _triple(by_column[column], marks)]
        head = [name if is_first else "", str(row.image_size) if is_first else ""]
        grid.add_row(*head, *([LOCALIZERS[row.localizer]] if has_localizers else []), *values)
    return grid


def _grid(labels: list[str], columns: list[str]) -> "Table":
    """Labels on the left, then printed, computed and difference for each column; lines in the header only."""
    from rich import box
    from rich.table import Table

    grid = Table(box=box.SIMPLE_HEAD, show_edge=False, header_style="dim", pad_edge=False, padding=(0, 1, 0, 0))
    for label in labels:
        grid.add_column(f"\n{label}", justify="right" if label == "px" else "left", no_wrap=True)
    for column in columns:
        grid.add_column(f"{COLUMNS[column]}\nprinted", justify="right", no_wrap=True)
        grid.add_column("\ncomputed", justify="right", no_wrap=True)
        is_words = column in ("filter", "output")
        grid.add_column("" if is_words else "\ndiff", justify="left", no_wrap=True)
    return grid


def _triple(cell: "Cell | None", marks: dict[str, str]) -> tuple[str, str, str]:
    if cell is None:
        return "", "", ""
    style = STYLES[cell.status]
    difference = "="
    if cell.status != "exact":
        if cell.column == "gflops":
            difference = f"{cell.difference:+.4f} ({cell.percent:+.3f}%)"
        else:
            difference = f"{cell.difference:+,.0f}" if cell.difference else "≠"
        difference += _mark(cell, marks)
    texts = (cell.printed, cell.computed)
    printed, computed = (f"{int(text):,}" if text.isdigit() and len(text) > 4 else text for text in texts)
    return printed, f"[{style}]{computed}[/]", f"[{style}]{difference}[/]"


def _mark(cell: "Cell", marks: dict[str, str]) -> str:
    return f" \\[{marks[cell.note]}]" if cell.note else ""


def _print_summary(console: "Console", summary: "Summary") -> None:
    line = f"[bold]{summary.num_cells} cells[/]: [green]{summary.num_exact} exact[/] to the last printed digit"
    if summary.num_close:
        line += f", [yellow]{summary.num_close} within 0.5 %[/]"
    if summary.num_explained:
        line += f", [yellow]{summary.num_explained} explained[/]"
    if summary.num_open:
        line += f", [bold red]{summary.num_open} without explanation[/]"
    elif summary.num_exact < summary.num_cells:
        line += "; each that differs has its sentence under the table"
    console.print(line + ".")


def _summary_dict(summary: "Summary") -> dict[str, int]:
    import dataclasses

    return dataclasses.asdict(summary)
