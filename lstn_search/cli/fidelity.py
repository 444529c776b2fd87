"""The command `fidelity`: whether the cheap measurements of a search rank architectures as its dear ones do."""

import json
from typing import TYPE_CHECKING, Annotated

import typer

from lstn_search.cli.options import Given, Json, Quiet, Retries, RunFolderArgument, RunStorage, options, with_settings
from lstn_search.jobs.launch import EngineOptions
from lstn_search.spec.fields import LENGTH
from lstn_search.spec.task import Task

if TYPE_CHECKING:
    from rich.table import Table

    from lstn_search.ranking.facts import FidelityInfo

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("fidelity")(fidelity_command)


@with_settings(
    of_task=options(Task, "data_dir", "poses", of_run=True, words={"poses": "The run's, where they lie now."}),
    of_engine=options(EngineOptions),
)
def fidelity_command(
    of_task: Given,
    of_engine: Given,
    run: RunFolderArgument,
    deployment: Annotated[
        int | None,
        typer.Option(help="First train so many architectures at the deployment size.", rich_help_panel=LENGTH),
    ] = None,
    rung: Annotated[
        int, typer.Option(help="With --deployment: up to this rung; 0 is recover.", rich_help_panel=LENGTH)
    ] = 0,
    minutes: Annotated[
        float | None,
        typer.Option(help="With --deployment: start nothing after so long.", rich_help_panel=LENGTH),
    ] = None,
    retries: Retries = 1,
    storage: RunStorage = None,
    seed: Annotated[
        int, typer.Option(help="Of the bootstrap, and of what --deployment trains.", rich_help_panel=LENGTH)
    ] = 0,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Say which cheap measurements of a search rank its architectures: Kendall's tau with a 95 % interval.

    Compared are all pairs of rungs, and the cost with the longest training; with --deployment also the size that trials
    are trained at with the size of deployment. What that trains is kept: the same command goes on. Writes
    RUN/fidelity.json.
    """
    from lstn_search.api import fidelity
    from lstn_search.runs.run import open_run
    from lstn_search.watch.console import make_console
    from lstn_search.watch.progress import FidelityProgress

    console = make_console()
    opened, engine = open_run(run, storage=storage), EngineOptions(**of_engine)
    try:
        with FidelityProgress(make_console(stderr=True, quiet=quiet)) as watcher:
            info = fidelity(
                opened, deployment=deployment, rung=rung, minutes=minutes, engine=engine, retries=retries,
                seed=seed, watcher=watcher, **of_task,
            )  # fmt: skip
    except KeyboardInterrupt:
        if deployment is None:
            raise
        watcher.note(f"interrupted; what was trained is in {run / 'fidelity'}. To go on: the same command")
        raise typer.Exit(130) from None
    if as_json:
        print(json.dumps(info.to_dict(), indent=2))
        return
    if info.correlations:
        console.print(_table(info))
    for line in (*info.notes, info.deployment_sentence):
        console.print(line)
    for warning in info.warnings:
        make_console(stderr=True).print(f"warning: {warning}")


def _table(info: "FidelityInfo") -> "Table":
    """The correlations, grouped by what they are taken against; 80 columns are enough for it."""
    from lstn_search.watch.tables import number, plain_table

    table = plain_table(
        f"Rank correlation of {info.num} architectures within the budget",
        "tau: Kendall's tau-b, errors count as better when smaller; interval: bootstrap over architectures, "
        "above 0.5: trust it, above 0: a hint; n: of those that have the first number",
        collapse_padding=True,
    )
    table.add_column("")
    for heading in ("n", "tau", "95 % interval"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    correlations = [*info.correlations, *([info.deployment] if info.deployment else [])]
    for target in dict.fromkeys(correlation.b for correlation in correlations):
        table.add_section()
        table.add_row(f"{target}:", style="bold")
        for row in correlations:
            if row.b == target:
                interval = "–" if row.low is None else f"{row.low:.2f} to {number(row.high, 2)}"
                count = f"{row.num} of {row.num + row.num_left_out}"
                verdict = row.verdict.partition(":")[0]
                table.add_row(f"  {row.a}", count, number(row.tau, 2), interval, verdict)
    return table
