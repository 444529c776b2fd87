"""What a search found, in one row and one sentence: the best architecture beside L-STN, control and oracle."""

import dataclasses
import functools
from typing import TYPE_CHECKING, Any

from lstn_search.spec.arch import Arch
from lstn_search.spec.cost import gflops_as_trained
from lstn_search.spec.objectives import front_name
from lstn_search.spec.results import DEAD, TrialResult
from lstn_search.spec.space import load_space

if TYPE_CHECKING:
    from lstn_search.runs.entries import Entry
    from lstn_search.runs.run import Run
    from lstn_search.verification.result import Verification

__all__ = ["HeadlineInfo", "Standing", "duration", "headline_info", "is_complete", "lstn_arch"]

ONE_SEED_POINTS = 1.5
"""What another seed changes in an accuracy of Caltech-101 (docs/trial.md): less is no difference to speak of."""


@dataclasses.dataclass(kw_only=True, frozen=True, slots=True)
class Standing:
    """A row of the comparison. Accuracies in percent; None where nothing was measured, or there is nothing to."""

    name: str
    role: str
    """best, front, L-STN, seed point, control or oracle."""
    gflops: float | None = None
    """At the deployment size; None for control and oracle, like the next but one."""
    gflops_as_trained: float | None = None
    """At the size of the trials; None where that is the same network."""
    params: int | None = None
    accuracy: float | None = None
    """Validation, under the view, at the highest rung."""
    gap_closed: float | None = None
    upright: float | None = None
    epochs: int = 0
    """Joint epochs behind the accuracy."""
    status: str = "ok"
    over_budget: bool = False


@dataclasses.dataclass(kw_only=True, frozen=True, slots=True)
class HeadlineInfo:
    """The headline and the setting it holds in."""

    best: Standing | None
    """None: the front is empty."""
    lstn: Standing | None
    """None: L-STN was not trained in this search."""
    control: Standing | None
    oracle: Standing | None
    front: tuple[Standing, ...]
    """Cheapest first."""
    front_name: str
    """`front`, or `front of` what it is of where that is not accuracy and GFLOPs."""
    seeds: tuple[Standing, ...]
    """Seed points that are not on the front, cheapest first."""
    budget_gflops: float
    """For the localizer alone."""
    image_size: int
    trial_size: int
    dataset: str
    backbone: str
    view: str
    seed: int
    num_seeds: int
    num_trials: int
    num_asked: int | None
    """Architectures that the search was asked for; None: it did not write that down."""
    num_dead: int
    num_failed: int
    hardware: str
    seconds: float | None
    """Wall clock of the whole search; None: it was killed before it could write that down."""
    trained_seconds: float
    """Of all that was trained, the classifier and the references too, on however many workers: the ledger's total."""
    is_verified: bool
    """Whether the best has been trained again with two fresh seeds or more."""
    is_complete: bool
    """Whether everything that deserves the highest rung has reached it."""

    @property
    def sentence(self) -> str:
        """What was found, in one or two sentences."""
        best, lstn = self.best, self.lstn
        if best is None:
            return (
                f"No architecture stands on the front yet: none of the {self.num_trials + self.num_seeds} that were "
                "trained is within the budget, alive and jointly trained."
            )
        found = (
            f"{best.name} reaches {best.accuracy:.1f} % with {best.gflops:.5f} GFLOPs and {best.params:,} parameters"
        )
        noise = f"one training each, and one seed moves a net by up to {ONE_SEED_POINTS} points"
        doubt = "" if self.is_verified else f" Not verified: {noise}."
        if self.control is not None and self.control.accuracy is not None:
            doubt = f" The classifier alone reaches {self.control.accuracy:.1f} %.{doubt}"
        if lstn is None or lstn.accuracy is None:
            return f"{found}.{doubt}"
        if best.name == lstn.name:
            return f"{found}: no searched architecture is more accurate than L-STN within the budget.{doubt}"
        assert best.accuracy is not None and best.gflops and lstn.gflops
        difference = best.accuracy - lstn.accuracy
        cost = _times(lstn.gflops / best.gflops)
        if abs(difference) < ONE_SEED_POINTS:
            beside = f"level with L-STN ({lstn.accuracy:.1f} %), {cost}"
        else:
            way = "above" if difference >= 0 else "below"
            beside = f"{abs(difference):.1f} points {way} L-STN ({lstn.accuracy:.1f} %), {cost}"
        unequal = "" if best.epochs == lstn.epochs else f", which has {lstn.epochs} joint epochs, not {best.epochs}"
        return f"{found}: {beside}{unequal}.{doubt}"

    @property
    def setting(self) -> str:
        """n, seed, hardware and seconds, in one sentence."""
        wall = "wall time not recorded" if self.seconds is None else f"{duration(self.seconds)} of wall time"
        dead = (
            f", of which {self.num_dead} dead and {self.num_failed} failed" if self.num_dead + self.num_failed else ""
        )
        few = self.num_asked is not None and self.num_trials < self.num_asked
        asked = f" of {self.num_asked:,} asked for" if few else ""
        return (
            f"n = {_count(self.num_seeds, 'seed point')} and {_count(self.num_trials, 'searched architecture')}{asked}"
            f"{dead}; "
            f"one training each, seed {self.seed}; {self.hardware}; {wall}, {duration(self.trained_seconds)} of "
            "training."
        )


def headline_info(run: "Run", verification: "Verification | None" = None) -> HeadlineInfo:
    """The facts of the headline, from whatever has been trained."""
    settings, manifest = run.folder.settings, run.folder.manifest
    front = run.front
    digest = lstn_arch().digest
    best = run.best
    lstn = next((entry for entry in run.entries if entry.candidate.arch.digest == digest), None)
    on_front = {entry.candidate.number for entry in front}
    seeds = [e for e in run.entries if e.candidate.is_seed and e.candidate.number not in on_front]
    rung = best.rung if best else settings.ladder.top
    return HeadlineInfo(
        best=_standing(run, best, "best") if best else None,
        lstn=_standing(run, lstn, "L-STN") if lstn else None,
        control=_reference(run, run.references.control, rung, "control"),
        oracle=_reference(run, run.references.oracle, rung, "oracle") if run.task.has_oracle else None,
        front=tuple(_standing(run, entry, "front") for entry in front),
        front_name=front_name(settings.objectives),
        seeds=tuple(_standing(run, e, "seed point") for e in sorted(seeds, key=lambda e: e.candidate.gflops)),
        budget_gflops=settings.budget_gflops - settings.overhead_gflops,
        image_size=run.task.image_size,
        trial_size=run.task.trial_size,
        dataset=run.task.dataset,
        backbone=run.task.backbone,
        view=run.task.view,
        seed=run.task.seed,
        num_seeds=sum(entry.candidate.is_seed for entry in run.entries),
        num_trials=sum(not entry.candidate.is_seed for entry in run.entries),
        num_asked=manifest.get("trials"),
        num_dead=sum(entry.status in DEAD for entry in run.entries),
        num_failed=sum(entry.status == "failed" for entry in run.entries),
        hardware=_hardware(manifest.get("hardware", {}), manifest.get("device", "")),
        seconds=manifest.get("seconds"),
        trained_seconds=trained_seconds(run),
        is_verified=best is not None and _is_verified(best.candidate.number, verification),
        is_complete=is_complete(run),
    )


def trained_seconds(run: "Run") -> float:
    """Of the warm backbone, the references and all rungs of all architectures, added up over workers."""
    references = (result for rows in (run.references.control, run.references.oracle) for result in rows)
    backbone = run.folder.manifest.get("backbone", {}).get("seconds", 0.0)
    return float(backbone + sum(result.seconds for result in references) + sum(entry.seconds for entry in run.entries))


def _is_verified(number: int, verification: "Verification | None") -> bool:
    """With a mean and its interval, which takes two complete seeds."""
    finalists = verification.finalists if verification else ()
    return any(row.number == number and row.low_val is not None for row in finalists)


def is_complete(run: "Run") -> bool:
    """Whether references, seed points and front have climbed as far as the ladder goes, or failed on the way."""
    top = run.folder.settings.ladder.top
    seeds = [e for e in run.entries if e.candidate.is_seed and e.status == "ok"]
    climbed = all(entry.rung == top or entry.status == "failed" for entry in [*seeds, *run.front])
    return climbed and bool(run.references.control) and "counts" in run.folder.manifest


@functools.cache
def lstn_arch() -> Arch:
    """L-STN, as the paper has it: what every search is compared with."""
    return load_space("lstn").seeds["lstn"]


def duration(seconds: float) -> str:
    """Seconds in words: `41 s`, `39 min 42 s`, `2 h 05 min`."""
    whole = round(seconds)
    if whole < 60:
        return f"{seconds:.1f} s" if seconds < 9.95 else f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    minutes = round(seconds / 60)
    return f"{minutes // 60:,} h {minutes % 60:02d} min"


def _standing(run: "Run", entry: "Entry", role: str) -> Standing:
    result = entry.result
    return Standing(
        name=entry.candidate.name,
        role=role,
        gflops=entry.candidate.gflops,
        gflops_as_trained=gflops_as_trained(
            entry.candidate.arch, image_size=run.task.image_size, trial_size=run.task.trial_size
        ),
        params=entry.candidate.params,
        accuracy=result.accuracy,
        gap_closed=run.gap_closed(entry),
        upright=result.val_clean_top1,
        epochs=result.epochs or 0,
        status=entry.status,
        over_budget=entry.candidate.over_budget,
    )


def _reference(run: "Run", results: tuple[TrialResult, ...], rung: int, name: str) -> Standing | None:
    if rung >= len(results):
        return None
    result = results[rung]
    return Standing(
        name=name,
        role=name,
        accuracy=result.accuracy,
        gap_closed=run.references.gap_closed(result, rung),
        upright=result.val_clean_top1,
        epochs=result.epochs or 0,
    )


def _hardware(hardware: dict[str, Any], device: str) -> str:
    if not hardware:
        return "hardware not recorded"
    gpus = ", ".join(hardware.get("cuda") or []) or "no GPU"
    cores = _count(hardware.get("cores") or 1, "core")
    return f"{hardware.get('processor', 'unknown processor')}, {cores}, {gpus}{f', device {device}' if device else ''}"


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def _times(ratio: float) -> str:
    """How many times cheaper than L-STN, in words."""
    if ratio >= 1.05:
        return f"for 1/{ratio:.0f} of its GFLOPs" if ratio >= 1.95 else f"for {100 / ratio:.0f} % of its GFLOPs"
    return "at the same GFLOPs" if ratio > 0.95 else f"for {1 / ratio:.1f} times its GFLOPs"
