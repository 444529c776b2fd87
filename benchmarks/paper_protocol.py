"""The paper's training on clean images, short and with seeds: does a localizer help, does its theta move at all?

    python benchmarks/paper_protocol.py --data-dir DIR --out paper.jsonl

Each of none, stn, vstn, lstn and light is trained from scratch together with the classifier (`Task.paper`: Adam at
1e-3, batch 20, upright images, no augmentation) for a fixed number of epochs; the best epoch by validation is tested
once. All networks of a seed share the start of the classifier and the order of the images, so differences are paired.
A line of JSON is appended a training; what the file already holds is not trained again. At its end it prints a table.
"""

import statistics
from typing import Any

import torch
from measured import Row, append_row, machine, of, paired, read_rows, seeds_parser

from lstn_search.data.cache import default_cache_dir
from lstn_search.spec.arch import Arch
from lstn_search.spec.space import load_space
from lstn_search.spec.task import Task
from lstn_search.training.prepared import Prepared, prepare
from lstn_search.training.trial import start_trial

CONTROL = "none"
NETS = (CONTROL, "stn", "vstn", "lstn", "light")
SETTINGS = ("dataset", "backbone", "trial_size", "epochs", "batch_size", "lr", "view")


def train(prepared: Prepared, name: str, arch: Arch | None) -> Row:
    """One training, measured on the validation images and once on the test images."""
    bench, trial = prepared.bench, start_trial(prepared, arch)
    result, test = trial.run(), None
    if result.status != "failed":
        test, _ = bench.evaluate(trial.model, bench.dataset.test_I, view=bench.view)
    return {
        "settings": {name: getattr(bench.task, name) for name in SETTINGS},
        "name": name,
        "seed": bench.task.seed,
        "status": result.status,
        "reason": result.reason,
        "val_top1": result.val_top1,
        "val_top5": result.val_top5,
        "test_top1": test and test.top1,
        "test_top5": test and test.top5,
        "spread": result.spread,
        "out_of_frame": result.out_of_frame,
        "scale": result.scale,
        "seconds": result.seconds,
        "history": result.history,
        "machine": machine(),
    }


def table(rows: list[Row]) -> str:
    """Means over the seeds, and the paired difference to the classifier alone."""
    lines = [
        "| net | n | test top-1 | test top-5 | top-1 against none | theta's spread | inert, collapsed, failed | s |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name in NETS:
        own = [row for row in rows if row["name"] == name]
        if not own:
            continue
        spreads = of(own, name, "spread")
        cells = [
            f"{statistics.mean(values):.1f}" if (values := of(own, name, column)) else "–"
            for column in ("test_top1", "test_top5")
        ]
        dead = ", ".join(
            str(sum(row["status"] == status for row in own)) for status in ("inert", "collapsed", "failed")
        )
        lines.append(
            f"| {name} | {len(own)} | {' | '.join(cells)} | "
            f"{'' if name == CONTROL else paired(rows, name, CONTROL, 'test_top1')} | "
            f"{', '.join(f'{spread:.4f}' for spread in spreads)} | {'' if name == CONTROL else dead} | "
            f"{statistics.mean(of(own, name, 'seconds')):.0f} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Train what is missing, seed by seed, then print the table."""
    parser = seeds_parser(__doc__, out="paper.jsonl", seeds=3)
    parser.add_argument("--size", type=int, default=64, help="side of the images in px")
    parser.add_argument("--epochs", type=int, default=8)
    options = parser.parse_args()
    torch.set_num_threads(1)
    seeds = load_space("lstn").seeds
    rows: list[Row] = []
    for seed in range(options.seeds):
        task = Task.paper(
            dataset=options.dataset,
            data_dir=options.data_dir,
            backbone=options.backbone,
            trial_size=options.size,
            epochs=options.epochs,
            max_epochs=options.epochs,
            seed=seed,
        )
        settings: dict[str, Any] = {name: getattr(task, name) for name in SETTINGS}
        rows = read_rows(options.out, settings)
        missing = [name for name in NETS if not any((row["name"], row["seed"]) == (name, seed) for row in rows)]
        if not missing:
            continue
        prepared = prepare(task, default_cache_dir(), lambda what: None)
        for name in missing:
            append_row(options.out, train(prepared, name, None if name == CONTROL else seeds[name]))
        rows = read_rows(options.out, settings)
    print(f"\n{machine()}\n\n{table(rows)}")


if __name__ == "__main__":
    main()
