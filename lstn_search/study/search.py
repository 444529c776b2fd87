"""The search itself: prepare the task, keep every worker busy with what the schedule asks for, record the results.

The driver never trains: it asks the study, follows the schedule, and hands jobs to an engine. It alone writes the
study, each finished rung before anything else is done with it, so that a crash at any instant loses only what was in
flight.
"""

import dataclasses
import time
from pathlib import Path

from lstn_search.atomic import FRESH
from lstn_search.errors import LstnError, RunError
from lstn_search.jobs.base import Ended, Job
from lstn_search.jobs.loop import MakeEngine, Watcher, check_limits, deadline_after, prepare_task, run_jobs
from lstn_search.runs.entries import Candidate, Entry, score
from lstn_search.runs.folder import RunFolder, checkpoint_file
from lstn_search.runs.run import Run
from lstn_search.runs.settings_file import write_settings
from lstn_search.spec.fields import check_count
from lstn_search.spec.results import DEAD, References, TrialResult
from lstn_search.spec.settings import SearchSettings, check_budget
from lstn_search.spec.space import Space
from lstn_search.study.schedule import Schedule
from lstn_search.study.start import front_of_earlier
from lstn_search.study.study import Study

__all__ = ["Search", "SearchWatcher", "search"]


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
    watcher: "SearchWatcher | None" = None,
) -> Run:
    """Search until `trials` architectures (besides the seed points) have climbed as far as they deserve.

    After `minutes` nothing new is started. A job whose worker dies is run again up to `retries` times. Raises LstnError
    on bad input before anything is trained. A KeyboardInterrupt leaves a complete folder behind.
    """
    check_count("trials", trials, limit=1_000_000)
    check_limits(minutes, retries)
    if not resume:  # earlier releases took such a name, and what they began may go on
        settings.task.check_tag()
    whole, space = space, space.for_trials(image_size=settings.task.image_size, trial_size=settings.task.trial_size)
    check_budget(settings, space)
    given = front_of_earlier(settings, out)
    start, deadline, watcher = time.monotonic(), deadline_after(minutes), watcher or SearchWatcher()
    folder = RunFolder.create(out, settings, resume=resume, storage=storage)
    try:
        if given is not None:
            folder.write_manifest(start_from=given)
        engine = make_engine(settings.task, settings.ladder, folder.path)
        try:
            precision = folder.manifest.get("precision", "auto")
            facts = prepare_task(engine, watcher, precision=precision, retries=retries)
            folder.check_same_images(facts, cure="choose another --out")
            shared = engine.setup.folder
            checkpoints_in = None if shared == folder.path.resolve() else str(shared)
            folder.write_manifest(**facts, trials=trials, checkpoints_in=checkpoints_in)
            write_settings(folder, whole, trials=trials, minutes=minutes)
            source = Search(folder, space, trials=trials, watcher=watcher)
            watcher.on_ready(source)
            try:
                run_jobs(source, engine, watcher, retries=retries, deadline=deadline)
            finally:
                engine.close()
                watcher.on_stage("finish", "writing tables, picture and best architecture")
                source.finish(time.monotonic() - start)
                watcher.on_finish(source)
        finally:
            engine.close()
        return source.run
    except LstnError:
        if folder.is_new and "data" not in folder.manifest:
            folder.discard()
        raise
    finally:
        folder.release()


class Search:
    """What a search trains: the references, the seed points, and what study and schedule ask for."""

    def __init__(self, folder: RunFolder, space: Space, *, trials: int, watcher: "SearchWatcher") -> None:
        self.study = Study(folder, space)
        references = References.from_dict(folder.manifest.get("references", References().to_dict()))
        self.run = Run(folder=folder, entries=self.study.entries, references=references)
        self.trials, self.watcher = trials, watcher
        self.schedule = Schedule(self.study.settings.ladder)
        self.candidates: dict[str, Candidate] = {}
        self.wanted_references = [] if references.control and references.oracle else ["control", "oracle"]
        for number, rung, result in self.study.history:  # as it went before the search was interrupted
            if rung == 0:
                self._start(self.study.entry(number).candidate)
            self._finish_rung(self.study.entry(number).candidate, result)
        self._sweep()

    def next_job(self) -> Job | None:
        """References first, then seed points, then what the schedule says."""
        job = self._next_job()
        return None if job is None else dataclasses.replace(job, precision=self.run.task.precision)

    def ended(self, ended: Ended) -> None:
        """Keep the references, or record the rung."""
        job = ended.job
        if job.kind == "reference":
            if ended.facts is None:
                raise RunError(f"the {job.name} could not be trained: {ended.died}")
            rows = tuple(TrialResult.from_dict(row) for row in ended.facts["rungs"])  # type: ignore[attr-defined]
            self.run.references = dataclasses.replace(self.run.references, **{job.name: rows})
            self.run.folder.write_manifest(references=self.run.references.to_dict())
            return
        candidate = self.candidates[job.name]
        result = ended.result or TrialResult(status="failed", reason=ended.died or "")
        entry = self.study.record(candidate, job.rung, result)
        self._finish_rung(candidate, result)
        self._tidy(entry)
        self.watcher.on_result(self, entry)

    def finish(self, seconds: float) -> None:
        """Write everything a user looks for in the folder, also when the search was interrupted."""
        from lstn_search.study.outputs import write_outputs

        run, study = self.run, self.study
        run.entries = [entry for entry in study.entries if entry.results]
        counts = {
            "trained": len(run.entries),
            "trials": sum(not entry.candidate.is_seed for entry in run.entries),
            "rejected": study.num_rejected,
            "duplicates": study.num_duplicates,
        }
        run.folder.write_manifest(counts=counts, seconds=run.folder.manifest.get("seconds", 0.0) + seconds)
        write_outputs(run)

    def _next_job(self) -> Job | None:
        if self.wanted_references:
            name = self.wanted_references.pop(0)
            return Job(kind="reference", name=name, oracle=name == "oracle")
        candidate = self.study.ask_seed()
        if candidate is not None:
            return self._start(candidate)
        exhausted = bool(self.run.folder.manifest.get("exhausted"))
        step = self.schedule.next(may_propose=self.study.num_trials < self.trials and not exhausted)
        if step is None:
            return None
        if step.kind == "climb":
            candidate = self.study.entry(step.number).candidate
            return Job(kind="rung", name=candidate.name, arch=candidate.arch, rung=step.rung)
        candidate = self.study.ask()
        if candidate is None:
            self.run.folder.write_manifest(exhausted=True)
            return self._next_job()
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

    def _finish_rung(self, candidate: Candidate, result: TrialResult) -> None:
        failed = result.status == "failed"
        value = score(self.study.settings, result) if result.val_top1 is None else result.val_top1
        self.schedule.finish(candidate.number, None if failed else value, alive=result.status == "ok")

    def _tidy(self, entry: Entry) -> None:
        """Keep an architecture's highest checkpoint only, and none of a dead one unless it is a seed point."""
        for rung in range(entry.rung + (not _needs_checkpoint(entry))):
            checkpoint_file(self.run.folder.checkpoints_in, entry.candidate.arch, rung).unlink(missing_ok=True)

    def _sweep(self) -> None:
        """Remove what a killed search left beside the checkpoints that are still needed; others' files stay."""
        folder = self.run.folder.checkpoints_in
        rungs = range(self.study.settings.ladder.top + 1)
        ours = {
            checkpoint_file(folder, entry.candidate.arch, rung).name for entry in self.study.entries for rung in rungs
        }
        needed = {
            checkpoint_file(folder, entry.candidate.arch, entry.rung).name
            for entry in self.study.entries
            if entry.results and _needs_checkpoint(entry)
        }
        for file in (folder / "checkpoints").glob("*.pt*"):
            half_written = file.match(f".*.{FRESH}") and file.stem.removeprefix(".") in ours
            if file.name in ours - needed or half_written:
                file.unlink(missing_ok=True)


SearchWatcher = Watcher[Search, Entry]


def _needs_checkpoint(entry: Entry) -> bool:
    """Whether its highest checkpoint is of use: to climb from, or to export."""
    return entry.status not in DEAD or entry.candidate.is_seed
