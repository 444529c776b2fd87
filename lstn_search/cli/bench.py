"""Commands that measure or simulate: `bench scale`."""

import json
from typing import TYPE_CHECKING, Annotated

import typer

from lstn_search.errors import SettingError

if TYPE_CHECKING:
    from rich.table import Table

    from lstn_search.search.simulate import Outcome
    from lstn_search.search.world import World

__all__ = ["register"]

WIDTH = 100
"""Columns when the output is no terminal."""

RECOVER_SECONDS, EPOCH_SECONDS, DRIVER_SECONDS = 13.0, 9.0, 0.1
"""The simulation's own defaults, repeated here because the command line must not import it; a test compares them."""


def register(app: typer.Typer) -> None:
    """Add the `bench` group to `app`."""
    group = typer.Typer(no_args_is_help=True, help="How searches scale.")
    group.command("scale")(_scale)
    app.add_typer(group, name="bench")


def _scale(
    trials: Annotated[int, typer.Option(help="Architectures, besides the three seed points.")] = 10_000,
    workers: Annotated[str, typer.Option(help="Cluster sizes.")] = "1,2,4,8,16,32,64,128,256,512,1024",
    ladder: Annotated[str, typer.Option(help="Joint epochs in all at each rung after recover.")] = "2,6,18",
    eta: Annotated[int, typer.Option(help="One in eta climbs.")] = 3,
    recover_seconds: Annotated[float, typer.Option(help="Yours, for a typical network.")] = RECOVER_SECONDS,
    epoch_seconds: Annotated[float, typer.Option(help="Of one joint epoch.")] = EPOCH_SECONDS,
    driver_seconds: Annotated[float, typer.Option(help="The driver's for each job, one at a time.")] = DRIVER_SECONDS,
    seed: Annotated[int, typer.Option(help="Of the invented architectures and times.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
) -> None:
    """Simulate a search on clusters of many sizes: the real schedule, measured times, invented networks.

    docs/scaling.md says what it rests on and what it leaves out.
    """
    from rich.console import Console

    from lstn_search.search.ladder import Ladder
    from lstn_search.search.simulate import STRATEGIES, simulate
    from lstn_search.search.world import Timing, World

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


def _clusters_table(outcomes: "list[list[Outcome]]", world: "World") -> "Table":
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


def _strategies_table(outcomes: "list[Outcome]", world: "World") -> "Table":
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


def _used(outcome: "Outcome") -> str:
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
