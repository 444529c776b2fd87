"""A search on 1 to 1,024 workers, simulated: `python benchmarks/scale.py --help`."""

import json
import sys
from typing import TYPE_CHECKING, Annotated

import typer
from simulate import STRATEGIES, Outcome, simulate
from world import Timing, World

from lstn_search.errors import LstnError, SettingError
from lstn_search.spec.ladder import Ladder

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["main"]

WIDTH = 100
"""Columns when the output is no terminal."""

TIMING = Timing()


def main(
    trials: Annotated[int, typer.Option(help="Architectures, besides the three seed points.")] = 10_000,
    workers: Annotated[str, typer.Option(help="Cluster sizes.")] = "1,2,4,8,16,32,64,128,256,512,1024",
    ladder: Annotated[str, typer.Option(help="Joint epochs in all at each rung after recover.")] = "2,6,18",
    eta: Annotated[int, typer.Option(help="One in eta climbs.")] = 3,
    recover_seconds: Annotated[float, typer.Option(help="Yours, for a typical network.")] = TIMING.recover_seconds,
    epoch_seconds: Annotated[float, typer.Option(help="Of one joint epoch.")] = TIMING.epoch_seconds,
    driver_seconds: Annotated[
        float, typer.Option(help="The driver's for each job, one at a time.")
    ] = TIMING.driver_seconds,
    seed: Annotated[int, typer.Option(help="Of the invented architectures and times.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
) -> None:
    """Simulate a search on clusters of many sizes: the real schedule, measured times, invented networks.

    docs/scaling.md says what it rests on and what it leaves out.
    """
    from rich.console import Console

    sizes = _sizes(workers)
    timing = Timing(recover_seconds=recover_seconds, epoch_seconds=epoch_seconds, driver_seconds=driver_seconds)
    world = World(trials=trials, ladder=Ladder.parse(ladder, eta), timing=timing, seed=seed)
    with Console(stderr=True).status("Simulating"):
        outcomes = [[simulate(world, strategy, size) for strategy in STRATEGIES] for size in sizes]
    if as_json:
        typer.echo(json.dumps([outcome.to_dict() for row in outcomes for outcome in row], indent=2))
        return
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=WIDTH)
    console.print(_clusters_table(outcomes, world))
    console.print(_strategies_table(outcomes[0], world))


def _sizes(text: str) -> list[int]:
    try:
        sizes = [int(part) for part in text.split(",")]
    except ValueError:
        sizes = [0]
    if min(sizes) < 1:
        raise SettingError(f"workers must be whole numbers of at least 1, got {text!r}; write for example 1,8,64")
    return sizes


def _clusters_table(outcomes: list[list[Outcome]], world: World) -> "Table":
    epochs = ", ".join(map(str, world.ladder.epochs))
    table = _table("workers", "ladder", "on front", "jobs", f"climbed to {epochs}", "halving", "no ladder")
    table.columns[4].no_wrap = False
    table.title = (
        f"{len(world.networks):,} architectures, seed {world.seed}: time, and share of it that workers were busy"
    )
    for ladder, halving, straight in outcomes:
        table.add_row(
            f"{ladder.num_workers:,}",
            _used(ladder),
            f"{ladder.front_share:.2%}",
            f"{ladder.num_jobs:,}",
            " ".join(f"{count:,}" for count in ladder.rung_runs[1:]),
            _used(halving),
            _used(straight),
        )
    table.caption = (
        "ladder: asynchronous, as a search runs it; halving: every rung waits for the one below; "
        "no ladder: all to the top\non front: share of the ladder's compute spent on the final front"
    )
    return table


def _strategies_table(outcomes: list[Outcome], world: World) -> "Table":
    table = _table("<strategy", "compute", "to the top", "front", "on front", "hypervolume", "failed attempts")
    size = outcomes[0].num_workers
    table.title = f"What the compute buys, on {size:,} worker{'s' if size > 1 else ''}"
    for outcome in outcomes:
        table.add_row(
            outcome.strategy,
            _duration(outcome.busy_seconds),
            f"{outcome.rung_runs[-1]:,}",
            str(len(outcome.front)),
            f"{outcome.front_share:.2%}",
            f"{outcome.hypervolume_share:.1%}",
            str(outcome.num_failed),
        )
    table.caption = "hypervolume: of the front's expected accuracies, over that of perfect knowledge"
    return table


def _used(outcome: Outcome) -> str:
    return f"{_duration(outcome.makespan_seconds)} {outcome.utilisation:6.1%}"


def _duration(seconds: float) -> str:
    if seconds < 5400:
        return f"{seconds / 60:.1f} min" if seconds >= 60 else f"{seconds:.0f} s"
    return f"{seconds / 3600:.1f} h"


def _table(*columns: str) -> "Table":
    """An empty table; columns are right-aligned unless their name starts with `<`."""
    from rich import box
    from rich.table import Table

    table = Table(
        box=box.SIMPLE,
        pad_edge=False,
        collapse_padding=True,
        title_justify="left",
        title_style="bold",
        caption_justify="left",
    )
    for name in columns:
        table.add_column(name.lstrip("<"), justify="left" if name.startswith("<") else "right", no_wrap=True)
    return table


if __name__ == "__main__":
    try:
        typer.run(main)
    except LstnError as error:
        sys.exit(f"error: {error}")
