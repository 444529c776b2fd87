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
    data_dir: Annotated[Path, typer.Option(help="The folder to put it in.", show_default=False)],
) -> None:
    """Fetch a dataset with torchvision's downloads. No other command ever downloads anything."""
    from lstn_search.data.download import download

    download(dataset, expanded(data_dir))
    print(printable(f"{dataset} is in {data_dir}; go on with --dataset {dataset} --data-dir {data_dir}"))
