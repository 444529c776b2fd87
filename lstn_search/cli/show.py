"""The command `show`: what a trained localizer does to images, as a picture or as a film of its training."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lstn_search.cli.arch_words import name_arch, split_run
from lstn_search.cli.evaluate import full_schedule_task
from lstn_search.cli.options import (
    Given,
    RunStorage,
    SeedPointSpace,
    check_writable,
    options,
    with_settings,
)
from lstn_search.data.places import located
from lstn_search.errors import RunError, SettingError
from lstn_search.jobs.launch import EngineOptions
from lstn_search.spec.fields import OUTPUT, option_name
from lstn_search.spec.task import Task

if TYPE_CHECKING:
    from lstn_search.pictures.sightings import BeforeAfterInfo
    from lstn_search.pictures.trained import Trained

__all__ = ["register"]

REPORT = "report.json"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("show")(show_command)


@with_settings(
    of_task=options(Task, place="full", words={"seed": "Of the images and warps shown, and of the training."}),
    of_engine=options(EngineOptions, "cache_dir"),
)
def show_command(
    of_task: Given,
    of_engine: Given,
    trained: Annotated[
        str | None,
        typer.Argument(
            metavar="[RUN[:WHICH]]",
            help="A run, and best (the default), knee, max-gflops=X, a name or a number; or what eval --out wrote.",
            show_default=False,
        ),
    ] = None,
    arch: Annotated[str | None, typer.Option(help="Train this first, as eval would, with the settings below.")] = None,
    space: SeedPointSpace = "lstn",
    images: Annotated[
        Path | None, typer.Option(help="A folder of image files to show instead of validation images.")
    ] = None,
    num_images: Annotated[int | None, typer.Option(help="How many images.", show_default="6, in a film 3")] = None,
    num_views: Annotated[int, typer.Option(help="Warps of each image, beside the image as it is.")] = 3,
    out: Annotated[
        Path | None,
        typer.Option(help=".png, .webp, .jpg or .gif.", show_default="show-NAME.png", rich_help_panel=OUTPUT),
    ] = None,
    storage: RunStorage = None,
    animate: Annotated[
        bool,
        typer.Option(
            "--animate", help="A film of the training, as .gif or .webp; a .gif always is one.", rich_help_panel=OUTPUT
        ),
    ] = False,
) -> None:
    """Draw images before and after the transformer, with what the classifier says of both.

    Each image is shown as it is and under warps of the task's view: the input with the frame the transformer looks
    through, and its output. Validation images, at random, one a class; never test images.
    """
    if (trained is None) == (arch is None):
        raise SettingError("show takes a run, or --arch with a network to train; for example: show runs/demo:best")
    of_training = [name for name in of_task if name not in ("data_dir", "seed")]
    if arch is None and of_training:
        raise SettingError(f"{option_name(of_training[0])} goes with --arch: {trained} brings its own")
    if out is not None:
        from lstn_search.pictures.before_after_drawing import check_suffix

        animate = animate or out.suffix.lower() == ".gif"
        check_suffix(out, film=animate)
        check_writable(out.parent)

    from lstn_search.pictures.before_after import draw_trained
    from lstn_search.watch.console import make_console

    cache_dir = of_engine.get("cache_dir")
    if arch is None:
        assert trained is not None
        parts = _load(trained, storage)
    else:
        parts = _train(arch, space, storage, of_task, cache_dir, animate=animate)
    file = out or Path(f"show-{parts.name}.{'gif' if animate else 'png'}")
    info = draw_trained(
        parts,
        file,
        images=images,
        num_images=num_images,
        num_views=num_views,
        seed=of_task.get("seed", 0),
        animate=animate,
        data_dir=Path(of_task["data_dir"]) if "data_dir" in of_task else None,
        cache_dir=cache_dir,
    )
    make_console().print(_summary(file, info), soft_wrap=True)


def _load(text: str, storage: str | None) -> "Trained":
    """What a run or an evaluation left. Raises RunError when the folder holds neither."""
    from lstn_search.pictures.trained import trained_of_evaluation, trained_of_run

    if (found := split_run(text)) is not None:
        from lstn_search.runs.run import open_run

        folder, which = found
        run = open_run(folder, storage=storage)
        return trained_of_run(run, run.find(which))
    if (Path(text) / REPORT).is_file():
        return trained_of_evaluation(Path(text))
    raise RunError(f"{text} holds neither a run nor an evaluation; give the folder that search or eval --out wrote")


def _train(
    arch: str, space: str, storage: str | None, given: Given, cache_dir: Path | None, *, animate: bool
) -> "Trained":
    """Train an architecture as `eval` would, but for the test."""
    from lstn_search.data.cache import default_cache_dir
    from lstn_search.pictures.before_after import check_film
    from lstn_search.pictures.trained import train_for_show
    from lstn_search.spec.cost import check_trainable
    from lstn_search.training.prepared import prepare
    from lstn_search.watch.console import make_console

    named = name_arch(arch, space, storage)
    chosen, name = named.arch, named.name
    if chosen is None:
        raise SettingError("--arch none has no transformer, so there is nothing to show; name a network")
    task = located(full_schedule_task(given, named.task))
    if animate:
        check_film(task)
    check_trainable(chosen, task.image_size, task.trial_size)  # before anything is loaded
    with make_console(stderr=True).status("data") as status:
        prepared = prepare(task, cache_dir or default_cache_dir(), status.update)
        return train_for_show(prepared, chosen, name=name, on_stage=status.update)


def _summary(file: Path, info: "BeforeAfterInfo") -> str:
    views = "as it is" if len(info.views) == 1 else f"in {len(info.views)} views"
    counted = f"{len(info.images)} image{'' if len(info.images) == 1 else 's'} {views}"
    if info.num_right is not None:
        without, right = info.num_right
        counted = f"{counted}; right in {right} of {len(info.sightings)}, without the warp in {without}"
    return f"{file}: {info.title}\n{counted}"
