"""What a verification trains: which architectures of a run, how long, with which seeds. No torch here."""

import dataclasses
import itertools
import shlex
from collections.abc import Sequence

from lstn_search.errors import SettingError, did_you_mean
from lstn_search.program import program
from lstn_search.runs.entries import Entry
from lstn_search.runs.run import Run
from lstn_search.spec.arch import Arch
from lstn_search.spec.fields import check_count
from lstn_search.spec.task import Task

__all__ = ["CONTROL", "FIRST_SEED", "ORACLE", "Contender", "Plan", "make_plan"]

FIRST_SEED = 1000
"""Far from the seeds people give to searches."""
CONTROL, ORACLE = "control", "oracle"


@dataclasses.dataclass(kw_only=True, frozen=True, slots=True)
class Contender:
    """An architecture to train again."""

    name: str
    number: int
    arch: Arch
    gflops: float
    params: int
    over_budget: bool
    is_seed: bool
    is_front_pick: bool
    searched_top1: float | None
    searched_epochs: int | None
    is_comparable: bool
    """Whether the search trained it for as long as the verification does."""


@dataclasses.dataclass(kw_only=True, frozen=True, slots=True)
class Plan:
    """Everything a verification trains."""

    contenders: tuple[Contender, ...]
    """Cheapest first."""
    task: Task
    """Of every training, but for its seed."""
    seeds: tuple[int, ...]
    budget_gflops: float
    num_val: int
    """Images, like the next."""
    num_test: int
    command: str
    """That asks for the same again."""

    @property
    def keys(self) -> tuple[str, ...]:
        """What is trained with each seed, in this order: control, oracle, and the digests of the architectures."""
        references = (CONTROL, ORACLE) if self.task.has_oracle else (CONTROL,)
        return (*references, *(contender.arch.digest for contender in self.contenders))


def make_plan(
    run: Run,
    *,
    top: int = 2,
    seeds: int = 5,
    against: Sequence[str] | None = None,
    epochs: int | None = None,
    recover_steps: int | None = None,
    data_dir: str | None = None,
    poses: str | None = None,
    device: str | None = None,
) -> Plan:
    """The `top` most accurate of the run's front and its seed points, at the run's longest schedule or a longer one.

    `against` names the seed points, if not all.
    Raises SettingError: a number that makes no sense, a shorter schedule, or a run whose front is empty; and
    RunError: a run that was trained in another way than this release trains.
    """
    check_count("top", top, limit=1_000)
    check_count("seeds", seeds, minimum=2, limit=1_000, reason=", since an interval needs two")
    run.folder.check_same_recipe(cure="search anew")
    run.pick("best")  # refuses an empty front, with the cure
    settings = run.folder.settings
    longest = settings.ladder.epochs[-1] if settings.ladder.epochs else run.task.epochs
    task = dataclasses.replace(
        run.task,  # in the precision of the search
        epochs=_at_least("epochs", longest, epochs),
        recover_steps=_at_least("recover steps", run.task.recover_steps, recover_steps),
        data_dir=data_dir or run.task.data_dir,
        poses=poses or run.task.poses,
        device=device or run.task.device,
    )
    picks = sorted(run.front, key=lambda entry: -entry.accuracy)[:top]
    seed_points = {entry.candidate.name: entry for entry in run.entries if entry.candidate.is_seed and entry.rung >= 0}
    for name in against or ():
        if name not in seed_points:
            raise SettingError(
                f"{name!r} is no seed point that {run.folder.path} has trained; {did_you_mean(name, seed_points)}"
            )
    wanted = [seed_points[name] for name in (seed_points if against is None else against)]
    chosen = {entry.candidate.number: entry for entry in (*picks, *wanted)}.values()
    contenders = (_contender(run, entry, task, is_front_pick=entry in picks) for entry in chosen)
    options = {
        "against": None if against is None else shlex.quote(",".join(against)),
        "epochs": epochs,
        "recover-steps": recover_steps,
    }
    given = "".join(f" --{name} {value}" for name, value in options.items() if value is not None)
    words = [str(run.folder.path), *run.folder.storage_words]
    fresh = (seed for seed in itertools.count(FIRST_SEED) if seed != run.task.seed)
    return Plan(
        contenders=tuple(sorted(contenders, key=lambda contender: (contender.gflops, contender.number))),
        task=task,
        seeds=tuple(itertools.islice(fresh, seeds)),
        budget_gflops=settings.budget_gflops,
        num_val=run.folder.image_fact("val"),
        num_test=run.folder.image_fact("test"),
        command=f"{program()} verify {shlex.join(words)} --top {top} --seeds {seeds}{given}",
    )


def _at_least(words: str, searched: int, given: int | None) -> int:
    if given is not None and given < searched:
        raise SettingError(f"{words} must be at least {searched}, what the search trained, got {given}")
    return given or searched


def _contender(run: Run, entry: Entry, task: Task, *, is_front_pick: bool) -> Contender:
    candidate, result = entry.candidate, entry.result
    searched = run.task
    if task.protocol == "paper":  # where early stopping, not the schedule, says how many epochs there are
        as_long = task.epochs == searched.epochs
    else:
        as_long = (result.epochs, result.recover_steps) == (task.epochs, task.recover_steps)
    return Contender(
        name=candidate.name,
        number=candidate.number,
        arch=candidate.arch,
        gflops=candidate.gflops,
        params=candidate.params,
        over_budget=candidate.over_budget,
        is_seed=candidate.is_seed,
        is_front_pick=is_front_pick,
        searched_top1=result.val_top1,
        searched_epochs=result.epochs,
        is_comparable=as_long and result.val_top1 is not None,
    )
