"""The command `download`."""

from pathlib import Path
from typing import Annotated

import typer

from lstn_search.errors import printable
from lstn_search.spec.fields import expanded

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("download")(download_command)


def download_command(
    dataset: Annotated[str, typer.Argument(help="caltech101 or cifar10.", show_default=False)],
    data_dir: Annotated[
        Path | None, typer.Option(help="The folder to put it in.", show_default="$LSTN_DATA_DIR or the user's")
    ] = None,
) -> None:
    """Fetch a dataset with torchvision's downloads. No other command ever downloads anything."""
    from lstn_search.data.download import download
    from lstn_search.data.places import download_dir

    folder = download_dir() if data_dir is None else expanded(data_dir)
    download(dataset, folder)
    given = "" if data_dir is None else f" --data-dir {data_dir}"  # where nobody says it, it is found
    print(printable(f"{dataset} is in {folder}; go on with --dataset {dataset}{given}"))
