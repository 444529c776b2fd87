"""What global average pooling costs a localizer: `light` with its map pooled to 1x1, 2x2 and 4x4 before the head.

    python benchmarks/pooling.py --data-dir DIR --out pooling.jsonl

The features and everything else are the same; the last layer grows with the map. Measured after the recover stage (500
steps) under the affine view: the corner error, and the accuracy in front of the frozen classifier. A line of JSON is
appended a training; what the file already holds is not trained again. At its end it prints a table.
"""

import dataclasses
import statistics
from typing import Any

import torch
from measured import Row, append_row, machine, of, paired, read_rows, seeds_parser

from lstn_search.data.cache import default_cache_dir
from lstn_search.spec.arch import Arch
from lstn_search.spec.cost import cost
from lstn_search.spec.space import load_space
from lstn_search.spec.task import Task
from lstn_search.training.prepared import prepare
from lstn_search.training.trial import start_trial

BASE = "1x1"
SETTINGS = ("dataset", "backbone", "trial_size", "recover_steps", "batch_size", "view", "view_strength")


def variants() -> dict[str, Arch]:
    """The seed point `light`, which pools to 1x1, and the same features pooled to larger maps."""
    light = load_space("lstn").seeds["light"]
    return {f"{n}x{n}": dataclasses.replace(light, head=dataclasses.replace(light.head, pool_to=n)) for n in (1, 2, 4)}


def table(rows: list[Row]) -> str:
    """Cost, means over the seeds, and paired differences to global average pooling."""
    lines = [
        f"| pooled to | params | GFLOPs at 224 px | n | corner error, px of 224 | against {BASE} | frozen top-1 | "
        f"against {BASE} | theta's spread |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name, arch in variants().items():
        facts = cost(arch, 224)
        means = {
            column: statistics.mean(of(rows, name, column)) for column in ("corner_error_px", "frozen_top1", "spread")
        }
        against = {c: "" if name == BASE else paired(rows, name, BASE, c) for c in ("corner_error_px", "frozen_top1")}
        lines.append(
            f"| {name} | {facts.params:,} | {facts.gflops:.5f} | {len(of(rows, name, 'frozen_top1'))} | "
            f"{means['corner_error_px']:.1f} | {against['corner_error_px']} | "
            f"{means['frozen_top1']:.1f} | {against['frozen_top1']} | {means['spread']:.3f} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Recover what is missing, seed by seed, then print the table."""
    parser = seeds_parser(__doc__, out="pooling.jsonl", seeds=3)
    parser.add_argument("--steps", type=int, default=500)
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows: list[Row] = []
    for seed in range(options.seeds):
        task = Task(
            dataset=options.dataset,
            data_dir=options.data_dir,
            backbone=options.backbone,
            recover_steps=options.steps,
            seed=seed,
        )
        settings: dict[str, Any] = {name: getattr(task, name) for name in SETTINGS}
        rows = read_rows(options.out, settings)
        done = {row["name"] for row in rows if row["seed"] == seed}
        missing = {name: arch for name, arch in variants().items() if name not in done}
        if not missing:
            continue
        prepared = prepare(task, default_cache_dir(), lambda what: None)
        for name, arch in missing.items():
            result = start_trial(prepared, arch).begin()
            row = {"settings": settings, "name": name, "seed": seed, **result.to_dict(), "machine": machine()}
            append_row(options.out, row)
        rows = read_rows(options.out, settings)
    print(f"\n{machine()}\n\n{table(rows)}")


if __name__ == "__main__":
    main()
