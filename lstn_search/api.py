"""The library's door, with plain arguments. Torch is loaded by the functions that need it, when they are called."""

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lstn_search.jobs.launch import EngineOptions
from lstn_search.spec.arch import Arch
from lstn_search.spec.fields import expanded
from lstn_search.spec.ladder import DEFAULT_LADDER, Ladder
from lstn_search.spec.objectives import DEFAULT_OBJECTIVES
from lstn_search.spec.settings import BudgetScope, SamplerName, SearchSettings, check_budget
from lstn_search.spec.space import Space
from lstn_search.spec.task import Task

if TYPE_CHECKING:
    from torch.nn import Module

    from lstn_search.pages.page import WrittenReport
    from lstn_search.pictures.sightings import BeforeAfterInfo
    from lstn_search.ranking.deployment import DeploymentWatcher
    from lstn_search.ranking.facts import FidelityInfo
    from lstn_search.runs.run import Run
    from lstn_search.shipping.proof import Proof
    from lstn_search.spec.results import TrialResult
    from lstn_search.study.search import SearchWatcher
    from lstn_search.training.evaluation import EvalReport
    from lstn_search.verification.result import Verification
    from lstn_search.verification.verify import VerifyWatcher

__all__ = [
    "backbone",
    "dataset",
    "evaluate",
    "export",
    "fidelity",
    "open_run",
    "report",
    "search",
    "show",
    "train",
    "verify",
]

DEFAULT_ENGINE = EngineOptions()

OnStage = Callable[[str], None]
"""Told what is under way: "data", "recover", "joint 1/4", …"""


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
    start_from: "str | Path | Run | None" = None,
    engine: EngineOptions = DEFAULT_ENGINE,
    retries: int = 1,
    storage: str | None = None,
    resume: bool = False,
    watcher: "SearchWatcher | None" = None,
    log: Sequence[str] = (),
) -> "Run":
    """Search `space` for the best localization nets within `budget_gflops` (at `task.image_size`); see `Run`.

    A view of it is drawn in a terminal and in a notebook; elsewhere its lines go to the log `lstn_search`, at level
    INFO. A `watcher` is told instead.

    What stands on the front of the run `start_from` and fits the budget is trained first, and counts as a trial.
    `log` may name tensorboard and mlflow: every rung is then logged in the run folder as it ends (docs/tools.md).

    Raises LstnError on bad input, before anything is trained.
    """
    settings = SearchSettings(
        task=_located(task, engine),
        budget_gflops=budget_gflops,
        space_name=space.name,
        space_digest=space.digest,
        sampler=sampler,
        budget_scope=budget_scope,
        ladder=ladder or space.ladder,
        objectives=tuple(map(str.strip, objectives.split(",")) if isinstance(objectives, str) else objectives),
        start_from=_path_of(start_from),
        seed=task.seed,
    )
    check_budget(settings, space)
    with _followed(watcher, "SearchProgress", trials) as watcher:  # from here on torch and Optuna are loaded
        from lstn_search.jobs.loop import Watchers
        from lstn_search.study.logs import make_logs
        from lstn_search.study.search import search as run_search

        return run_search(
            space,
            settings,
            Path(out),
            engine.start,
            trials=trials,
            minutes=minutes,
            resume=resume,
            retries=retries,
            storage=storage,
            watcher=Watchers(watcher, *make_logs(log, space)),
        )


def _path_of(run: "str | Path | Run | None") -> str | None:
    """Of a run that is given as itself or as its folder."""
    if run is None:
        return None
    return str(Path(run).expanduser() if isinstance(run, str | Path) else run.folder.path)


def train(
    arch: Arch,
    task: Task,
    *,
    rung: int = 0,
    ladder: Ladder | None = None,
    checkpoints: str | Path | None = None,
    cache_dir: str | Path | None = None,
    on_stage: OnStage = lambda what: None,
) -> "TrialResult":
    """Train one architecture up to a rung of the ladder, in this process: for a loop of your own.

    The first rungs are recover (paper's protocol: the only rung is the whole training). With a folder for
    `checkpoints`, of this task and ladder alone, the next call, for a higher rung, goes on from where this one stopped;
    without one it starts again. A diverged training is a result with the status `failed`. Raises LstnError on bad
    input.
    """
    import tempfile

    from lstn_search.data.cache import default_cache_dir

    task = _located(task, DEFAULT_ENGINE)
    from lstn_search.jobs.work import climb, prepared_task

    task.check_tag()
    ladder = Ladder(epochs=()) if task.protocol == "paper" else ladder or DEFAULT_LADDER
    ladder.check_rung(rung)
    prepared = prepared_task(task, expanded(cache_dir) if cache_dir else default_cache_dir(), on_stage)
    if checkpoints is not None:
        return climb(prepared, arch, ladder, rung, expanded(checkpoints), on_stage)
    with tempfile.TemporaryDirectory(prefix="lstn-train-") as folder:
        return climb(prepared, arch, ladder, rung, Path(folder), on_stage)


def backbone(module: "Module", *, cache_dir: str | Path | None = None) -> str:
    """Write a torch module into the cache, with its weights, and return the name of it for `Task(backbone=...)`.

    It is taken as the warm classifier as it is: it gives a row of as many numbers as there are classes, in the order of
    their names, and is not trained alone. Its classes lie in files that workers can import. A classifier that is yet to
    be trained is given to Task as a function that makes it. Raises BackboneError when it cannot be saved.
    """
    from lstn_search.data.cache import default_cache_dir
    from lstn_search.nets.brought import save_module

    return save_module(module, Path(cache_dir).expanduser() if cache_dir else default_cache_dir())


def dataset(
    train: Any,
    labels: Any = None,
    *,
    val: Any = None,
    test: Any = None,
    class_names: Sequence[str] | None = None,
    name: str = "images",
    cache_dir: str | Path | None = None,
) -> str:
    """Write images into the cache as files, and return the name of them for `Task(dataset=...)`.

    `train`, and perhaps `val` and `test`, are torch Datasets or pairs (images, labels) of arrays: N x H x W x 3 (x 1 or
    N x H x W: grey), uint8 or float in [0, 1], and whole numbers from 0 on. `dataset(images, labels)` is short for the
    pair. What of `val` and `test` is missing is cut out of `train`, 15 % each. The name holds a digest of the
    content: equal images are written once. Raises DataError.
    """
    from lstn_search.data.arrays import write_images
    from lstn_search.data.cache import default_cache_dir

    parts = {"train": train if labels is None else (train, labels), "val": val, "test": test}
    folder = (Path(cache_dir).expanduser() if cache_dir else default_cache_dir()) / "arrays"
    given = {part: source for part, source in parts.items() if source is not None}
    return write_images(given, folder, name=name, class_names=class_names)


def evaluate(
    arch: Arch | None,
    task: Task,
    *,
    name: str = "arch",
    out: str | Path | None = None,
    force: bool = False,
    cache_dir: str | Path | None = None,
    on_stage: OnStage = lambda what: None,
) -> "EvalReport":
    """Train one architecture (None: none) at the task's schedule and test it once, beside control and oracle.

    `out` gets report.json and the trained model as code, as from `eval --out`; `force` as for `export`.
    `Task(**FULL_SCHEDULE, ...)` is the schedule of the command. Raises LstnError on bad input.
    """
    from lstn_search.data.cache import default_cache_dir

    task = _located(task, DEFAULT_ENGINE)
    from lstn_search.jobs.work import prepared_task
    from lstn_search.shipping.export import write_evaluation
    from lstn_search.training.evaluation import evaluate as run_evaluation

    task.check_tag()
    cache = expanded(cache_dir) if cache_dir else default_cache_dir()
    prepared = prepared_task(task, cache, on_stage)
    report, model = run_evaluation(prepared, arch, name=name, cache_dir=cache, on_stage=on_stage)
    if out is not None:
        write_evaluation(expanded(out), report, model, prepared.bench, force=force)
    return report


def open_run(path: str | Path, *, storage: str | None = None) -> "Run":
    """What a search left in a folder, to read from. Raises RunError when it holds no run.

    `storage` is the URL of the run's study, where that is not in the folder: a manifest alone opens no database.
    """
    from lstn_search.runs.run import open_run as open_folder

    return open_folder(Path(path), storage=storage)


def export(run: "Run", pick: str, out: str | Path, *, force: bool = False) -> "Proof":
    """Write one architecture of a run's front as code that needs only torch, with its weights; it proves itself.

    What was exported to `out` before is replaced as a whole. Raises RunError when others' files lie there, unless
    `force`: then those of the same names are replaced, and the rest stays.
    """
    from lstn_search.shipping.export import write_export

    return write_export(run, run.find(pick), Path(out), force=force)


def fidelity(
    run: "Run",
    *,
    deployment: int | None = None,
    rung: int = 0,
    minutes: float | None = None,
    engine: EngineOptions = DEFAULT_ENGINE,
    retries: int = 1,
    seed: int = 0,
    data_dir: str | Path | None = None,
    poses: str | Path | None = None,
    watcher: "DeploymentWatcher | None" = None,
) -> "FidelityInfo":
    """Which cheap measurements of a run rank its architectures; also written to the run folder as fidelity.json.

    With `deployment` that many architectures are first trained at the deployment size, up to `rung`; what is on file is
    not trained again, and after `minutes` nothing new is started. `data_dir` and `poses` are where the run's images and
    poses lie now. Raises LstnError on bad input.
    """
    from lstn_search.ranking.deployment import measure_deployment
    from lstn_search.ranking.facts import fidelity_info, write_fidelity

    if deployment is not None:
        folder = str(expanded(data_dir)) if data_dir else run.task.data_dir
        _located(dataclasses.replace(run.task, data_dir=folder), engine)
        with _followed(watcher, "FidelityProgress") as watcher:
            measure_deployment(
                run,
                deployment,
                engine.start,
                rung=rung,
                minutes=minutes,
                retries=retries,
                seed=seed,
                data_dir=folder,
                poses=str(poses) if poses else None,
                watcher=watcher,
            )
    info = fidelity_info(run, seed=seed)
    write_fidelity(run, info)
    return info


def verify(
    run: "Run",
    *,
    top: int = 2,
    seeds: int = 5,
    against: Sequence[str] | None = None,
    minutes: float | None = None,
    epochs: int | None = None,
    recover_steps: int | None = None,
    data_dir: str | Path | None = None,
    poses: str | Path | None = None,
    device: str | None = None,
    engine: EngineOptions = DEFAULT_ENGINE,
    retries: int = 1,
    watcher: "VerifyWatcher | None" = None,
) -> "Verification":
    """Retrain the `top` of a run's front, its seed points, control and oracle with `seeds` fresh seeds, and compare.

    `against` names the seed points, if not all. The schedule is the search's longest unless `epochs` or `recover_steps`
    ask for more; `data_dir`, `poses` (both where they lie now) and `device` are the run's. What is on file in the run
    folder is not trained again. Raises LstnError on bad input.
    """
    from lstn_search.verification.plan import make_plan
    from lstn_search.verification.verify import verify as run_verification

    plan = make_plan(
        run,
        top=top,
        seeds=seeds,
        against=against,
        epochs=epochs,
        recover_steps=recover_steps,
        data_dir=str(expanded(data_dir)) if data_dir else None,
        poses=str(poses) if poses else None,
        device=device,
    )
    plan = dataclasses.replace(plan, task=_located(plan.task, engine))
    with _followed(watcher, "VerifyProgress") as watcher:
        return run_verification(plan, run.folder, engine.start, minutes=minutes, retries=retries, watcher=watcher)


def report(run: "Run", out: str | Path | None = None) -> "WrittenReport":
    """Write a run as one HTML page, report.html, into the folder `out` (by default the run's), its pictures in report/.

    Raises RunError when the folder cannot be written.
    """
    from lstn_search.pages.page import report as write_report

    return write_report(run, None if out is None else Path(out))


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
        images=expanded(images) if images else None,
        num_images=num_images,
        num_views=num_views,
        seed=seed,
        animate=animate,
        data_dir=expanded(data_dir) if data_dir else None,
    )


def _located(task: Task, engine: EngineOptions) -> Task:
    """The task with the folder of its images, which are there; of a Ray cluster only its nodes need to have them."""
    from lstn_search.data.places import located

    return located(task) if engine.engine == "local" else task


@contextlib.contextmanager
def _followed(watcher: Any, kind: str, *about: Any) -> Iterator[Any]:
    """The watcher, or without one the usual view: drawn where somebody looks on, elsewhere lines of the log."""
    if watcher is not None:
        yield watcher
        return
    from lstn_search.watch import progress

    with getattr(progress, kind)(progress.usual_console(), *about) as view:
        yield view
