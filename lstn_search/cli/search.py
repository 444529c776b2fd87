"""The command `search`."""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lstn_search.cli.options import (
    Backbone,
    BatchSize,
    CacheDir,
    DataDir,
    Dataset,
    Device,
    EngineChoice,
    Epochs,
    GpusPerJob,
    ImageSize,
    MaxEpochs,
    Precision,
    ProtocolName,
    RayAddress,
    RecoverSteps,
    Retries,
    Seed,
    StoragePath,
    TrialSize,
    ViewName,
    ViewStrength,
    WarmEpochs,
    Workers,
    make_task,
)
from lstn_search.spec.objectives import DEFAULT_OBJECTIVES, OBJECTIVES
from lstn_search.spec.task import DEFAULT_BACKBONE

if TYPE_CHECKING:
    from lstn_search.spec.ladder import Ladder
    from lstn_search.spec.settings import SearchSettings
    from lstn_search.study.logs import RungLog

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("search")(search_command)


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
    sampler: Annotated[str, typer.Option(help="tpe, nsga2, evolution or random.")] = "tpe",
    ladder: Annotated[
        str | None,
        typer.Option(
            help="Joint epochs in all at rung 1, 2, ...; rung 0 is recover.", show_default="the space's, 2,6,18"
        ),
    ] = None,
    eta: Annotated[
        int | None, typer.Option(help="One in eta of a rung climbs; 1: all.", show_default="the space's, 3")
    ] = None,
    workers: Workers = None,
    engine: EngineChoice = "local",
    ray_address: RayAddress = None,
    storage_path: StoragePath = None,
    gpus_per_job: GpusPerJob = None,
    storage: Annotated[
        str | None,
        typer.Option(help="A database for the study instead of the folder's SQLite file.", show_default=False),
    ] = None,
    retries: Retries = 1,
    budget_scope: Annotated[
        str, typer.Option(help="localizer, or stn: with grid generator and sampler.")
    ] = "localizer",
    objectives: Annotated[
        str, typer.Option(help=f"What the front is of, with commas; known: {', '.join(OBJECTIVES)}.")
    ] = ",".join(DEFAULT_OBJECTIVES),
    view: ViewName = None,
    view_strength: ViewStrength = 1.0,
    protocol: ProtocolName = "recover",
    epochs: Epochs = None,
    max_epochs: MaxEpochs = None,
    recover_steps: RecoverSteps = None,
    warm_epochs: WarmEpochs = None,
    batch_size: BatchSize = None,
    seed: Seed = 0,
    log: Annotated[
        list[str] | None,
        typer.Option(help="Also log every rung for tensorboard or mlflow, in the run folder; may be given twice."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="The run folder.", show_default="runs/DATASET[-BACKBONE]-BUDGET-SAMPLER-sSEED")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in the folder.")] = False,
    precision: Precision = "auto",
    device: Device = "auto",
    cache_dir: CacheDir = None,
) -> None:
    """Search for the best localization nets under a FLOP budget.

    Trials see rotated, shifted and scaled images by default (--view affine): on upright ones every localizer ties.
    """
    from lstn_search.jobs.launch import EngineOptions, start_engine
    from lstn_search.spec.settings import SearchSettings, check_budget
    from lstn_search.spec.space import load_space

    task = make_task(
        dataset=dataset, data_dir=data_dir, image_size=image_size, trial_size=trial_size, backbone=backbone,
        view=view, view_strength=view_strength, protocol=protocol, epochs=epochs, max_epochs=max_epochs,
        recover_steps=recover_steps, warm_epochs=warm_epochs, batch_size=batch_size, seed=seed,
        precision=precision, device=device,
    )  # fmt: skip
    loaded = load_space(space)
    settings = SearchSettings(
        task=task,
        budget_gflops=budget_gflops,
        space_name=loaded.name,
        space_digest=loaded.digest,
        sampler=sampler,  # type: ignore[arg-type]
        budget_scope=budget_scope,  # type: ignore[arg-type]
        ladder=_ladder(loaded.ladder, ladder, eta),
        objectives=tuple(name.strip() for name in objectives.split(",")),
        seed=seed,
    )
    options = EngineOptions(
        engine=engine,  # type: ignore[arg-type]
        workers=workers,
        cache_dir=cache_dir,
        ray_address=ray_address,
        storage_path=storage_path,
        gpus_per_job=gpus_per_job,
    )
    check_budget(settings, loaded)  # before torch is imported: a budget nothing can meet is said at once
    logs: tuple[RungLog, ...] = ()
    if log:
        from lstn_search.study.logs import make_logs  # it imports optuna

        logs = make_logs(log, loaded)
    out = out or _default_out(settings)

    from lstn_search.cli.progress import SearchProgress, make_console
    from lstn_search.cli.tables import front_table
    from lstn_search.ranking.facts import warnings
    from lstn_search.study.logs import Watchers
    from lstn_search.study.search import search

    console = make_console()
    progress = SearchProgress(console, trials)
    try:
        with progress, Watchers(progress, *logs) as watcher:
            run = search(
                loaded,
                settings,
                out,
                lambda folder: start_engine(folder, options),
                trials=trials,
                minutes=minutes,
                resume=resume,
                retries=retries,
                storage=storage,
                watcher=watcher,
            )
    except KeyboardInterrupt:
        if progress.run is not None and progress.run.front:
            console.print(front_table(progress.run))
        console.print(f"interrupted; what was trained is in {out}. To go on: the same command with --resume")
        raise typer.Exit(130) from None
    console.print(front_table(run))
    if run.folder.manifest.get("exhausted"):
        console.print("no further network within the budget turned up: the space is exhausted")
    counts = run.folder.manifest["counts"]
    console.print(f"not trained: {counts['rejected']} proposals over budget, {counts['duplicates']} duplicates")
    for note in (*run.notes, *warnings(run)):
        typer.echo(f"warning: {note}", err=True)
    console.print(f"run folder: {out}")
    console.print(f"to look at it: python cli.py report {out}")
    if run.front:
        console.print(f"to see what of it is luck: python cli.py verify {out}")
        console.print(f"to export the best: python cli.py export {out} --out DIR")


def _default_out(settings: "SearchSettings") -> Path:
    """runs/glyphs-0.03-tpe-s0, runs/glyphs-resnet18-0.03-tpe-s0; a folder of images goes by its own name."""
    dataset = Path(settings.task.dataset.removeprefix("folder:")).absolute().name
    backbone = "" if settings.task.backbone == DEFAULT_BACKBONE else f"-{settings.task.backbone.replace('/', '_')}"
    return Path("runs") / f"{dataset}{backbone}-{settings.budget_gflops:g}-{settings.sampler}-s{settings.seed}"


def _ladder(default: "Ladder", text: str | None, eta: int | None) -> "Ladder":
    """The space's ladder, with what was given on the command line."""
    eta = default.eta if eta is None else eta
    return dataclasses.replace(default, eta=eta) if text is None else default.parse(text, eta)
