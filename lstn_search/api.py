"""The library's door: search, open and export, with plain arguments. Torch is loaded when they are called."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from lstn_search.jobs.launch import EngineOptions, run_job, start_engine, start_workers
from lstn_search.spec.ladder import Ladder
from lstn_search.spec.objectives import DEFAULT_OBJECTIVES
from lstn_search.spec.settings import BudgetScope, SamplerName, SearchSettings
from lstn_search.spec.space import Space
from lstn_search.spec.task import Task

if TYPE_CHECKING:
    from lstn_search.pages.page import WrittenReport
    from lstn_search.pictures.before_after import BeforeAfterInfo
    from lstn_search.ranking.facts import FidelityInfo
    from lstn_search.runs.run import Run
    from lstn_search.shipping.proof import Proof
    from lstn_search.study.search import Watcher
    from lstn_search.verification.result import Verification
    from lstn_search.verification.verify import Watcher as VerifyWatcher

__all__ = ["export", "fidelity", "open_run", "report", "search", "show", "verify"]

DEFAULT_ENGINE = EngineOptions()


def search(
    space: Space,
    task: Task,
    *,
    budget_gflops: float,
    out: str | Path,
    trials: int = 24,
    minutes: float | None = None,
    sampler: SamplerName = "tpe",
    budget_scope: BudgetScope = "localizer",
    ladder: Ladder | None = None,
    objectives: Sequence[str] = DEFAULT_OBJECTIVES,
    engine: EngineOptions = DEFAULT_ENGINE,
    retries: int = 1,
    storage: str | None = None,
    resume: bool = False,
    watcher: "Watcher | None" = None,
    log: Sequence[str] = (),
) -> "Run":
    """Search `space` for the best localization nets within `budget_gflops` (at `task.image_size`); see `Run`.

    `log` may name tensorboard and mlflow: every rung is then logged in the run folder as it ends (docs/tools.md).

    Raises LstnError on bad input, before anything is trained.
    """
    from lstn_search.study import search as driver
    from lstn_search.study.logs import Watchers, make_logs

    settings = SearchSettings(
        task=task,
        budget_gflops=budget_gflops,
        space_name=space.name,
        space_digest=space.digest,
        sampler=sampler,
        budget_scope=budget_scope,
        ladder=ladder or space.ladder,
        objectives=tuple(objectives),
        seed=task.seed,
    )
    with Watchers(watcher, *make_logs(log, space)) as watchers:
        return driver.search(
            space,
            settings,
            Path(out),
            lambda folder: start_engine(folder, engine),
            trials=trials,
            minutes=minutes,
            resume=resume,
            retries=retries,
            storage=storage,
            watcher=watchers,
        )


def open_run(path: str | Path) -> "Run":
    """What a search left in a folder, to read from. Raises RunError when it holds no run."""
    from lstn_search.runs import run

    return run.open_run(Path(path))


def export(run: "Run", pick: str, out: str | Path) -> "Proof":
    """Write one architecture of a run's front as code that needs only torch, with its weights; it proves itself."""
    from lstn_search.study.outputs import write_export

    return write_export(run, run.find(pick), Path(out))


def fidelity(
    run: "Run",
    *,
    deployment: int | None = None,
    rung: int = 0,
    minutes: float | None = None,
    engine: EngineOptions = DEFAULT_ENGINE,
    seed: int = 0,
    data_dir: str | Path | None = None,
    on_stage: Callable[[str], None] = lambda what: None,
) -> "FidelityInfo":
    """Which cheap measurements of a run rank its architectures; also written to the run folder as fidelity.json.

    With `deployment` that many architectures are first trained at the deployment size, up to `rung`; what is on file is
    not trained again, and after `minutes` nothing new is started. `data_dir` is where the images lie now; `on_stage` is
    told what is under way. Raises LstnError on bad input.
    """
    from lstn_search.ranking.deployment import measure_deployment
    from lstn_search.ranking.facts import fidelity_info, write_fidelity

    if deployment is not None:
        ladder = run.folder.settings.ladder
        measure_deployment(
            run,
            deployment,
            lambda task, folder: start_workers(task, ladder, folder, engine, run_job),
            rung=rung,
            minutes=minutes,
            seed=seed,
            data_dir=str(Path(data_dir).expanduser()) if data_dir else None,
            on_stage=on_stage,
        )
    info = fidelity_info(run, seed=seed)
    write_fidelity(run, info)
    return info


def verify(
    run: "Run",
    *,
    top: int = 2,
    seeds: int = 5,
    minutes: float | None = None,
    epochs: int | None = None,
    recover_steps: int | None = None,
    data_dir: str | Path | None = None,
    device: str | None = None,
    engine: EngineOptions = DEFAULT_ENGINE,
    retries: int = 1,
    watcher: "VerifyWatcher | None" = None,
) -> "Verification":
    """Retrain the `top` of a run's front, its seed points, control and oracle with `seeds` fresh seeds, and compare.

    The schedule is the search's longest unless `epochs` or `recover_steps` ask for more; `data_dir` and `device` are
    the run's. What is on file in the run folder is not trained again. Raises LstnError on bad input.
    """
    from lstn_search.verification import plan, work
    from lstn_search.verification import verify as driver

    settings = run.folder.settings
    asked = plan.make_plan(
        run,
        top=top,
        seeds=seeds,
        epochs=epochs,
        recover_steps=recover_steps,
        data_dir=str(Path(data_dir).expanduser()) if data_dir else None,
        device=device,
    )
    return driver.verify(
        asked,
        run.folder.path,
        lambda task, folder: start_workers(task, settings.ladder, folder, engine, work.run_job),
        minutes=minutes,
        retries=retries,
        watcher=watcher,
    )


def report(run: "Run", out: str | Path | None = None) -> "WrittenReport":
    """Write a run as one HTML page, report.html, into the folder `out` (by default the run's), its pictures in report/.

    Raises RunError when the folder cannot be written.
    """
    from lstn_search.pages import page

    return page.report(run, None if out is None else Path(out))


def show(
    run: "Run",
    pick: str,
    out: str | Path,
    *,
    images: str | Path | None = None,
    num_images: int | None = None,
    num_views: int = 3,
    seed: int = 0,
    animate: bool = False,
    data_dir: str | Path | None = None,
) -> "BeforeAfterInfo":
    """Draw what one architecture of a run does to validation images, or to those below `images`, into the file `out`.

    A .gif, or a .webp with `animate`, is a film of its training. Returns the facts of the picture, or of the film's
    end. Raises LstnError on bad input, and when weights, images or a film's snapshots are not there.
    """
    from lstn_search.pictures.before_after import draw_trained
    from lstn_search.pictures.trained import trained_of_run

    return draw_trained(
        trained_of_run(run, run.find(pick)),
        Path(out),
        images=Path(images).expanduser() if images else None,
        num_images=num_images,
        num_views=num_views,
        seed=seed,
        animate=animate,
        data_dir=Path(data_dir).expanduser() if data_dir else None,
    )
