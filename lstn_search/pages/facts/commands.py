"""The commands that make a run again and go on from it, as far as its manifest tells."""

import dataclasses
import shlex
from typing import TYPE_CHECKING, Any

from lstn_search.errors import LstnError
from lstn_search.program import program
from lstn_search.spec.fields import changed, defaults, described, option_name
from lstn_search.spec.ladder import DEFAULT_LADDER
from lstn_search.spec.space import load_space
from lstn_search.spec.task import Task

if TYPE_CHECKING:
    from lstn_search.runs.run import Run
    from lstn_search.spec.settings import SearchSettings

__all__ = ["Command", "CommandsInfo", "commands_info"]


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
    settings, where = run.folder.settings, shlex.join([str(run.folder.path), *run.folder.storage_words])
    trained = max(sum(not entry.candidate.is_seed for entry in run.entries), 1)
    asked = run.folder.manifest.get("trials")
    words, notes = _search_words(settings, asked or trained, run.folder.manifest.get("storage"))
    if asked is None:
        notes.insert(0, f"How many --trials were asked for is not recorded; {trained} were trained.")
    line = f"{program()} search {shlex.join(words)} --out"
    best = shlex.join([f"{run.folder.path}:best", *run.folder.storage_words])
    others = [
        ("retrain the front and the seed points with fresh seeds", f"{program()} verify {where}"),
        ("see whether the rungs rank", f"{program()} fidelity {where}"),
        ("train the best longer, and test it once", f"{program()} eval --arch {best}"),
        ("get the best as one Python file", f"{program()} export {where} --out DIR"),
        ("draw this page again", f"{program()} report {where}"),
    ]  # fmt: skip
    return CommandsInfo(
        search=Command(what="make this run again", line=f"{line} OTHER_DIR"),
        resume=Command(what="go on with it", line=f"{line} {shlex.quote(str(run.folder.path))} --resume"),
        others=tuple(Command(what=what, line=other) for what, other in others),
        notes=tuple(notes),
    )


def _search_words(settings: "SearchSettings", num_trials: int, storage: str | None) -> tuple[list[str], list[str]]:
    """The arguments of `search`, and what they leave open."""
    task, notes = settings.task, list[str]()
    of_task = changed(task, defaults(Task, task.protocol))
    of_search = changed(settings, {"seed": task.seed})  # the option --seed is both seeds
    hidden = [f"{field.name} = {of_task.pop(field.name)!r}" for field, known in described(Task)
              if field.name in of_task and not known.is_option]  # fmt: skip
    hidden += [f"sampler seed = {of_search.pop('seed')}"] if "seed" in of_search else []
    given: dict[str, Any] = of_task | of_search | {"trials": num_trials}
    space_ladder = DEFAULT_LADDER
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
        if settings.ladder.text != space_ladder.text or "space" in given:
            given["ladder"] = settings.ladder.text
        if settings.ladder.eta != space_ladder.eta or "space" in given:
            given["eta"] = settings.ladder.eta
    if storage:
        given["storage"] = storage
        notes.append("The database's password is not recorded.")
    given |= {name: ",".join(value) for name, value in given.items() if isinstance(value, tuple)}
    words = [word for name, value in given.items() for word in (option_name(name), str(value))[: 2 - (value is True)]]
    if hidden:
        notes.append(f"Set from Python, no option of the command line: {', '.join(hidden)}.")
    return words, notes
