"""The command `search`."""

import dataclasses
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lstn_search.cli.options import Given, Retries, options, with_settings
from lstn_search.errors import printable
from lstn_search.jobs.launch import EngineOptions
from lstn_search.program import program
from lstn_search.spec.fields import LENGTH, OUTPUT, SEARCH, WHERE
from lstn_search.spec.settings import SearchSettings, check_budget
from lstn_search.spec.space import load_space
from lstn_search.spec.task import DEFAULT_BACKBONE, Task

if TYPE_CHECKING:
    from lstn_search.spec.ladder import Ladder
    from lstn_search.study.logs import RungLog

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("search")(search_command)


@with_settings(of_task=options(Task), of_search=options(SearchSettings), of_engine=options(EngineOptions))
def search_command(
    of_task: Given,
    of_search: Given,
    of_engine: Given,
    space: Annotated[
        str, typer.Option(help="A named search space, or the path of a TOML file.", rich_help_panel=SEARCH)
    ] = "lstn",
    trials: Annotated[
        int, typer.Option(help="Architectures to train, besides the seed points.", rich_help_panel=LENGTH)
    ] = 24,
    minutes: Annotated[float | None, typer.Option(help="Start no trial after so long.", rich_help_panel=LENGTH)] = None,
    ladder: Annotated[
        str | None,
        typer.Option(
            help="The rungs: percents of recover, then joint epochs in all.",
            show_default="the space's, 25%,2,6,18",
            rich_help_panel=LENGTH,
        ),
    ] = None,
    eta: Annotated[
        int | None,
        typer.Option(
            help="One in eta of a rung climbs; 1: all.", show_default="the space's, 3", rich_help_panel=LENGTH
        ),
    ] = None,
    retries: Retries = 1,
    storage: Annotated[
        str | None,
        typer.Option(help="A database for the study instead of the folder's SQLite file.", rich_help_panel=WHERE),
    ] = None,
    log: Annotated[
        list[str] | None,
        typer.Option(
            help="Also log every rung for tensorboard or mlflow, in the run folder; may be given twice.",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="The run folder.", show_default="runs/DATASET[-BACKBONE]-BUDGET-SAMPLER-sSEED", rich_help_panel=OUTPUT
        ),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the run in the folder.", rich_help_panel=OUTPUT)
    ] = False,
) -> None:
    """Search for the best localization nets under a FLOP budget.

    Trials see rotated, shifted and scaled images by default (--view affine): on upright ones every localizer ties.
    """
    task = Task.of(**of_task)
    loaded = load_space(space)
    settings = SearchSettings(
        task=task,
        space_name=loaded.name,
        space_digest=loaded.digest,
        ladder=_ladder(loaded.ladder, ladder, eta),
        seed=task.seed,
        **of_search,
    )
    engine = EngineOptions(**of_engine)
    check_budget(settings, loaded)  # before torch is imported: a budget nothing can meet is said at once
    logs: tuple[RungLog, ...] = ()
    if log:
        from lstn_search.study.logs import make_logs  # it imports optuna

        logs = make_logs(log, loaded)
    out = out or _default_out(settings)

    from lstn_search.cli.console import make_console
    from lstn_search.cli.progress import SearchProgress
    from lstn_search.cli.tables import front_table, why_inert
    from lstn_search.jobs.loop import Watchers
    from lstn_search.ranking.facts import warnings
    from lstn_search.study.search import search

    console = make_console()
    progress = SearchProgress(console, trials)
    try:
        with progress:
            run = search(
                loaded,
                settings,
                out,
                engine.start,
                trials=trials,
                minutes=minutes,
                resume=resume,
                retries=retries,
                storage=storage,
                watcher=Watchers(progress, *logs),
            )
    except KeyboardInterrupt:
        if progress.run is not None and progress.run.front:
            console.print(front_table(progress.run))
        console.print(f"interrupted; what was trained is in {out}. To go on: the same command with --resume")
        raise typer.Exit(130) from None
    console.print(front_table(run))
    if run.folder.manifest.get("exhausted"):
        console.print("no further network within the budget turned up: the space is exhausted")
    counts = run.folder.manifest["counts"]
    console.print(f"not trained: {counts['rejected']} proposals over budget, {counts['duplicates']} duplicates")
    if (why := why_inert(task)) and any(entry.status == "inert" for entry in run.entries if entry.results):
        console.print(why)
    for note in (*run.notes, *warnings(run)):
        typer.echo(f"warning: {printable(note)}", err=True)
    console.print(f"run folder: {out}")
    words = shlex.join([str(out), *run.folder.storage_words])
    console.print(f"to look at it: {program()} report {words}")
    if run.front:
        console.print(f"to see what of it is luck: {program()} verify {words}")
        console.print(f"to export the best: {program()} export {words} --out DIR")


def _default_out(settings: SearchSettings) -> Path:
    """runs/glyphs-0.03-tpe-s0, runs/glyphs-resnet18-0.03-tpe-s0; a folder of images goes by its own name."""
    dataset = Path(settings.task.dataset.removeprefix("folder:")).absolute().name
    backbone = "" if settings.task.backbone == DEFAULT_BACKBONE else f"-{settings.task.backbone.replace('/', '_')}"
    return Path("runs") / f"{dataset}{backbone}-{settings.budget_gflops:g}-{settings.sampler}-s{settings.seed}"


def _ladder(default: "Ladder", text: str | None, eta: int | None) -> "Ladder":
    """The space's ladder, with what was given on the command line."""
    eta = default.eta if eta is None else eta
    return dataclasses.replace(default, eta=eta) if text is None else default.parse(text, eta)
