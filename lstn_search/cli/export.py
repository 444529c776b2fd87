"""The command `export`: an architecture of a run as code that needs only torch."""

import shlex
from pathlib import Path
from typing import Annotated

import typer

from lstn_search.cli.options import Force, RunFolderArgument, RunStorage

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("export")(export_command)


def export_command(
    run: RunFolderArgument,
    out: Annotated[Path, typer.Option(help="The folder to write.", show_default=False)],
    pick: Annotated[
        str, typer.Option(help="best, knee or max-gflops=X of the front; or the name or number of a trial.")
    ] = "best",
    force: Force = False,
    storage: RunStorage = None,
) -> None:
    """Write a trained localization net as one Python file that imports only torch, its weights beside it.

    The file proves itself: in a process that cannot import lstn_search it must give the same outputs, to 1e-6. What was
    exported to the folder before is replaced as a whole.
    """
    from lstn_search.cli.console import make_console
    from lstn_search.runs.run import open_run
    from lstn_search.shipping.export import write_export

    console = make_console()
    opened = open_run(run, storage=storage)
    entry = opened.find(pick)
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
