"""The commands that make a run again and go on from it, as far as its manifest tells."""

import dataclasses
import shlex
from typing import TYPE_CHECKING, Any

from lstn_search.errors import LstnError
from lstn_search.spec.ladder import Ladder
from lstn_search.spec.objectives import DEFAULT_OBJECTIVES
from lstn_search.spec.space import load_space
from lstn_search.spec.task import Task

if TYPE_CHECKING:
    from lstn_search.runs.run import Run
    from lstn_search.spec.settings import SearchSettings

__all__ = ["Command", "CommandsInfo", "commands_info"]

OPTIONS = ("image_size", "trial_size", "backbone", "view", "view_strength", "epochs", "max_epochs", "recover_steps",
           "warm_epochs", "batch_size", "seed", "device")  # fmt: skip
"""Settings of a task that `search` takes as options."""
API_ONLY = ("recover_lr", "lr", "localizer_lr_scale", "split_seed")
"""Settings of a task that only the Python door takes."""


@dataclasses.dataclass(kw_only=True, frozen=True, slots=True)
class Command:
    """A command and what it is for."""

    what: str
    line: str


@dataclasses.dataclass(kw_only=True, frozen=True, slots=True)
class CommandsInfo:
    """The commands, and what they cannot say."""

    search: Command
    resume: Command
    others: tuple[Command, ...]
    notes: tuple[str, ...]


def commands_info(run: "Run") -> CommandsInfo:
    """Search (from the manifest), resume, verify, fidelity, eval, export and report."""
    settings, where = run.folder.settings, shlex.quote(str(run.folder.path))
    num_trials = max(sum(not entry.candidate.is_seed for entry in run.entries), 1)
    words, notes = _search_words(settings, num_trials, run.folder.manifest.get("storage"))
    line = f"python cli.py search {shlex.join(words)} --out"
    best = shlex.quote(f"{run.folder.path}:best")
    others = [
        ("retrain the front and the seed points with fresh seeds", f"python cli.py verify {where}"),
        ("see whether the rungs rank", f"python cli.py fidelity {where}"),
        ("train the best longer, and test it once", f"python cli.py eval --arch {best}"),
        ("get the best as one Python file", f"python cli.py export {where} --out DIR"),
        ("draw this page again", f"python cli.py report {where}"),
    ]  # fmt: skip
    return CommandsInfo(
        search=Command(what="make this run again", line=f"{line} OTHER_DIR"),
        resume=Command(what="go on with it", line=f"{line} {where} --resume"),
        others=tuple(Command(what=what, line=other) for what, other in others),
        notes=tuple(notes),
    )


def _search_words(settings: "SearchSettings", num_trials: int, storage: str | None) -> tuple[list[str], list[str]]:
    """The arguments of `search`, and what they leave open."""
    task, notes = settings.task, [f"How many --trials were asked for is not recorded; {num_trials} were trained."]
    words = ["--dataset", task.dataset, "--budget-gflops", repr(settings.budget_gflops)]
    given: dict[str, Any] = {"data_dir": task.data_dir, "protocol": task.protocol}
    defaults = Task.paper(dataset=task.dataset) if task.protocol == "paper" else Task(dataset=task.dataset)
    given |= {name: getattr(task, name) for name in OPTIONS if getattr(task, name) != getattr(defaults, name)}
    given = {
        name: value for name, value in given.items() if value is not None and (name, value) != ("protocol", "recover")
    }
    space_ladder = Ladder()
    try:
        space = load_space(settings.space_name)
    except LstnError:
        space = None
    if space is None or space.digest != settings.space_digest:
        given["space"] = f"{settings.space_name}.toml"
        notes.append(f"The space {settings.space_name!r} was a file of your own, or has changed since: give its path.")
    else:
        space_ladder = space.ladder
        if settings.space_name != "lstn":
            given["space"] = settings.space_name
    if task.protocol != "paper":
        if settings.ladder.epochs != space_ladder.epochs or "space" in given:
            given["ladder"] = ",".join(map(str, settings.ladder.epochs))
        if settings.ladder.eta != space_ladder.eta or "space" in given:
            given["eta"] = settings.ladder.eta
    given |= {"trials": num_trials, "sampler": settings.sampler}
    if settings.budget_scope != "localizer":
        given["budget_scope"] = settings.budget_scope
    if settings.objectives != DEFAULT_OBJECTIVES:
        given["objectives"] = ",".join(settings.objectives)
    if storage:
        given["storage"] = storage
        notes.append("The database's password is not recorded.")
    for name, value in given.items():
        words += [f"--{name.replace('_', '-')}", str(value)]
    hidden = [
        f"{name} = {getattr(task, name)!r}" for name in API_ONLY if getattr(task, name) != getattr(defaults, name)
    ]
    hidden += [f"sampler seed = {settings.seed}"] if settings.seed != task.seed else []
    if hidden:
        notes.append(f"Set from Python, no option of the command line: {', '.join(hidden)}.")
    return words, notes
