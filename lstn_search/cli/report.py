"""The command `report`: a run as one HTML page."""

from pathlib import Path
from typing import Annotated

import typer

from lstn_search.cli.options import RunFolderArgument, RunStorage

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("report")(report_command)


def report_command(
    run: RunFolderArgument,
    out: Annotated[
        Path | None, typer.Option(help="The folder to write instead of the run's.", show_default=False)
    ] = None,
    storage: RunStorage = None,
) -> None:
    """Write report.html, one page that needs no network and no other file, and its pictures as PNGs in report/.

    Whatever the run holds is drawn, also after an interrupted search; what is missing is named with the command for it.
    """
    from lstn_search.pages.facts.history import open_with_history
    from lstn_search.pages.page import report
    from lstn_search.watch.console import make_console

    console = make_console()
    with console.status("drawing the report"):
        opened, history = open_with_history(run, storage=storage)
        written = report(opened, out, history=history)
    console.print(
        f"{written.file}: {written.num_bytes / 1e6:.1f} MB, {written.num_pictures} pictures, {written.seconds:.1f} s"
    )
