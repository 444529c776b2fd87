"""The command `search`."""

import dataclasses
import json
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lstn_search.cli.options import Given, Json, Quiet, Retries, options, with_settings
from lstn_search.errors import printable
from lstn_search.jobs.launch import EngineOptions
from lstn_search.program import program
from lstn_search.spec.fields import LENGTH, OUTPUT, SEARCH, WHERE
from lstn_search.spec.settings import SearchSettings
from lstn_search.spec.space import load_space
from lstn_search.spec.task import DEFAULT_BACKBONE, Task

if TYPE_CHECKING:
    from lstn_search.runs.run import Run
    from lstn_search.spec.ladder import Ladder

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
            show_default="the space's, 25%,1,3,9",
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
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Search for the best localization nets under a FLOP budget.

    Trials see rotated, shifted and scaled images by default (--view affine): on upright ones every localizer ties.
    """
    task, loaded, engine = Task.of(**of_task), load_space(space), EngineOptions(**of_engine)
    out = out or _default_out(task, **of_search)

    from lstn_search.api import search
    from lstn_search.watch.console import make_console
    from lstn_search.watch.progress import SearchProgress

    progress = SearchProgress(make_console(stderr=as_json, quiet=quiet), trials)
    try:
        with progress:
            run = search(
                loaded,
                task,
                **of_search,
                ladder=_ladder(loaded.ladder, ladder, eta),
                engine=engine,
                out=out,
                trials=trials,
                minutes=minutes,
                resume=resume,
                retries=retries,
                storage=storage,
                watcher=progress,
                log=log or (),
            )
    except KeyboardInterrupt:
        if progress.run is not None and (progress.run.front or as_json):
            _print_front(progress.run, as_json=as_json)
        progress.note(f"interrupted; what was trained is in {out}. To go on: the same command with --resume")
        raise typer.Exit(130) from None

    from lstn_search.ranking.facts import warnings

    _print_front(run, as_json=as_json)
    for note in (*run.notes, *warnings(run)):
        typer.echo(f"warning: {printable(note)}", err=True)
    for line in _closing_lines(run, out):
        progress.note(line)


def _print_front(run: "Run", *, as_json: bool) -> None:
    from lstn_search.watch.console import make_console
    from lstn_search.watch.tables import front_facts, front_table

    if as_json:
        print(json.dumps(front_facts(run), indent=2))
    else:
        console = make_console()
        console.print(front_table(run, width=console.width))


def _closing_lines(run: "Run", out: Path) -> Iterator[str]:
    """What there is to know besides the front, and where to go from here."""
    from lstn_search.watch.tables import why_inert

    counts = run.folder.manifest["counts"]
    if run.folder.manifest.get("exhausted"):
        yield "no further network within the budget turned up: the space is exhausted"
    yield f"not trained: {counts['rejected']} proposals over budget, {counts['duplicates']} duplicates"
    if (why := why_inert(run.task)) and any(entry.status == "inert" for entry in run.entries if entry.results):
        yield why
    yield f"run folder: {out}"
    words = shlex.join([str(out), *run.folder.storage_words])
    yield f"to look at it: {program()} report {words}"
    if run.front:
        yield f"to see what of it is luck: {program()} verify {words}"
        yield f"to export the best: {program()} export {words} --out DIR"


def _default_out(task: Task, *, budget_gflops: float, sampler: str = "tpe", **_: Any) -> Path:
    """runs/glyphs-0.03-tpe-s0, runs/glyphs-resnet18-0.03-tpe-s0; a folder of images goes by its own name."""
    dataset = Path(task.dataset.removeprefix("folder:")).absolute().name
    backbone = "" if task.backbone == DEFAULT_BACKBONE else f"-{task.backbone.replace('/', '_')}"
    return Path("runs") / f"{dataset}{backbone}-{budget_gflops:g}-{sampler}-s{task.seed}"


def _ladder(default: "Ladder", text: str | None, eta: int | None) -> "Ladder":
    """The space's ladder, with what was given on the command line."""
    eta = default.eta if eta is None else eta
    return dataclasses.replace(default, eta=eta) if text is None else default.parse(text, eta)
