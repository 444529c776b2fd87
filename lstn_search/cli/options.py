"""Options that more than one command takes, and the task they make."""

import tempfile
from pathlib import Path
from typing import Annotated, Any

import typer

from lstn_search.errors import SettingError
from lstn_search.spec.names import DATASET_NAMES
from lstn_search.spec.task import DEFAULT_BACKBONE, Task

__all__ = [
    "Backbone",
    "BatchSize",
    "CacheDir",
    "DataDir",
    "Dataset",
    "Device",
    "EngineChoice",
    "Epochs",
    "GpusPerJob",
    "ImageSize",
    "MaxEpochs",
    "Precision",
    "ProtocolName",
    "RayAddress",
    "RecoverSteps",
    "Retries",
    "RunBackbone",
    "RunFolderArgument",
    "RunImageSize",
    "RunProtocol",
    "RunTrialSize",
    "RunViewStrength",
    "Seed",
    "SeedPointSpace",
    "StoragePath",
    "TrialSize",
    "ViewName",
    "ViewStrength",
    "WarmEpochs",
    "Workers",
    "check_writable",
    "make_task",
]

Dataset = Annotated[str, typer.Option(help=f"One of: {', '.join(DATASET_NAMES)}.", show_default=False)]
DataDir = Annotated[Path | None, typer.Option(help="The folder that holds the dataset.", show_default=False)]
Backbone = Annotated[str, typer.Option(help="The classifier: any name of timm or torchvision.")]
ImageSize = Annotated[int, typer.Option(help="Side in px at deployment: what GFLOPs and the budget mean.")]
TrialSize = Annotated[int, typer.Option(help="Side in px of the images that trials are trained on.")]
ViewName = Annotated[
    str | None,
    typer.Option(
        help="affine (rotated, shifted, scaled; the default) or none. On upright images every localizer ties.",
        show_default=False,
    ),
]
ViewStrength = Annotated[float, typer.Option(help="Scales the view's ranges: 0.5 is gentler, 1.5 harder.")]
ProtocolName = Annotated[str, typer.Option(help="recover (regress known warps first) or paper (as published).")]
Epochs = Annotated[
    int | None,
    typer.Option(help="Joint epochs of a trial; for the paper's protocol its epoch floor.", show_default=False),
]
MaxEpochs = Annotated[int | None, typer.Option(help="Paper's protocol: the last epoch.", show_default=False)]
RecoverSteps = Annotated[int | None, typer.Option(help="Steps of the recover stage.", show_default=False)]
WarmEpochs = Annotated[int | None, typer.Option(help="Epochs of the classifier alone, once.", show_default=False)]
BatchSize = Annotated[int | None, typer.Option(help="Images a step.", show_default=False)]
Seed = Annotated[int, typer.Option(help="Of batches, views, weights and sampler.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:N or mps.")]
Workers = Annotated[int | None, typer.Option(help="Processes that train.", show_default="one a GPU, else one a core")]
EngineChoice = Annotated[str, typer.Option(help="local (processes on this machine) or ray.")]
RayAddress = Annotated[
    str | None, typer.Option(help="Of a Ray cluster; without it Ray starts here.", show_default=False)
]
StoragePath = Annotated[
    Path | None, typer.Option(help="Ray: a folder all nodes reach, for checkpoints and cache.", show_default=False)
]
GpusPerJob = Annotated[float | None, typer.Option(help="Ray: 0.5 lets two jobs share a GPU.", show_default=False)]
Retries = Annotated[int, typer.Option(help="How often a job is run again when its worker dies.")]
RunFolderArgument = Annotated[Path, typer.Argument(help="The run folder of a search.", show_default=False)]

# Of `eval` and `show`, where a run may bring its own: None is the run's, or the default.
RunImageSize = Annotated[int | None, typer.Option(help="Side in px at deployment.", show_default="224")]
RunTrialSize = Annotated[int | None, typer.Option(help="Side in px that is trained on.", show_default="64")]
RunBackbone = Annotated[str | None, typer.Option(help="The classifier.", show_default=DEFAULT_BACKBONE)]
RunViewStrength = Annotated[float | None, typer.Option(help="Scales the view's ranges.", show_default="1")]
RunProtocol = Annotated[str | None, typer.Option(help="recover or paper.", show_default="recover")]
SeedPointSpace = Annotated[str, typer.Option(help="Whose seed points --arch may name.")]

Precision = Annotated[str, typer.Option(help="fp32, bf16, or auto: the faster of the two here.")]
CacheDir = Annotated[
    Path | None, typer.Option(help="Decoded images and warm classifiers; also $LSTN_CACHE_DIR.", show_default=False)
]


def make_task(**options: Any) -> Task:
    """A task from the command line's options; None means the default of the protocol."""
    data_dir = options.pop("data_dir", None)
    given = {name: value for name, value in options.items() if value is not None}
    given["data_dir"] = str(Path(data_dir).expanduser()) if data_dir else None
    return Task.paper(**given) if given.get("protocol") == "paper" else Task(**given)


def check_writable(folder: Path) -> None:
    """Create `folder` if need be. Raises SettingError when nothing can be written into it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise SettingError(f"{folder} cannot be written ({error.strerror}); choose another --out") from None
