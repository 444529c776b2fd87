"""The command `verify`: a run's finalists retrained with fresh seeds, and compared."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lstn_search.cli.options import (
    CacheDir,
    DataDir,
    EngineChoice,
    GpusPerJob,
    RayAddress,
    Retries,
    RunFolderArgument,
    StoragePath,
    Workers,
)

if TYPE_CHECKING:
    from rich.console import Console

    from lstn_search.verification.result import Verification

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("verify")(verify_command)


def verify_command(
    run: RunFolderArgument,
    top: Annotated[int, typer.Option(help="How many of the front to verify, the most accurate first.")] = 2,
    seeds: Annotated[int, typer.Option(help="Trainings of each; at least 2.")] = 5,
    minutes: Annotated[float | None, typer.Option(help="Start no training after so long.", show_default=False)] = None,
    epochs: Annotated[
        int | None, typer.Option(help="More joint epochs than the search's longest.", show_default=False)
    ] = None,
    recover_steps: Annotated[
        int | None, typer.Option(help="More recover steps than the search's.", show_default=False)
    ] = None,
    workers: Workers = None,
    engine: EngineChoice = "local",
    ray_address: RayAddress = None,
    storage_path: StoragePath = None,
    gpus_per_job: GpusPerJob = None,
    retries: Retries = 1,
    data_dir: DataDir = None,
    device: Annotated[
        str | None, typer.Option(help="auto, cpu, cuda, cuda:N or mps.", show_default="the run's")
    ] = None,
    cache_dir: CacheDir = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of the table.")] = False,
) -> None:
    """Retrain the best of a run, its seed points, control and oracle with fresh seeds, and say which differ.

    Within a seed all share the classifier's start, batches and warps. The same command goes on after an interruption;
    more --seeds add to what is there. Writes verify.json and verify.csv into RUN.
    """
    from rich.console import Console

    from lstn_search.api import verify
    from lstn_search.cli.progress import VerifyProgress, make_console
    from lstn_search.jobs.launch import EngineOptions
    from lstn_search.runs.run import open_run

    options = EngineOptions(
        engine=engine,  # type: ignore[arg-type]
        workers=workers,
        cache_dir=cache_dir,
        ray_address=ray_address,
        storage_path=storage_path,
        gpus_per_job=gpus_per_job,
    )
    console = make_console()
    progress = VerifyProgress(Console(stderr=True, highlight=False, markup=False, emoji=False) if as_json else console)
    try:
        with progress:
            verify(
                open_run(run), top=top, seeds=seeds, minutes=minutes, epochs=epochs, recover_steps=recover_steps,
                data_dir=data_dir, device=device, engine=options, retries=retries, watcher=progress,
            )  # fmt: skip
    except KeyboardInterrupt:
        if progress.verification is not None:
            _print(console, run, progress.verification, as_json=as_json)
        raise typer.Exit(130) from None
    assert progress.verification is not None
    _print(console, run, progress.verification, as_json=as_json)


def _print(console: "Console", run: Path, verification: "Verification", *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(verification.to_dict(), indent=2))
        return
    from lstn_search.cli.verification_table import verification_table

    console.print(verification_table(verification))
    for sentence in verification.sentences:
        console.print(sentence, soft_wrap=not console.is_terminal)
    if len(verification.complete_seeds) < len(verification.wanted_seeds):
        console.print(f"to go on: {verification.command}", soft_wrap=True)
    if verification.complete_seeds:
        console.print(f"written: {run / 'verify.json'}, {run / 'verify.csv'}", soft_wrap=True)
