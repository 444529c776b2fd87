"""The search itself: prepare the task, train what the study proposes, keep the folder complete."""

import dataclasses
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from lstn_search import pareto
from lstn_search.data.cache import default_cache_dir
from lstn_search.errors import RunError, SettingError
from lstn_search.references import References, load_references
from lstn_search.search.folder import RunFolder
from lstn_search.search.settings import SearchSettings, check_budget
from lstn_search.search.study import Candidate, Entry, Study, read_entries
from lstn_search.space import Space
from lstn_search.train.warm import Warm, warm_backbone
from lstn_search.train.workbench import Workbench
from lstn_search.trial import run_trial
from lstn_search.weights import save_weights

__all__ = ["Run", "Watcher", "front_of", "open_run", "prepare_warm", "search"]


class Watcher(Protocol):
    """Whoever shows the progress of a search."""

    def on_stage(self, what: str) -> None:
        """A stage began."""

    def on_ready(self, run: "Run") -> None:
        """The task is prepared: references are known, training begins."""

    def on_entry(self, run: "Run", entry: Entry) -> None:
        """An architecture has been trained."""


@dataclasses.dataclass(kw_only=True, slots=True)
class Run:
    """A search's folder and what is in it."""

    folder: RunFolder
    entries: list[Entry]
    references: References
    num_rejected: int = 0
    num_duplicates: int = 0

    @property
    def front(self) -> list[Entry]:
        """The Pareto front within the budget, cheapest first."""
        return front_of(self.entries)

    def pick(self, how: str) -> Entry:
        """`best`, `knee` or `max-gflops=X` of the front. Raises SettingError when the front is empty."""
        offered = [entry for entry in self.entries if entry.on_offer]
        return offered[pareto.pick([(entry.accuracy, entry.candidate.gflops) for entry in offered], how)]

    def find(self, which: str) -> Entry:
        """An entry by pick (see `pick`), by name or by trial number. Raises SettingError when there is none."""
        for entry in self.entries:
            if which in (entry.candidate.name, str(entry.candidate.number)):
                return entry
        if which.isdecimal():
            raise SettingError(f"{self.folder.path} holds no trial {which}; its trials.csv lists them")
        return self.pick(which)


def front_of(entries: list[Entry]) -> list[Entry]:
    """The entries no other beats, of those within the budget whose localizer is alive, cheapest first."""
    offered = [entry for entry in entries if entry.on_offer]
    return [offered[i] for i in pareto.front([(entry.accuracy, entry.candidate.gflops) for entry in offered])]


def search(
    space: Space,
    settings: SearchSettings,
    out: Path,
    *,
    trials: int,
    minutes: float | None = None,
    resume: bool = False,
    cache_dir: Path | None = None,
    watcher: Watcher | None = None,
) -> Run:
    """Search until `trials` architectures (besides the seed points) are trained, or `minutes` are over.

    Raises LstnError on bad input before anything is trained. A KeyboardInterrupt leaves a complete folder behind.
    """
    if trials < 1:
        raise SettingError(f"trials must be at least 1, got {trials}")
    if minutes is not None and not minutes > 0:
        raise SettingError(f"minutes must be above 0, got {minutes}")
    check_budget(settings, space)
    start = time.monotonic()
    folder = RunFolder.create(out, settings, resume=resume)
    try:
        say = watcher.on_stage if watcher else _silent
        say("data")
        cache_dir = cache_dir or default_cache_dir()
        bench = Workbench(settings.task, cache_dir=cache_dir)
        warm = prepare_warm(bench, cache_dir, say)
        references = load_references(bench, warm, cache_dir, on_stage=say)
        study = Study(folder, space)
        run = Run(folder=folder, entries=study.entries, references=references)
        folder.write_manifest(**_facts(bench, warm, references))
        if watcher:
            watcher.on_ready(run)
        try:
            _train(study, run, bench, warm, watcher, trials, None if minutes is None else start + 60 * minutes)
        finally:
            _finish(study, run, start)
        return run
    finally:
        folder.release()


def _train(
    study: Study,
    run: Run,
    bench: Workbench,
    warm: Warm | None,
    watcher: Watcher | None,
    trials: int,
    deadline: float | None,
) -> None:
    while deadline is None or time.monotonic() < deadline:
        candidate = study.ask_seed()
        if candidate is None:
            if study.num_trials >= trials:
                return
            candidate = study.ask()
        if candidate is None:
            run.folder.write_manifest(exhausted=True)
            return
        try:
            entry = _run(study, candidate, run, bench, warm, watcher)
        except KeyboardInterrupt:
            study.give_up(candidate)
            raise
        if watcher:
            watcher.on_entry(run, entry)


def _run(
    study: Study, candidate: Candidate, run: Run, bench: Workbench, warm: Warm | None, watcher: Watcher | None
) -> Entry:
    def say(stage: str) -> None:
        if watcher:
            watcher.on_stage(f"{candidate.name}: {stage}")

    result, model = run_trial(bench, candidate.arch, warm, on_stage=say)
    if model is not None:
        weights_file = run.folder.weights_file(candidate.arch.digest)
        save_weights(weights_file, model.state_dict(), metadata={"arch": candidate.arch.to_json()})
    entry = study.tell(candidate, result)
    kept = {e.candidate.arch.digest for e in run.entries if e.candidate.is_seed or e in run.front}
    for other in run.entries:
        if other.candidate.arch.digest not in kept:
            run.folder.weights_file(other.candidate.arch.digest).unlink(missing_ok=True)
    return entry


def _finish(study: Study, run: Run, start: float) -> None:
    from lstn_search.search.outputs import write_outputs

    run.num_rejected, run.num_duplicates = study.num_rejected, study.num_duplicates
    seconds = run.folder.manifest.get("seconds", 0.0) + time.monotonic() - start
    counts = {
        "trained": len(run.entries),
        "trials": study.num_trials,
        "rejected": study.num_rejected,
        "duplicates": study.num_duplicates,
    }
    run.folder.write_manifest(counts=counts, seconds=seconds)
    write_outputs(run)


def prepare_warm(bench: Workbench, cache_dir: Path, say: Callable[[str], None]) -> Warm | None:
    """The task's warm backbone, or None for the paper's protocol, which starts from scratch."""
    if bench.task.protocol == "paper":
        return None
    total = bench.task.warm_epochs
    say(f"backbone {bench.task.backbone}, epoch 1/{total}")
    return warm_backbone(
        bench,
        cache_dir,
        on_epoch=lambda done: say(f"backbone {bench.task.backbone}, epoch {min(done + 1, total)}/{total}"),
    )


def _facts(bench: Workbench, warm: Warm | None, references: References) -> dict[str, Any]:
    dataset = bench.dataset
    facts: dict[str, Any] = {
        "data": {
            "name": dataset.name,
            "fingerprint": dataset.fingerprint,
            "split_fingerprint": dataset.split_fingerprint,
            "classes": dataset.num_classes,
            "train": len(dataset.train_I),
            "val": len(dataset.val_I),
            "test": len(dataset.test_I),
            "skipped": dataset.num_skipped,
            "mean": list(dataset.mean),
            "std": list(dataset.std),
        },
        "device": str(bench.device),
        "autocast": bench.use_autocast,
        "references": references.to_dict(),
    }
    if warm is not None:
        facts["backbone"] = {
            "val_clean_top1": warm.val_clean.top1,
            "val_top1": references.control.frozen_top1,
            "seconds": warm.seconds,
            "key": warm.key,
        }
    return facts


def open_run(path: Path) -> Run:
    """What a search left in a folder, to read from. Raises RunError when it holds no run, or trained nothing."""
    folder = RunFolder.open(path)
    if "references" not in folder.manifest:
        raise RunError(f"{path} ended before its first trial; run the same search with --resume")
    references = References.from_dict(folder.manifest["references"])
    entries, _ = read_entries(folder)
    return Run(folder=folder, entries=entries, references=references)


def _silent(what: str) -> None:
    """Nobody watches."""
