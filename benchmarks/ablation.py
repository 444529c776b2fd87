"""What each choice of the space is worth at an equal budget: one net, and the same net with one choice made otherwise.

    python benchmarks/ablation.py --dataset caltech101 --data-dir DIR --out ablation.jsonl
    python benchmarks/ablation.py --dataset clutter --out ablation.jsonl

Measured after the recover stage: the corner error, and the accuracy in front of the frozen classifier under reflection.
On clutter all poses are known and nothing is drawn. Where another choice would change the cost, widths and units are
set so that it hardly does. A line of JSON is appended a training; what the file already holds is not trained again. At
its end it prints a table.
"""

import statistics
from typing import Any

import torch
from measured import Row, append_row, machine, of, paired, read_rows, seeds_parser
from torch import nn

from lstn_search.data.cache import default_cache_dir
from lstn_search.nets.localizer import Localizer
from lstn_search.spec.arch import Arch
from lstn_search.spec.choices import Choices, Value
from lstn_search.spec.cost import cost
from lstn_search.spec.space import load_space
from lstn_search.spec.task import Task
from lstn_search.training.prepared import prepare
from lstn_search.training.recovery import Diverged, RecoverTraining, build_localizer

BASE = "base"
SETTINGS = ("dataset", "backbone", "trial_size", "recover_steps", "batch_size", "view", "poses", "fill")
PLAIN = {"kind": "plain", "kernel": 3, "stride": 1, "padded": True, "max_pool": 1}
COORDINATES = "two channels of coordinates beside the image"


def net(*units: Choices, **choices: Value) -> Arch:
    """A 3x3 stem of stride 2 and these units at a look of 64, read by a soft-argmax, but for `choices` by name."""
    made: Choices = {"look": 64, "norm": "conv-bn-act", "units": len(units), "tail.width": 0}
    made |= {"head.pool_to": "soft-argmax", "head.hidden": 32}
    made |= {f"stem.{key}": value for key, value in {**PLAIN, "stride": 2, "width": 12}.items()}
    made |= {f"unit{n}.{key}": value for n, unit in enumerate(units, start=1) for key, value in unit.items()}
    return load_space("lstn").expand(made | choices)


def variants() -> dict[str, Arch]:
    """The base and the same with another choice, each under what it changes."""
    down: Choices = {**PLAIN, "stride": 2, "encoder": 24}
    residual: Choices = {"kind": "residual", "kernel": 3}
    plain: Choices = {**PLAIN, "encoder": 24}
    separable: Choices = {**PLAIN, "kind": "separable", "encoder": 64}
    bottleneck: Choices = {**PLAIN, "kind": "bottleneck", "decoder": 16, "encoder": 24}
    body = (down, residual, residual, residual)
    wide_down: Choices = {**down, "encoder": 48}
    return {
        BASE: net(*body),
        "plain units": net(down, plain, plain, plain),
        "separable units, wider": net(down, separable, separable, separable),
        "bottleneck units (as in L-STN), 5 of them": net(down, *[bottleneck] * 5),
        "no batch norm": net(*body, norm="none"),
        "batch norm behind the ReLU": net(*body, norm="conv-act-bn"),
        "flatten": net(*body, **{"head.pool_to": "flatten"}),
        "pooled to 4x4": net(*body, **{"head.pool_to": 4}),
        "pooled to 2x2": net(*body, **{"head.pool_to": 2}),
        "pooled to 1x1": net(*body, **{"head.pool_to": 1}),
        "no hidden layer": net(*body, **{"head.hidden": 0}),
        "tail of 10": net(*body, **{"tail.width": 10}),
        "look 48, wider": net({**down, "encoder": 32}, residual, residual, residual, look=48, **{"stem.width": 16}),
        "look 32, wider": net(wide_down, residual, residual, residual, look=32, **{"stem.width": 24}),
        "strides by max-pool, a unit less": net({**down, "stride": 1, "max_pool": 2}, residual, residual),
        "kernel 7 in the stem, a unit less": net(*body[:-1], **{"stem.kernel": 7}),
        "one stride more, twice as wide": net(down, wide_down, residual, residual),
        COORDINATES: net(*body),
    }


class WithCoordinates(nn.Module):
    """A localizer that sees where each pixel lies, as in CoordConv (Liu et al. 2018): its stem takes 5 channels."""

    def __init__(self, localizer: Localizer) -> None:
        super().__init__()
        self.localizer = localizer
        stem = localizer.features[0]
        assert isinstance(stem, nn.Conv2d)
        wider = nn.Conv2d(5, stem.out_channels, stem.kernel_size, stem.stride, stem.padding)  # type: ignore[arg-type]
        with torch.no_grad():
            wider.weight[:, :3] = stem.weight
            wider.bias.copy_(stem.bias)  # type: ignore[union-attr, arg-type]
        localizer.features[0] = wider

    def forward(self, x_BCHW: torch.Tensor) -> torch.Tensor:
        """As the localizer's."""
        num, _, height, width = x_BCHW.shape
        v, u = torch.meshgrid(torch.linspace(-1, 1, height), torch.linspace(-1, 1, width), indexing="ij")
        places_B2HW = torch.stack([u, v]).to(x_BCHW).expand(num, 2, height, width)
        return self.localizer(torch.cat([x_BCHW, places_B2HW], dim=1))  # type: ignore[no-any-return]


def table(rows: list[Row]) -> str:
    """Cost, means over the seeds, and paired differences to the base."""
    lines = [
        f"| choice | params | GFLOPs | n | corner error, px of 224 | against {BASE} | frozen top-1 | against {BASE} |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, arch in variants().items():
        facts, cells = cost(arch, 224), []
        for column in ("corner_error_px", "frozen_top1"):
            found = of(rows, name, column)
            cells += [f"{statistics.mean(found):.1f}" if found else "diverged"]
            cells += ["" if name == BASE else paired(rows, name, BASE, column)]
        num = len(of(rows, name, "frozen_top1"))
        lines.append(f"| {name} | {facts.params:,} | {facts.gflops:.5f} | {num} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Recover what is missing, seed by seed, then print the table."""
    parser = seeds_parser(__doc__, out="ablation.jsonl", seeds=2)
    parser.add_argument("--steps", type=int, default=1000)
    options = parser.parse_args()
    torch.set_num_threads(1)
    posed = {"poses": "known", "view": "none"} if options.dataset == "clutter" else {"data_dir": options.data_dir}
    rows: list[Row] = []
    for seed in range(options.seeds):
        task = Task(
            dataset=options.dataset, backbone=options.backbone, recover_steps=options.steps, seed=seed,
            precision="fp32", **posed,
        )  # fmt: skip
        settings: dict[str, Any] = {name: getattr(task, name) for name in SETTINGS}
        done = {row["name"] for row in read_rows(options.out, settings) if row["seed"] == seed}
        missing = {name: arch for name, arch in variants().items() if name not in done}
        if missing:
            prepared = prepare(task, default_cache_dir(), lambda what: None)
        for name, arch in missing.items():
            localizer: nn.Module = build_localizer(prepared.bench, arch)
            localizer = WithCoordinates(localizer) if name == COORDINATES else localizer  # type: ignore[arg-type]
            training = RecoverTraining(prepared.bench, prepared.bench.place(localizer))  # type: ignore[arg-type]
            row = {"settings": settings, "name": name, "seed": seed, "digest": arch.digest, "machine": machine()}
            try:
                training.run_to(options.steps)
                frozen = prepared.frozen_by_fill(training.evaluated)
                facts = {"corner_error_px": training.measure().corner_error_px, "frozen_top1": frozen["reflection"]}
                facts |= {"frozen": frozen, "seconds": training.seconds}
            except Diverged:
                facts = {"corner_error_px": None, "frozen_top1": None}
            append_row(options.out, row | facts)
        rows = read_rows(options.out, settings)
    print(f"\n{machine()}\n\n{table(rows)}")


if __name__ == "__main__":
    main()
