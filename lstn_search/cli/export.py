"""The command `export`: an architecture of a run as code that needs only torch."""

import shlex
from pathlib import Path
from typing import Annotated

import typer

from lstn_search.cli.arch_words import split_run
from lstn_search.cli.options import Force, RunStorage
from lstn_search.errors import SettingError
from lstn_search.program import program

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("export")(export_command)


def export_command(
    run: Annotated[
        str | None,
        typer.Argument(metavar="[RUN[:WHICH]]", help="A run, and perhaps what of it.", show_default=False),
    ] = None,
    *,
    out: Annotated[Path, typer.Option(help="The folder to write.", show_default=False)],
    pick: Annotated[
        str | None,
        typer.Option(
            help="best, knee or max-gflops=X of the front; or the name, number or digest of a trial.",
            show_default="best",
        ),
    ] = None,
    arch: Annotated[
        str | None, typer.Option(help="RUN[:WHICH], as eval takes it; instead of RUN and --pick.", show_default=False)
    ] = None,
    force: Force = False,
    storage: RunStorage = None,
) -> None:
    """Write a trained localization net as one Python file that imports only torch, its weights beside it.

    The file proves itself: in a process that cannot import lstn_search it must give the same outputs, to 1e-6. What was
    exported to the folder before is replaced as a whole.
    """
    from lstn_search.runs.run import open_run
    from lstn_search.shipping.export import write_export
    from lstn_search.watch.console import make_console

    words = run if arch is None else arch
    if words is None or (run is not None and arch is not None):
        raise SettingError("export takes a run, or --arch RUN:WHICH; for example: export runs/demo:best --out DIR")
    console = make_console()
    found = split_run(words)
    if found is None and arch is not None and not Path(words).is_dir():
        raise SettingError(
            f"{words} has no trained weights to export: name one of a run (RUN:{Path(words).stem}), or train it with "
            f"{program()} eval --arch {shlex.quote(words)} --out DIR"
        )
    folder, which = found or (Path(words), "best")
    if pick is not None and which != "best":
        raise SettingError(f"--pick {pick} and :{which} both say what of the run; leave one out")
    opened = open_run(folder, storage=storage)
    entry = opened.find(pick or which)
    with console.status("exporting, and proving it in a process of its own"):
        proof = write_export(opened, entry, out, force=force)
    console.print(
        f"{out / 'model.py'}: {entry.candidate.name}, {entry.candidate.gflops:.5f} GFLOPs, imports only torch"
    )
    console.print(
        f"proved without lstn_search on {proof.num_images} images of {proof.image_size} px: largest difference "
        f"{proof.max_theta_difference:.1e} in theta, {proof.max_image_difference:.1e} in the warped images"
    )
    console.print(f"try it: python {shlex.quote(str(out / 'model.py'))}")
