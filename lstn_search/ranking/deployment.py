"""Does the size that trials are trained at rank architectures as the size of deployment does?

Some architectures of a run are trained again at `image_size` instead of `trial_size`, with everything else the same, up
to one rung of the ladder. Results are kept in the run's `fidelity/`, one file a rung of an architecture, each whole or
not there; what is there is not trained again. No torch here: workers train.
"""

import dataclasses
import json
import logging
from collections import deque
from pathlib import Path
from typing import Any

from lstn_search.errors import SettingError
from lstn_search.jobs.base import Ended, Job
from lstn_search.jobs.loop import MakeEngine, Watcher, check_limits, deadline_after, prepare_task, run_jobs
from lstn_search.ranking.measures import highest_rung, scores_of
from lstn_search.ranking.rank import MIN_ARCHITECTURES, Correlation, correlate
from lstn_search.runs.entries import Candidate, Entry
from lstn_search.runs.folder import checkpoint_file, save
from lstn_search.runs.lock import FolderLock
from lstn_search.runs.run import Run
from lstn_search.spec.reading import read_json
from lstn_search.spec.results import TrialResult
from lstn_search.spec.task import Task

__all__ = ["DeploymentWatcher", "deployment_correlation", "measure_deployment", "spread_over"]

FOLDER = "fidelity"

_log = logging.getLogger(__name__)


def deployment_correlation(run: Run, *, seed: int = 0) -> Correlation | None:
    """The ladder's score at trial size against the same at deployment size, at the highest rung with enough of both.

    None when nothing has been trained at deployment size. `seed` is the bootstrap's.
    """
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
    run: Run,
    num: int,
    make_engine: MakeEngine,
    *,
    rung: int = 0,
    minutes: float | None = None,
    retries: int = 1,
    seed: int = 0,
    data_dir: str | None = None,
    poses: str | None = None,
    watcher: "DeploymentWatcher | None" = None,
) -> None:
    """Train `num` architectures of a run at its deployment size, up to `rung`; after `minutes` no further job starts.

    They are spread evenly over the rank that the run gives them at that rung (`seed` says which). Raises LstnError on
    bad input, before anything is trained. A job whose worker dies is run again up to `retries` times, then left for the
    next time.
    """
    task, watcher = _task(run), watcher or DeploymentWatcher()
    check_limits(minutes, retries)
    run.folder.check_same_recipe(cure="search anew")
    entries = [_kept(run, candidate) for candidate in _choose(run, num, rung, seed)]
    source = Deployments(run, [entry for entry in entries if _needs_training(entry, rung)], rung, watcher)
    if not source.waiting:
        return
    task = dataclasses.replace(task, data_dir=data_dir or task.data_dir, poses=poses or task.poses)
    deadline = deadline_after(minutes)
    with FolderLock(_folder(run), what="another process", unwritable="make room or access"):
        engine = make_engine(task, run.folder.settings.ladder, _folder(run))
        try:
            facts = prepare_task(engine, watcher, precision=task.precision, retries=retries)
            cure = "say where they are with --data-dir and --poses"
            run.folder.check_same_images(facts, cure=cure, at_another_size=True)
            watcher.on_ready(source)
            run_jobs(source, engine, watcher, retries=retries, deadline=deadline)
        finally:
            engine.close()


class Deployments:
    """What is trained at deployment size: every waiting entry, rung by rung."""

    def __init__(self, run: Run, entries: list[Entry], rung: int, watcher: "DeploymentWatcher") -> None:
        self.run, self.rung, self.watcher = run, rung, watcher
        self.waiting = deque(entries)
        self.running: dict[str, Entry] = {}

    def next_job(self) -> Job | None:
        """The next rung of the first that waits."""
        if not self.waiting:
            return None
        entry = self.waiting.popleft()
        candidate = entry.candidate
        self.running[candidate.name] = entry
        precision = self.run.task.precision
        return Job(kind="rung", name=candidate.name, arch=candidate.arch, rung=len(entry.results), precision=precision)

    def ended(self, ended: Ended) -> None:
        """Keep the result at once."""
        entry = self.running.pop(ended.job.name)
        if ended.result is None:
            _log.warning("%s: %s; the same command tries it again", ended.job.name, ended.died)
            return
        _keep(self.run, entry, ended.result)
        self.watcher.on_result(self, entry)
        if _needs_training(entry, self.rung):
            self.waiting.appendleft(entry)


DeploymentWatcher = Watcher[Deployments, Entry]


def spread_over(num: int, seed: int) -> list[int]:
    """The positions 0 to num - 1 in an order of which every beginning is spread evenly: a scrambled Halton sequence."""
    from scipy.stats.qmc import Halton  # type: ignore[import-untyped]

    sequence = Halton(d=1, scramble=True, rng=seed)
    order: dict[int, None] = {}
    while len(order) < num:
        order |= dict.fromkeys((sequence.random(num)[:, 0] * num).astype(int).tolist())
    return list(order)


def _choose(run: Run, num: int, rung: int, seed: int) -> list[Candidate]:
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


def _needs_training(entry: Entry, rung: int) -> bool:
    return len(entry.results) <= rung and not (entry.results and entry.status == "failed")


# -- the files ---------------------------------------------------------------------------------------------------------


def _folder(run: Run) -> Path:
    return run.folder.path / FOLDER


def _task(run: Run) -> Task:
    """The task of a search, in the precision it settled on, at deployment size."""
    task = run.task
    if task.trial_size == task.image_size:
        raise SettingError(f"trials of this run were trained at the deployment size, {task.image_size} px, already")
    return dataclasses.replace(task, trial_size=task.image_size)


def _file(run: Run, candidate: Candidate, rung: int) -> Path:
    return _folder(run) / f"{candidate.arch.digest[:16]}-{rung}.json"


def _header(run: Run, candidate: Candidate, rung: int) -> dict[str, Any]:
    """What a kept result depends on."""
    settings = run.folder.settings
    task = _task(run).compared("deployment")
    header = {"arch": candidate.arch.digest, "rung": rung, "epochs": list(settings.ladder.epochs), "task": task}
    return header | ({"recover": list(settings.ladder.recover)} if settings.ladder.recover else {})


def _kept(run: Run, candidate: Candidate) -> Entry:
    """A candidate with what has been trained of it at deployment size."""
    entry = Entry(candidate=candidate)
    for rung in range(run.folder.settings.ladder.top + 1):
        try:
            content = read_json(_file(run, candidate, rung))
            if {name: content.get(name) for name in _header(run, candidate, rung)} != _header(run, candidate, rung):
                break
            entry.results.append(TrialResult.from_dict(content["result"]))
        except (OSError, ValueError, KeyError, TypeError, AttributeError):  # not there, or not ours: trained (again)
            break
    return entry


def _keep(run: Run, entry: Entry, result: TrialResult) -> None:
    """Write down what one more rung gave; the checkpoint of the rung below is not needed any more."""
    rung = len(entry.results)
    entry.results.append(result)
    content = _header(run, entry.candidate, rung) | {"name": entry.candidate.name, "result": result.to_dict()}
    file = _file(run, entry.candidate, rung)
    save(file, json.dumps(content, indent=2) + "\n")
    if rung > 0:
        checkpoint_file(_folder(run), entry.candidate.arch, rung - 1).unlink(missing_ok=True)
