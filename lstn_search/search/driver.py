"""The search itself: prepare the task, train what the study proposes, keep the folder complete."""

import dataclasses
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from lstn_search import pareto
from lstn_search.backbones import build_backbone
from lstn_search.data.cache import default_cache_dir
from lstn_search.errors import LstnError, RunError, SettingError
from lstn_search.references import References, load_references
from lstn_search.search.folder import RunFolder
from lstn_search.search.settings import SearchSettings, check_budget
from lstn_search.search.study import Candidate, Entry, Study, read_entries
from lstn_search.space import Space
from lstn_search.task import Task
from lstn_search.train.warm import Warm, warm_backbone
from lstn_search.train.workbench import Workbench
from lstn_search.trial import run_trial
from lstn_search.weights import save_weights

__all__ = ["Run", "Watcher", "front_of", "open_run", "prepare", "search"]


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

    @property
    def front(self) -> list[Entry]:
        """The Pareto front within the budget, cheapest first."""
        return front_of(self.entries)

    def pick(self, how: str) -> Entry:
        """`best`, `knee` or `max-gflops=X` of the front. Raises SettingError when the front is empty."""
        pareto.parse_pick(how)
        offered = [entry for entry in self.entries if entry.on_offer]
        if not offered:
            raise SettingError(
                f"the front of {self.folder.path} is empty: none of its {len(self.entries)} trained architectures is "
                "both within the budget and alive; search on with --resume and more --trials"
            )
        return offered[pareto.pick([(entry.accuracy, entry.candidate.gflops) for entry in offered], how)]

    def find(self, which: str) -> Entry:
        """An entry by pick (see `pick`), by name or by trial number. Raises SettingError when there is none."""
        for entry in self.entries:
            if which in (entry.candidate.name, str(entry.candidate.number)):
                return entry
        if which.removeprefix("t").isdecimal():
            raise SettingError(f"{self.folder.path} holds no trained architecture {which!r}; its trials.csv lists them")
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
    deadline = None if minutes is None else start + 60 * minutes
    say = watcher.on_stage if watcher else _silent
    folder = RunFolder.create(out, settings, resume=resume)
    is_new = "references" not in folder.manifest
    try:
        bench, warm, references = _prepare_run(folder, settings.task, cache_dir or default_cache_dir(), say)
        study = Study(folder, space)
        run = Run(folder=folder, entries=study.entries, references=references)
        if watcher:
            watcher.on_ready(run)
        try:
            _train(study, run, bench, warm, watcher, trials, deadline)
        finally:
            _finish(study, run, start, say)
        return run
    except LstnError:
        if is_new and "references" not in folder.manifest:
            folder.discard()
        raise
    finally:
        folder.release()


def prepare(task: Task, cache_dir: Path, say: Callable[[str], None]) -> tuple[Workbench, Warm | None]:
    """The workbench of a task and its warm backbone (None for the paper's protocol, which starts from scratch).

    A backbone nobody offers, or that cannot take images of the trial's size, is refused before images are decoded.
    """
    say("data")
    build_backbone(task.backbone, num_classes=2, image_size=task.trial_size)
    bench = Workbench(task, cache_dir=cache_dir)
    if task.protocol == "paper":
        return bench, None

    def on_epoch(done: int) -> None:
        say(f"backbone {task.backbone}: epoch {min(done + 1, task.warm_epochs)}/{task.warm_epochs}")

    on_epoch(0)
    return bench, warm_backbone(bench, cache_dir, on_epoch=on_epoch)


def open_run(path: Path) -> Run:
    """What a search left in a folder, to read from. Raises RunError when it holds no run, or trained nothing."""
    folder = RunFolder.open(path)
    if "references" not in folder.manifest:
        raise RunError(f"{path} ended before its first trial; run the same search with --resume")
    references = References.from_dict(folder.manifest["references"])
    return Run(folder=folder, entries=read_entries(folder), references=references)


def _prepare_run(
    folder: RunFolder, task: Task, cache_dir: Path, say: Callable[[str], None]
) -> tuple[Workbench, Warm | None, References]:
    """The prepared task, its facts written into the manifest. Raises RunError when the run was made on other images."""
    bench, warm = prepare(task, cache_dir, say)
    before = folder.manifest.get("data")
    if before is not None and before["fingerprint"] != bench.dataset.fingerprint:
        raise RunError(
            f"{folder.path} was made on other images of {task.dataset} (their hash differs); restore the images, or "
            "choose another --out"
        )
    references = load_references(bench, warm, cache_dir, on_stage=say)
    folder.write_manifest(**_facts(bench, warm, references))
    return bench, warm, references


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
        entry = _run(study, candidate, run, bench, warm, watcher)
        if watcher:
            watcher.on_entry(run, entry)


def _run(
    study: Study, candidate: Candidate, run: Run, bench: Workbench, warm: Warm | None, watcher: Watcher | None
) -> Entry:
    """Train one candidate; keep its weights if they are of use, and drop those that no longer are."""

    def say(stage: str) -> None:
        if watcher:
            watcher.on_stage(f"{candidate.name}: {stage}")

    result, model = run_trial(bench, candidate.arch, warm, on_stage=say)
    if model is not None:
        _save(run.folder.weights_file(candidate.arch.digest), model.state_dict(), candidate)
    entry = study.tell(candidate, result)
    front = {kept.candidate.number for kept in run.front}
    for other in run.entries:
        if not other.candidate.is_seed and other.candidate.number not in front:
            run.folder.weights_file(other.candidate.arch.digest).unlink(missing_ok=True)
    return entry


def _save(file: Path, tensors: dict[str, Any], candidate: Candidate) -> None:
    try:
        save_weights(file, tensors, metadata={"arch": candidate.arch.to_json()})
    except OSError as error:
        raise RunError(f"{file} cannot be written ({error.strerror}); make room, then go on with --resume") from None


def _finish(study: Study, run: Run, start: float, say: Callable[[str], None]) -> None:
    """Write everything a user looks for in the folder, also when the search was interrupted."""
    from lstn_search.search.outputs import write_outputs

    say("writing tables, picture and best architecture")
    counts = {
        "trained": len(run.entries),
        "trials": study.num_trials,
        "rejected": study.num_rejected,
        "duplicates": study.num_duplicates,
    }
    seconds = run.folder.manifest.get("seconds", 0.0) + time.monotonic() - start
    run.folder.write_manifest(counts=counts, seconds=seconds)
    write_outputs(run)


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
        facts["backbone"] = {"val_clean_top1": warm.val_clean.top1, "seconds": warm.seconds, "key": warm.key}
    return facts


def _silent(what: str) -> None:
    """Nobody watches."""
