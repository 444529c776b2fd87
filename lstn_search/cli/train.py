"""Commands that train: search and eval."""

from pathlib import Path
from typing import Annotated, Any

import typer

from lstn_search.data.names import DATASET_NAMES
from lstn_search.task import DEFAULT_BACKBONE, Task

__all__ = ["register"]

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
CacheDir = Annotated[
    Path | None, typer.Option(help="Decoded images and warm classifiers; also $LSTN_CACHE_DIR.", show_default=False)
]


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command("search")(search_command)


def make_task(**options: Any) -> Task:
    """A task from the command line's options; None means the default of the protocol."""
    data_dir = options.pop("data_dir")
    given = {name: value for name, value in options.items() if value is not None}
    given["data_dir"] = str(data_dir.expanduser()) if data_dir else None
    return Task.paper(**given) if given.get("protocol") == "paper" else Task(**given)


def search_command(
    dataset: Dataset,
    budget_gflops: Annotated[
        float, typer.Option(help="At --image-size, in the paper's convention.", show_default=False)
    ],
    data_dir: DataDir = None,
    image_size: ImageSize = 224,
    trial_size: TrialSize = 64,
    backbone: Backbone = DEFAULT_BACKBONE,
    space: Annotated[str, typer.Option(help="A named search space, or the path of a TOML file.")] = "lstn",
    trials: Annotated[int, typer.Option(help="Architectures to train, besides the seed points.")] = 24,
    minutes: Annotated[float | None, typer.Option(help="Start no trial after so long.", show_default=False)] = None,
    sampler: Annotated[str, typer.Option(help="tpe, nsga2 or random.")] = "tpe",
    budget_scope: Annotated[
        str, typer.Option(help="localizer, or stn: with grid generator and sampler.")
    ] = "localizer",
    view: ViewName = None,
    view_strength: ViewStrength = 1.0,
    protocol: ProtocolName = "recover",
    epochs: Epochs = None,
    max_epochs: MaxEpochs = None,
    recover_steps: RecoverSteps = None,
    warm_epochs: WarmEpochs = None,
    batch_size: BatchSize = None,
    seed: Seed = 0,
    out: Annotated[
        Path | None, typer.Option(help="The run folder.", show_default="runs/DATASET-BUDGET-SAMPLER-sSEED")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in the folder.")] = False,
    device: Device = "auto",
    cache_dir: CacheDir = None,
) -> None:
    """Search for the best localization nets under a FLOP budget.

    Trials see rotated, shifted and scaled images by default (--view affine): on upright ones every localizer ties.
    """
    from lstn_search.search.settings import SearchSettings, check_budget
    from lstn_search.space import load_space

    task = make_task(
        dataset=dataset, data_dir=data_dir, image_size=image_size, trial_size=trial_size, backbone=backbone,
        view=view, view_strength=view_strength, protocol=protocol, epochs=epochs, max_epochs=max_epochs,
        recover_steps=recover_steps, warm_epochs=warm_epochs, batch_size=batch_size, seed=seed, device=device,
    )  # fmt: skip
    loaded = load_space(space)
    settings = SearchSettings(
        task=task,
        budget_gflops=budget_gflops,
        space_name=loaded.name,
        space_digest=loaded.digest,
        sampler=sampler,  # type: ignore[arg-type]
        budget_scope=budget_scope,  # type: ignore[arg-type]
        seed=seed,
    )
    check_budget(settings, loaded)  # before torch is imported: a budget nothing can meet is said at once
    out = out or Path("runs") / f"{dataset.replace(':', '-').replace('/', '-')}-{budget_gflops:g}-{sampler}-s{seed}"

    from rich.console import Console

    from lstn_search.cli.progress import SearchProgress
    from lstn_search.report.tables import front_table
    from lstn_search.search.driver import search

    console = Console(highlight=False)
    try:
        with SearchProgress(console, trials) as progress:
            run = search(
                loaded,
                settings,
                out,
                trials=trials,
                minutes=minutes,
                resume=resume,
                cache_dir=cache_dir,
                watcher=progress,
            )
    except KeyboardInterrupt:
        console.print(f"\ninterrupted; what was trained is in {out}. To go on: the same command with --resume")
        raise typer.Exit(130) from None
    console.print(front_table(run))
    if run.folder.manifest.get("exhausted"):
        console.print("the space holds no further network within the budget: the search is complete")
    console.print(f"[dim]proposals over budget {run.num_rejected}, duplicates {run.num_duplicates}[/dim]")
    console.print(f"run folder: {out}    export the best: python cli.py export {out} --out DIR")
