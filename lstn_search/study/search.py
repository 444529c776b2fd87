"""The search itself: prepare the task, keep every worker busy with what the schedule asks for, record the results.

The driver never trains: it asks the study, follows the schedule, and hands jobs to an engine. It alone writes the
study, each finished rung before anything else is done with it, so that a crash at any instant loses only what was in
flight.
"""

import dataclasses
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from lstn_search.errors import LstnError, RunError, SettingError
from lstn_search.jobs.base import Ended, Engine, Job, Stage
from lstn_search.runs.entries import Candidate, Entry, score
from lstn_search.runs.folder import RunFolder, checkpoint_file
from lstn_search.runs.run import Run
from lstn_search.spec.results import References, TrialResult
from lstn_search.spec.settings import SearchSettings, check_budget
from lstn_search.spec.space import Space
from lstn_search.study.schedule import Schedule
from lstn_search.study.study import Study

__all__ = ["MakeEngine", "Watcher", "search"]

MakeEngine = Callable[[RunFolder], Engine]
"""Starts the workers of a search in its folder."""


class Watcher(Protocol):
    """Whoever shows the progress of a search."""

    def on_stage(self, name: str, what: str) -> None:
        """A job (an architecture's name, `prepare`, `control` or `oracle`) began a stage."""

    def on_end(self, name: str) -> None:
        """The job ended, however."""

    def on_ready(self, run: "Run") -> None:
        """The task is prepared, training begins."""

    def on_rung(self, run: "Run", entry: Entry) -> None:
        """An architecture has finished a rung."""


def search(
    space: Space,
    settings: SearchSettings,
    out: Path,
    make_engine: MakeEngine,
    *,
    trials: int,
    minutes: float | None = None,
    resume: bool = False,
    retries: int = 1,
    storage: str | None = None,
    watcher: Watcher | None = None,
) -> Run:
    """Search until `trials` architectures (besides the seed points) have climbed as far as they deserve.

    After `minutes` nothing new is started. A job whose worker dies is run again up to `retries` times. Raises LstnError
    on bad input before anything is trained. A KeyboardInterrupt leaves a complete folder behind.
    """
    if trials < 1:
        raise SettingError(f"trials must be at least 1, got {trials}")
    if minutes is not None and not minutes > 0:
        raise SettingError(f"minutes must be above 0, got {minutes}")
    if retries < 0:
        raise SettingError(f"retries must be at least 0, got {retries}")
    check_budget(settings, space)
    start = time.monotonic()
    folder = RunFolder.create(out, settings, resume=resume, storage=storage)
    is_new = "data" not in folder.manifest
    try:
        engine = make_engine(folder)
        try:
            prepared = _Prepared(folder, engine, watcher, retries=retries)
            study = Study(folder, space)
            run = Run(folder=folder, entries=study.entries, references=prepared.references)
            loop = _Loop(study, run, engine, watcher, retries=retries)
            if watcher:
                watcher.on_ready(run)
            try:
                loop.run_all(trials, None if minutes is None else start + 60 * minutes)
            finally:
                engine.close()
                _finish(study, run, start, watcher)
        finally:
            engine.close()
        return run
    except LstnError:
        if is_new and "data" not in folder.manifest:
            folder.discard()
        raise
    finally:
        folder.release()


class _Prepared:
    """The task made ready by a worker, its facts in the manifest."""

    def __init__(self, folder: RunFolder, engine: Engine, watcher: Watcher | None, *, retries: int) -> None:
        engine.submit(Job(kind="prepare", name="prepare", precision=folder.manifest.get("precision", "auto")))
        facts = None
        while facts is None:
            for event in engine.events(timeout=1.0):
                if isinstance(event, Stage):
                    if watcher:
                        watcher.on_stage(event.job.name, event.what)
                    continue
                if watcher:
                    watcher.on_end(event.job.name)
                if event.user_error is not None:
                    raise RunError(event.user_error)
                if event.died is not None and event.job.attempt <= retries:
                    engine.submit(_again(event.job))
                elif event.facts is None:
                    raise RunError(f"the task could not be prepared: {event.died}")
                facts = event.facts
        before = folder.manifest.get("data")
        if before is not None and before["fingerprint"] != facts["data"]["fingerprint"]:  # type: ignore[index]
            raise RunError(
                f"{folder.path} was made on other images of {folder.settings.task.dataset} (their hash differs); "
                "restore the images, or choose another --out"
            )
        shared = engine.setup.folder
        folder.write_manifest(**facts, checkpoints_in=None if shared == folder.path.resolve() else str(shared))
        self.references = References.from_dict(folder.manifest.get("references", References().to_dict()))


class _Loop:
    """Jobs out, results in."""

    def __init__(self, study: Study, run: Run, engine: Engine, watcher: Watcher | None, *, retries: int) -> None:
        self.study, self.run, self.engine, self.watcher, self.retries = study, run, engine, watcher, retries
        self.schedule = Schedule(study.settings.ladder)
        self.candidates: dict[str, Candidate] = {}
        self.num_running = 0
        self.wanted_references = [] if run.references.control and run.references.oracle else ["control", "oracle"]
        for number, rung, result in study.history:  # as it went before the search was interrupted
            if rung == 0:
                self._start(study.entry(number).candidate)
            self._finish_rung(study.entry(number).candidate, result)
        self._sweep()

    def run_all(self, trials: int, deadline: float | None) -> None:
        """Until the schedule has nothing left to do, or nothing may be started any more and all that ran has ended."""
        while True:
            while self.num_running < self.engine.num_slots and (deadline is None or time.monotonic() < deadline):
                job = self._next_job(trials)
                if job is None:
                    break
                self._submit(job)
            if self.num_running == 0:
                return
            for event in self.engine.events(timeout=1.0):
                if isinstance(event, Ended):
                    self._ended(event)
                elif self.watcher:
                    self.watcher.on_stage(event.job.name, event.what)

    def _next_job(self, trials: int) -> Job | None:
        if self.wanted_references:
            kind = self.wanted_references.pop(0)
            return Job(kind="control" if kind == "control" else "oracle", name=kind)
        candidate = self.study.ask_seed()
        if candidate is not None:
            return self._start(candidate)
        exhausted = bool(self.run.folder.manifest.get("exhausted"))
        step = self.schedule.next(may_propose=self.study.num_trials < trials and not exhausted)
        if step is None:
            return None
        if step.kind == "climb":
            candidate = self.study.entry(step.number).candidate
            return Job(kind="rung", name=candidate.name, arch=candidate.arch, rung=step.rung)
        candidate = self.study.ask()
        if candidate is None:
            self.run.folder.write_manifest(exhausted=True)
            return self._next_job(trials)
        return self._start(candidate)

    def _start(self, candidate: Candidate) -> Job:
        self.candidates[candidate.name] = candidate
        self.schedule.start(
            candidate.number,
            costs=candidate.costs,
            is_seed=candidate.is_seed,
            on_offer=not candidate.over_budget,
        )
        return Job(kind="rung", name=candidate.name, arch=candidate.arch, rung=0)

    def _submit(self, job: Job) -> None:
        self.engine.submit(dataclasses.replace(job, precision=self.run.task.precision))
        self.num_running += 1

    def _ended(self, ended: Ended) -> None:
        self.num_running -= 1
        job = ended.job
        if self.watcher:
            self.watcher.on_end(job.name)
        if ended.user_error is not None:
            raise RunError(ended.user_error)
        if ended.died is not None and job.attempt <= self.retries:
            self._submit(_again(job))
            return
        if job.kind != "rung":
            if ended.facts is None:
                raise RunError(f"the {job.name} could not be trained: {ended.died}")
            rows = tuple(TrialResult.from_dict(row) for row in ended.facts["rungs"])  # type: ignore[attr-defined]
            self.run.references = dataclasses.replace(self.run.references, **{job.kind: rows})
            self.run.folder.write_manifest(references=self.run.references.to_dict())
            return
        candidate = self.candidates[job.name]
        result = ended.result or TrialResult(status="failed", reason=ended.died or "")
        entry = self.study.record(candidate, job.rung, result)
        self._finish_rung(candidate, result)
        self._tidy(entry)
        if self.watcher:
            self.watcher.on_rung(self.run, entry)

    def _tidy(self, entry: Entry) -> None:
        """Keep an architecture's highest checkpoint only, and none of a dead one unless it is a seed point."""
        for rung in range(entry.rung + (not _needs_checkpoint(entry))):
            checkpoint_file(self.run.folder.checkpoints_in, entry.candidate.arch, rung).unlink(missing_ok=True)

    def _sweep(self) -> None:
        """Remove what a killed search left beside the checkpoints that are still needed."""
        folder = self.run.folder.checkpoints_in
        needed = {
            checkpoint_file(folder, entry.candidate.arch, entry.rung)
            for entry in self.study.entries
            if entry.results and _needs_checkpoint(entry)
        }
        for file in (folder / "checkpoints").glob("*.pt*"):  # those half written are called .NAME.pt.CHANCE
            if file not in needed:
                file.unlink(missing_ok=True)

    def _finish_rung(self, candidate: Candidate, result: TrialResult) -> None:
        is_first = self.schedule.runners[candidate.number].next_rung == 0
        value = score(self.study.settings, result) if is_first else result.val_top1
        failed = result.status == "failed"
        self.schedule.finish(candidate.number, None if failed else value, alive=result.status == "ok")


def _again(job: Job) -> Job:
    return dataclasses.replace(job, attempt=job.attempt + 1)


def _needs_checkpoint(entry: Entry) -> bool:
    """Whether its highest checkpoint is of use: to climb from, or to export."""
    return entry.status not in ("inert", "collapsed") or entry.candidate.is_seed


def _finish(study: Study, run: Run, start: float, watcher: Watcher | None) -> None:
    """Write everything a user looks for in the folder, also when the search was interrupted."""
    from lstn_search.study.outputs import write_outputs

    if watcher:
        watcher.on_stage("finish", "writing tables, picture and best architecture")
    run.entries = [entry for entry in study.entries if entry.results]
    counts = {
        "trained": len(run.entries),
        "trials": sum(not entry.candidate.is_seed for entry in run.entries),
        "rejected": study.num_rejected,
        "duplicates": study.num_duplicates,
    }
    seconds = run.folder.manifest.get("seconds", 0.0) + time.monotonic() - start
    run.folder.write_manifest(counts=counts, seconds=seconds)
    write_outputs(run)
