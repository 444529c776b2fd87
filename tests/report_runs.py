"""A run to draw reports of: a real study in a real folder, with made-up results that depend on nothing but the network.

The space is the package's own, so L-STN is among the seed points. Some architectures are inert, collapsed or failed.
"""

from pathlib import Path
from typing import Any

from lstn_search.runs.folder import RunFolder
from lstn_search.runs.run import Run, open_run
from lstn_search.spec.arch import Arch
from lstn_search.spec.ladder import Ladder
from lstn_search.spec.results import References, TrialResult
from lstn_search.spec.settings import SearchSettings
from lstn_search.spec.space import load_space
from lstn_search.spec.task import Task
from lstn_search.study.study import Study
from lstn_search.verification.result import Difference, Finalist, Verification

__all__ = ["BUDGET_GFLOPS", "NUM_TRIALS", "make_references", "make_run", "make_settings", "make_verification"]

BUDGET_GFLOPS = 0.03
NUM_TRIALS = 26
INERT = {"spread": 0.0031, "out_of_frame": 0.01, "scale": 0.98, "determinant": 0.97}
COLLAPSED = {"spread": 0.31, "out_of_frame": 0.83, "scale": 2.7, "determinant": 7.1}


def invent(arch: Arch, rung: int, epochs: int) -> TrialResult:
    """The result of a rung; of the searched architectures a few are dead, and one in eight fails."""
    chance = int(arch.digest[12:18], 16) / 16**6
    health = {
        "spread": 0.05 + 0.2 * chance,
        "out_of_frame": 0.1 * chance,
        "scale": 0.85,
        "determinant": 0.7 + chance / 9,
    }
    seconds = 10 + 5 * chance + 20 * rung
    if rung == 0:
        if 0.30 < chance < 0.42:
            return TrialResult(status="failed", reason="loss <b>nan</b> at step 3", seconds=seconds)
        status = "inert" if chance < 0.12 else "collapsed" if chance > 0.9 else "ok"
        health = {"inert": INERT, "collapsed": COLLAPSED}.get(status, health)
        measured: dict[str, Any] = {
            "recover_steps": 500,
            "alignment_mse": 0.05 - chance / 25,
            "corner_error_px": 50 - 30 * chance,
        }
        return TrialResult(status=status, seconds=seconds, frozen_top1=30 + 20 * chance, **measured, **health)  # type: ignore[arg-type]
    top1 = 50 + 12 * chance + 2 * rung
    row = {"epoch": 1, "train_loss": 1.0, "verdict": "alive", **health}
    measured = {"val_top1": top1, "val_top5": top1 + 15, "val_clean_top1": top1 + 3, "val_clean_top5": top1 + 20}
    return TrialResult(status="ok", seconds=seconds, epochs=epochs, **measured, **health, history=(row,) * epochs)


def make_references() -> References:
    """Control and oracle for every rung."""

    def climb(low: float) -> tuple[TrialResult, ...]:
        joint = [
            TrialResult(status="ok", seconds=7.0, epochs=e, val_top1=low + e, val_clean_top1=70.0) for e in (2, 6, 18)
        ]
        return (TrialResult(status="ok", seconds=1.0, frozen_top1=low - 20), *joint)

    return References(control=climb(40), oracle=climb(60))


def make_settings(**changes: Any) -> SearchSettings:
    """Of a search of the package's own space."""
    space = load_space("lstn")
    given: dict[str, Any] = {
        "task": Task(dataset="glyphs", device="cpu"),
        "budget_gflops": BUDGET_GFLOPS,
        "space_name": space.name,
        "space_digest": space.digest,
        "ladder": Ladder(epochs=(2, 6, 18)),
        "sampler": "random",
    }
    return SearchSettings(**(given | changes))


def make_run(path: Path, *, trials: int = NUM_TRIALS, rungs: int = 3, **changes: Any) -> Run:
    """A search with made-up results, up to `rungs` of 3; it looks interrupted when that is less."""
    space, settings = load_space("lstn"), make_settings(**changes)
    folder = RunFolder.create(path, settings, resume=False)
    study = Study(folder, space)
    while (candidate := study.ask_seed()) or (study.num_trials < trials and (candidate := study.ask())):
        study.record(candidate, 0, invent(candidate.arch, 0, 0))
    climbing = [entry for entry in study.entries if entry.status == "ok" and not entry.candidate.over_budget]
    for rung in range(1, rungs + 1):
        climbing.sort(key=lambda entry: -entry.accuracy)
        climbing = [e for i, e in enumerate(climbing) if i < len(climbing) / 2 or e.candidate.is_seed]
        for entry in climbing:
            epochs = settings.ladder.epochs[rung - 1]
            study.record(entry.candidate, rung, invent(entry.candidate.arch, rung, epochs))
    data = {"fingerprint": "none", "val": 1200, "test": 1200}
    folder.write_manifest(data=data, backbone={"val_clean_top1": 68.0, "seconds": 81.5, "key": "0"}, device="cpu")
    if rungs == 3:
        folder.write_manifest(references=make_references().to_dict())
        entries = [entry for entry in study.entries if entry.results]
        counts = {"trained": len(entries), "trials": trials, "rejected": study.num_rejected, "duplicates": 0}
        folder.write_manifest(counts=counts, seconds=754.2)
    folder.release()
    return open_run(path)


def make_verification(run: Run) -> Verification:
    """A verification of the run's two best and of L-STN: what the search said was two points too much."""
    chosen = {entry.candidate.number: entry for entry in (*run.front[-2:], run.find("lstn"))}.values()
    finalists = [
        Finalist(
            name=entry.candidate.name,
            number=entry.candidate.number,
            gflops=entry.candidate.gflops,
            params=entry.candidate.params,
            is_seed=entry.candidate.is_seed,
            searched_top1=entry.accuracy,
            num_seeds=3,
            mean_val=entry.accuracy - 2,
            low_val=entry.accuracy - 3.25,
            high_val=entry.accuracy - 0.75,
            mean_test=61.5,
            low_test=60.25,
            high_test=62.75,
            gap_closed=71.0,
            versus_lstn=Difference(mean=0.1, low=-1.0, high=1.2, bootstrap_low=-0.9, bootstrap_high=1.1),
            verdicts=("better than no STN", "not distinguishable from L-STN"),
        )
        for entry in sorted(chosen, key=lambda entry: entry.candidate.gflops)
    ]
    control = Finalist(name="control", number=None, num_seeds=3, mean_val=55.0, low_val=54.0, high_val=56.0)
    return Verification(
        finalists=tuple(finalists),
        control=control,
        oracle=None,
        pick=finalists[0].name,
        sentences=("The search over-estimated its best by 2.0 points.",),
        wanted_seeds=(1000, 1001, 1002),
        complete_seeds=(1000, 1001, 1002),
        task={},
        budget_gflops=BUDGET_GFLOPS,
        command="python cli.py verify RUN",
        seconds=100.0,
    )
