"""What the benchmarks over several seeds share: a JSON line a measurement, paired differences, and the options."""

import argparse
import json
import os
import platform
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy import stats

Row = dict[str, Any]


def seeds_parser(description: str, *, out: str, seeds: int) -> argparse.ArgumentParser:
    """The options that all of them have; `description` is a module's docstring."""
    parser = argparse.ArgumentParser(description=description.splitlines()[0])
    parser.add_argument("--dataset", default="caltech101")
    parser.add_argument("--data-dir", default=os.environ.get("LSTN_DATA_DIR"))
    parser.add_argument("--backbone", default="test_resnet")
    parser.add_argument("--seeds", type=int, default=seeds)
    parser.add_argument("--out", type=Path, default=Path(out))
    return parser


def read_rows(file: Path, settings: Mapping[str, Any]) -> list[Row]:
    """The measurements of the file that were taken with these settings."""
    if not file.exists():
        return []
    rows: list[Row] = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines() if line]
    return [row for row in rows if row["settings"] == dict(settings)]


def append_row(file: Path, row: Row) -> None:
    """One more line, and the same line for whoever watches."""
    line = json.dumps(row)
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("a", encoding="utf-8") as lines:
        lines.write(line + "\n")
    print(line, flush=True)


def of(rows: Iterable[Row], name: str, column: str) -> list[float]:
    """A column of one network, in the order of the seeds; without the trainings that failed."""
    chosen = sorted((row for row in rows if row["name"] == name), key=lambda row: row["seed"])
    return [row[column] for row in chosen if row[column] is not None]


def paired(rows: Sequence[Row], name: str, base: str, column: str) -> str:
    """`name` minus `base` over the seeds both have: mean and 95 % Student-t interval, as text."""
    by_seed = {
        n: {r["seed"]: r[column] for r in rows if r["name"] == n and r[column] is not None} for n in (name, base)
    }
    seeds = sorted(by_seed[name].keys() & by_seed[base].keys())
    if len(seeds) < 2:
        return "–"
    ours, theirs = ([by_seed[n][seed] for seed in seeds] for n in (name, base))
    interval = stats.ttest_rel(ours, theirs).confidence_interval(0.95)
    return f"{np.mean(ours) - np.mean(theirs):+.1f} [{interval.low:+.1f}, {interval.high:+.1f}]"


def machine() -> str:
    """Where this was measured, in words."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    cpu = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.processor())
    return f"{cpu}, {os.cpu_count()} cores, {torch.get_num_threads()} thread(s); torch {torch.__version__}"
