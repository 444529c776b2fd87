"""The files a verification leaves in the run folder: verify.json (everything) and verify.csv (a row a finalist)."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pandas as pd

from lstn_search.runs.folder import save
from lstn_search.verification.result import VERIFICATION_FILE, Difference, Finalist, Verification

__all__ = ["COLUMNS", "TABLE_FILE", "write_outputs"]

TABLE_FILE = "verify.csv"
DIFFERENCES = ("versus_control", "versus_lstn")
COLUMNS = [
    *("name", "pick"),
    *(field.name for field in dataclasses.fields(Finalist) if field.name not in ("name", "seeds", *DIFFERENCES)),
    *(f"{name}_{field.name}" for name in DIFFERENCES for field in dataclasses.fields(Difference)),
]
"""Of verify.csv: control, the finalists (cheapest first), oracle."""


def write_outputs(run_folder: Path, verification: Verification) -> None:
    """Write both, each whole or not at all. Raises RunError when they cannot be written."""
    rows = [_row(row, is_pick=row.name == verification.pick) for row in verification.rows]
    table = pd.DataFrame(rows, columns=COLUMNS).to_csv(index=False)
    files = {VERIFICATION_FILE: json.dumps(verification.to_dict(), indent=2) + "\n", TABLE_FILE: table}
    for name, text in files.items():
        save(run_folder / name, text)


def _row(finalist: Finalist, *, is_pick: bool) -> dict[str, Any]:
    row = dataclasses.asdict(finalist) | {"pick": is_pick, "verdicts": "; ".join(finalist.verdicts)}
    for name in DIFFERENCES:
        row |= {f"{name}_{key}": value for key, value in (row[name] or {}).items()}
    return row
