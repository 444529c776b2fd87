"""Does the size that trials are trained at rank architectures as the size of deployment does?

Some architectures of a run are trained again at `image_size` instead of `trial_size`, with everything else the same, up
to one rung of the ladder. Results are kept in the run's `fidelity/`, one file a rung of an architecture, each whole or
not there; what is there is not trained again. No torch here: workers train.
"""

import dataclasses
import json
import logging
import time
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lstn_search.atomic import write_atomically
from lstn_search.errors import RunError, SettingError
from lstn_search.jobs.base import Ended, Engine, Job, Stage
from lstn_search.ranking.rank import MIN_ARCHITECTURES, Correlation, correlate
from lstn_search.runs.entries import Candidate, Entry
from lstn_search.runs.folder import checkpoint_file
from lstn_search.runs.lock import FolderLock
from lstn_search.spec.results import TrialResult
from lstn_search.spec.settings import SearchSettings
from lstn_search.spec.task import Task

if TYPE_CHECKING:
    from lstn_search.runs.run import Run

__all__ = ["deployment_correlation", "measure_deployment", "spread_over"]

FOLDER = "fidelity"
MakeEngine = Callable[[Task, Path], Engine]
"""Starts workers for a task; their logs and checkpoints go into the folder."""
OnStage = Callable[[str], None]

_log = logging.getLogger(__name__)


def deployment_correlation(run: "Run", *, seed: int = 0) -> Correlation | None:
    """The ladder's score at trial size against the same at deployment size, at the highest rung with enough of both.

    None when nothing has been trained at deployment size. `seed` is the bootstrap's.
    """
    from lstn_search.ranking.facts import highest_rung, scores_of

    settings = run.folder.settings
    if not _folder(run).is_dir():
        return None
    entries = [entry for entry in run.entries if entry.results and not entry.candidate.over_budget]
    again = [_kept(run, entry.candidate) for entry in entries]
    trial = scores_of(settings, entries)
    deployment = scores_of(settings, [entry for entry in again if entry.results])
    rung = highest_rung({r: len(deployment[r].values.keys() & trial[r].values.keys()) for r in deployment})
    if rung is None:
        return None
    measured = deployment[rung].values
    return correlate(
        f"{trial[rung].name} at {settings.task.trial_size} px",
        {number: value for number, value in trial[rung].values.items() if number in measured},
        f"{trial[rung].name} at {settings.task.image_size} px",
        measured,
        seed=seed,
    )


def measure_deployment(
    run: "Run",
    num: int,
    make_engine: MakeEngine,
    *,
    rung: int = 0,
    minutes: float | None = None,
    seed: int = 0,
    data_dir: str | None = None,
    on_stage: OnStage = lambda what: None,
) -> None:
    """Train `num` architectures of a run at its deployment size, up to `rung`; after `minutes` no further job starts.

    They are spread evenly over the rank that the run gives them at that rung (`seed` says which). Raises LstnError on
    bad input, before anything is trained. A job whose worker dies is run once more, then left for the next time.
    """
    task = _task(run.folder.settings)
    if minutes is not None and not minutes > 0:
        raise SettingError(f"minutes must be above 0, got {minutes}")
    unfinished = [
        entry
        for entry in (_kept(run, candidate) for candidate in _choose(run, num, rung, seed))
        if _needs_training(entry, rung)
    ]
    if not unfinished:
        return
    task = dataclasses.replace(task, data_dir=data_dir or task.data_dir)
    deadline = None if minutes is None else time.monotonic() + 60 * minutes
    with FolderLock(_folder(run), what="another process", unwritable="make room or access"):
        engine = make_engine(task, _folder(run))
        try:
            _prepare(run, engine, on_stage)
            _train(run, engine, deque(unfinished), rung, deadline, on_stage)
        finally:
            engine.close()


def spread_over(num: int, seed: int) -> list[int]:
    """The positions 0 to num - 1 in an order of which every beginning is spread evenly: a scrambled Halton sequence."""
    from scipy.stats.qmc import Halton  # type: ignore[import-untyped]

    sequence = Halton(d=1, scramble=True, rng=seed)
    order: dict[int, None] = {}
    while len(order) < num:
        order |= dict.fromkeys((sequence.random(num)[:, 0] * num).astype(int).tolist())
    return list(order)


def _choose(run: "Run", num: int, rung: int, seed: int) -> list[Candidate]:
    from lstn_search.ranking.facts import scores_of

    settings = run.folder.settings
    if isinstance(num, bool) or not isinstance(num, int) or num < MIN_ARCHITECTURES:
        raise SettingError(
            f"deployment must be at least {MIN_ARCHITECTURES} architectures, fewer are too few to say; got {num!r}"
        )
    if not 0 <= rung <= settings.ladder.top:
        raise SettingError(f"the rungs of {run.folder.path} are 0 to {settings.ladder.top}, got {rung}")
    candidates = {entry.candidate.number: entry.candidate for entry in run.entries if not entry.candidate.over_budget}
    scores = scores_of(settings, [entry for entry in run.entries if entry.results])[rung].values
    ranked = sorted(candidates.keys() & scores.keys(), key=lambda number: (-scores[number], number))
    if len(ranked) < num:
        raise SettingError(
            f"{run.folder.path} has {len(ranked)} architectures within the budget that were measured at rung {rung}, "
            f"not {num}: ask for fewer, for a lower --rung, or search on with --resume and more --trials"
        )
    return [candidates[ranked[position]] for position in spread_over(len(ranked), seed)[:num]]


# -- training ----------------------------------------------------------------------------------------------------------


def _prepare(run: "Run", engine: Engine, on_stage: OnStage) -> None:
    """Have one worker decode the images and warm the backbone at this size, for all of them."""
    engine.submit(Job(kind="prepare", name="prepare"))
    ended = None
    while ended is None:
        ended = next(_ended(engine, on_stage), None)
    if ended.facts is None:
        raise RunError(f"the task could not be prepared: {ended.died}")
    if ended.facts["data"]["fingerprint"] != run.folder.manifest["data"]["fingerprint"]:  # type: ignore[index]
        raise RunError(
            f"{run.folder.path} was made on other images of {run.folder.settings.task.dataset} (their hash differs); "
            "restore the images, or name their folder with --data-dir"
        )


def _train(
    run: "Run", engine: Engine, waiting: deque[Entry], rung: int, deadline: float | None, on_stage: OnStage
) -> None:
    """Take every entry up to `rung`, as many at a time as the engine has slots; each result is kept at once."""
    running: dict[str, Entry] = {}
    while True:
        while waiting and len(running) < engine.num_slots and (deadline is None or time.monotonic() < deadline):
            entry = waiting.popleft()
            running[entry.candidate.name] = entry
            job = Job(kind="rung", name=entry.candidate.name, arch=entry.candidate.arch, rung=len(entry.results))
            engine.submit(job)
        if not running:
            return
        for ended in _ended(engine, on_stage):
            entry = running.pop(ended.job.name)
            if ended.result is None:
                _log.warning("%s: %s; the same command tries it again", ended.job.name, ended.died)
                continue
            _keep(run, entry, ended.result)
            if _needs_training(entry, rung):
                waiting.appendleft(entry)


def _ended(engine: Engine, on_stage: OnStage) -> Iterator[Ended]:
    """The jobs that have ended meanwhile; one whose worker died for the first time is run again instead."""
    for event in engine.events(timeout=1.0):
        if isinstance(event, Stage):
            on_stage(f"{event.job.name}: {event.what}")
        elif event.user_error is not None:
            raise RunError(event.user_error)
        elif event.died is not None and event.job.attempt == 1:
            engine.submit(dataclasses.replace(event.job, attempt=2))
        else:
            yield event


def _needs_training(entry: Entry, rung: int) -> bool:
    return len(entry.results) <= rung and not (entry.results and entry.status == "failed")


# -- the files ---------------------------------------------------------------------------------------------------------


def _folder(run: "Run") -> Path:
    return run.folder.path / FOLDER


def _task(settings: SearchSettings) -> Task:
    """The task of a search, at deployment size."""
    task = settings.task
    if task.trial_size == task.image_size:
        raise SettingError(f"trials of this run were trained at the deployment size, {task.image_size} px, already")
    return dataclasses.replace(task, trial_size=task.image_size)


def _file(run: "Run", candidate: Candidate, rung: int) -> Path:
    return _folder(run) / f"{candidate.arch.digest[:16]}-{rung}.json"


def _header(run: "Run", candidate: Candidate, rung: int) -> dict[str, Any]:
    """What a kept result depends on."""
    settings = run.folder.settings
    task = _task(settings).compared("deployment")
    return {"arch": candidate.arch.digest, "rung": rung, "epochs": list(settings.ladder.epochs), "task": task}


def _kept(run: "Run", candidate: Candidate) -> Entry:
    """A candidate with what has been trained of it at deployment size."""
    entry = Entry(candidate=candidate)
    for rung in range(run.folder.settings.ladder.top + 1):
        try:
            content = json.loads(_file(run, candidate, rung).read_text(encoding="utf-8"))
            if {name: content.get(name) for name in _header(run, candidate, rung)} != _header(run, candidate, rung):
                break
            entry.results.append(TrialResult.from_dict(content["result"]))
        except (OSError, ValueError, KeyError, TypeError, AttributeError):  # not there, or not ours: trained (again)
            break
    return entry


def _keep(run: "Run", entry: Entry, result: TrialResult) -> None:
    """Write down what one more rung gave; the checkpoint of the rung below is not needed any more."""
    rung = len(entry.results)
    entry.results.append(result)
    content = _header(run, entry.candidate, rung) | {"name": entry.candidate.name, "result": result.to_dict()}
    file = _file(run, entry.candidate, rung)
    try:
        write_atomically(file, (json.dumps(content, indent=2) + "\n").encode())
    except OSError as error:
        raise RunError(f"{file} cannot be written ({error.strerror}); make room or access") from None
    if rung > 0:
        checkpoint_file(_folder(run), entry.candidate.arch, rung - 1).unlink(missing_ok=True)
