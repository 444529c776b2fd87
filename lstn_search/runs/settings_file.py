"""settings.toml of a run folder: what `search --config` makes the run again with, in the words of its options.

A space that is no named one, or has been changed from Python, is written beside it.
"""

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from lstn_search.errors import SettingError
from lstn_search.program import SCRIPT, VERSION
from lstn_search.runs.folder import RunFolder
from lstn_search.spec.arch import Arch
from lstn_search.spec.fields import changed, defaults
from lstn_search.spec.reading import short
from lstn_search.spec.settings import SearchSettings
from lstn_search.spec.space import Space, load_space, space_names
from lstn_search.spec.space_file import read_toml
from lstn_search.spec.task import Task

__all__ = ["SETTINGS", "read_settings", "write_settings"]

SETTINGS = "settings.toml"


def write_settings(folder: RunFolder, space: Space, *, trials: int, minutes: float | None) -> None:
    """Write the settings of a search that begins, or goes on. Raises RunError."""
    settings = folder.settings
    name = space.name
    if name not in space_names() or load_space(name).digest != space.digest:
        file = f"space/{name}.toml"
        (folder.path / "space").mkdir(exist_ok=True)
        folder.write_text(file, "\n".join(_space_lines(space)) + "\n")
        name = str((folder.path / file).absolute())
    head = [f"# {SCRIPT} {VERSION}; to make this run again: search --config {SETTINGS} --out OTHER_DIR"]
    lines = [f"{key} = {_literal(value)}" for key, value in _given(settings, name, trials, minutes).items()]
    folder.write_text(SETTINGS, "\n".join([*head, *lines]) + "\n")


def read_settings(file: Path) -> dict[str, str | list[str] | Any]:
    """The settings of a file, by the names of their options in Python, each as the command line would have it.

    Raises SettingError on a file that cannot be read, or on a value that is no setting.
    """
    found: dict[str, Any] = {}
    try:
        table = read_toml(file)
    except ValueError as error:
        raise SettingError(str(error).replace("a space's .toml", "a file of settings")) from None
    for name, value in table.items():
        values = value if isinstance(value, list) else [value]
        if not all(isinstance(one, str | int | float) and one != "" for one in values) or not values:
            raise SettingError(f"{file}: {name} = {short(value)} is no setting; give a text, a number, true or false")
        texts = [str(one).lower() if isinstance(one, bool) else str(one) for one in values]
        found[name.replace("-", "_")] = texts if isinstance(value, list) else texts[0]
    return found


def _given(settings: SearchSettings, space: str, trials: int, minutes: float | None) -> dict[str, Any]:
    task, ladder = settings.task, settings.ladder
    of_search = changed(settings, {"seed": task.seed})
    of_search.pop("seed", None)  # that of the task is both
    given = {"dataset": task.dataset, **of_search, "space": space, "trials": trials, "minutes": minutes}
    given |= {"seed": task.seed, **changed(task, defaults(Task, task.protocol))}
    if task.protocol != "paper":
        given |= {"ladder": ladder.text, "eta": ladder.eta}
    return {name: value for name, value in given.items() if value is not None}


def _space_lines(space: Space) -> Iterator[str]:
    """A space as load_space reads it."""
    yield f"description = {_literal(space.description)}"
    groups: dict[str, dict[str, Any]] = {}
    for path, values in space.values.items():
        group, _, key = path.rpartition(".")
        groups.setdefault(group, {})[key] = list(values)
    for group, lists in sorted(groups.items(), key=lambda pair: pair[0] != ""):
        if group:
            yield f"\n[{group}]"
        yield from (f"{key} = {_literal(values)}" for key, values in lists.items())
    ladder = space.ladder
    yield f"\n[ladder]\nrecover = {_literal(list(ladder.recover))}\nepochs = {_literal(list(ladder.epochs))}"
    yield f"eta = {ladder.eta}"
    for name, arch in space.seeds.items():
        yield f"\n[seeds.{_literal(name)}]\nsource = {_literal(space.sources[name])}"
        yield from _arch_lines(arch)


def _arch_lines(arch: Arch) -> Iterator[str]:
    table = arch.to_dict()
    if arch.look is not None:
        yield f"look = {arch.look}"
    yield "layers = ["
    yield from (f"  {_inline(layer)}," for layer in table["layers"])
    yield f"]\nhead = {_inline(table['head'])}"


def _inline(table: Mapping[str, Any]) -> str:
    return "{ " + ", ".join(f"{key} = {_literal(value)}" for key, value in table.items() if value is not None) + " }"


def _literal(value: Any) -> str:
    """A plain value in TOML: JSON is that, but for what no text of ours holds, and for floats that are whole."""
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_literal, value)) + "]"
    if isinstance(value, float) and not math.isfinite(value):
        return "nan"
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
