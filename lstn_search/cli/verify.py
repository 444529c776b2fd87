"""The command `verify`: a run's finalists retrained with fresh seeds, and compared."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lstn_search.cli.options import Given, Json, Quiet, Retries, RunFolderArgument, RunStorage, options, with_settings
from lstn_search.jobs.launch import EngineOptions
from lstn_search.spec.fields import LENGTH
from lstn_search.spec.task import Task

if TYPE_CHECKING:
    from rich.console import Console

    from lstn_search.verification.result import Verification

__all__ = ["register"]

MORE = {
    "epochs": "More joint epochs than the search's longest.",
    "recover_steps": "More than the search's.",
    "poses": "The run's, where they lie now.",
}


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("verify")(verify_command)


@with_settings(
    of_task=options(Task, "epochs", "recover_steps", "data_dir", "poses", "device", of_run=True, words=MORE),
    of_engine=options(EngineOptions),
)
def verify_command(
    of_task: Given,
    of_engine: Given,
    run: RunFolderArgument,
    top: Annotated[
        int, typer.Option(help="How many of the front to verify, the most accurate first.", rich_help_panel=LENGTH)
    ] = 2,
    seeds: Annotated[int, typer.Option(help="Trainings of each; at least 2.", rich_help_panel=LENGTH)] = 5,
    against: Annotated[
        str | None,
        typer.Option(help="Seed points to train beside them, such as lstn,stn; all of them.", rich_help_panel=LENGTH),
    ] = None,
    minutes: Annotated[
        float | None, typer.Option(help="Start no training after so long.", rich_help_panel=LENGTH)
    ] = None,
    retries: Retries = 1,
    storage: RunStorage = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Retrain the best of a run, its seed points, control and oracle with fresh seeds, and say which differ.

    Within a seed all share the classifier's start, batches and warps. The same command goes on after an interruption;
    more --seeds add to what is there. Writes verify.json and verify.csv into RUN.
    """
    from lstn_search.api import verify
    from lstn_search.runs.run import open_run
    from lstn_search.watch.console import make_console
    from lstn_search.watch.progress import VerifyProgress

    engine = EngineOptions(**of_engine)
    names = None if against is None else [name.strip() for name in against.split(",") if name.strip()]
    console = make_console()
    progress = VerifyProgress(make_console(stderr=as_json, quiet=quiet))
    try:
        with progress:
            verify(
                open_run(run, storage=storage), top=top, seeds=seeds, against=names, minutes=minutes, engine=engine,
                retries=retries, watcher=progress, **of_task,
            )  # fmt: skip
    except KeyboardInterrupt:
        if progress.verification is not None:
            _print(console, run, progress.verification, as_json=as_json, quiet=quiet)
        raise typer.Exit(130) from None
    assert progress.verification is not None
    _print(console, run, progress.verification, as_json=as_json, quiet=quiet)


def _print(console: "Console", run: Path, verification: "Verification", *, as_json: bool, quiet: bool) -> None:
    if as_json:
        print(json.dumps(verification.to_dict(), indent=2))
        return
    from lstn_search.cli.verification_table import verification_table

    console.print(verification_table(verification))
    for sentence in verification.sentences:
        console.print(sentence, soft_wrap=not console.is_terminal)
    if len(verification.complete_seeds) < len(verification.wanted_seeds):
        console.print(f"to go on: {verification.command}", soft_wrap=True)
    if verification.complete_seeds and not quiet:
        console.print(f"written: {run / 'verify.json'}, {run / 'verify.csv'}", soft_wrap=True)
