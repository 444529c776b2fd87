"""A verification as a table for the terminal."""

from rich.table import Table

from lstn_search.verification.result import Finalist, Verification
from lstn_search.watch.tables import number, plain_table

__all__ = ["verification_table"]


def verification_table(verification: Verification) -> Table:
    """Control, finalists (cheapest first, the pick in bold) and oracle, with 95 % intervals; 80 columns are enough."""
    num = len(verification.complete_seeds)
    table = plain_table(
        f"Verified with {num} fresh seed{'s' * (num != 1)}: mean ± 95 % interval, top-1 %",
        "search: validation in it; gap: closed on test; to …: paired, on test",
        padding=0,
    )
    table.add_column("name", no_wrap=True)
    for heading in ("GFLOPs", "search", "val", "test", "gap %", "to no STN", "to L-STN"):
        table.add_column(heading, justify="right", no_wrap=True)
    some_dead = any(_theta(row) != "alive" for row in verification.finalists)
    if some_dead:
        table.add_column("theta")
    for row in verification.rows:
        style = "dim" if row.number is None else "bold" if row.name == verification.pick else ""
        table.add_row(*_cells(row), *[_theta(row)] * some_dead, style=style)
    return table


def _cells(row: Finalist) -> list[str]:
    cells = [
        row.name,
        "" if row.gflops is None else f"{row.gflops:.5f}",
        "" if row.number is None else number(row.searched_top1),
        _plus_minus(row.mean_val, row.high_val),
        _plus_minus(row.mean_test, row.high_test),
        _plus_minus(row.gap_closed, row.high_gap, digits=0),
    ]
    if row.number is None:
        return [*cells[:5], "", "", ""]
    differences = [
        "–" if pair is None else _plus_minus(pair.mean, pair.high, sign="+")
        for pair in (row.versus_control, row.versus_lstn)
    ]
    return [*cells, *differences]


def _plus_minus(mean: float | None, high: float | None, *, digits: int = 1, sign: str = "") -> str:
    if mean is None:
        return "–"
    return f"{mean:{sign}.{digits}f}" + ("" if high is None else f" ±{high - mean:.{digits}f}")


def _theta(row: Finalist) -> str:
    """How it fared with the complete seeds: `alive`, or every way in which it died."""
    statuses = {seed.status for seed in row.seeds if seed.counted} - {"ok"}
    return ", ".join(sorted(statuses)) or ("" if row.number is None else "alive")
