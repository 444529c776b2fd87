"""Reading a search space file: TOML in, checked values out; every mistake is one line with its place and its cure."""

import dataclasses
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

from lstn_search.errors import ArchError, SettingError, SpaceError, did_you_mean
from lstn_search.spec.arch import SOFT_ARGMAX, Arch, Norm
from lstn_search.spec.blocks import kinds_in
from lstn_search.spec.choices import FLATTEN, IMAGE, IMAGE_CHANNELS, Value
from lstn_search.spec.ladder import DEFAULT_LADDER, Ladder
from lstn_search.spec.names import checked_label
from lstn_search.spec.reading import check_plain, read_text, short
from lstn_search.spec.warp_families import WARP_FAMILIES

__all__ = ["check_space", "read_toml"]


@dataclasses.dataclass(kw_only=True, frozen=True, slots=True)
class _Field:
    """What the values of one list may be: booleans, one of some words, or whole numbers in a range; or a mix."""

    words: tuple[str, ...] = ()
    minimum: int | None = None
    maximum: int = 4096
    odd: bool = False
    boolean: bool = False
    optional: bool = False
    """Whether the list may be left out; the choice is then not asked for."""


_FIELDS: dict[str, _Field] = {
    "look": _Field(words=(IMAGE,), minimum=1, optional=True),
    "norm": _Field(words=get_args(Norm)),
    "stem.kind": _Field(words=kinds_in("stem")),
    "stem.kernel": _Field(minimum=1, odd=True),
    "stem.stride": _Field(minimum=1),
    "stem.width": _Field(minimum=1),
    "stem.padded": _Field(boolean=True),
    "stem.max_pool": _Field(minimum=1),
    "units": _Field(minimum=0, maximum=32),
    "unit.kind": _Field(words=kinds_in("unit")),
    "unit.decoder": _Field(minimum=1),
    "unit.encoder": _Field(minimum=1),
    "unit.kernel": _Field(minimum=1, odd=True),
    "unit.stride": _Field(minimum=1),
    "unit.padded": _Field(boolean=True),
    "unit.max_pool": _Field(minimum=1),
    "tail.width": _Field(minimum=0),
    "head.pool_to": _Field(words=(FLATTEN, SOFT_ARGMAX), minimum=1),
    "head.hidden": _Field(minimum=0),
    "head.warp": _Field(words=tuple(WARP_FAMILIES), optional=True),
}
MAX_VALUES = 256
"""In a list: TPE and the moves look at each."""
MAX_BYTES, MAX_LINE = 2**20, 4_000
"""Of a file, and characters of a line in it: longer keys take the parser minutes."""
_TABLES = tuple(dict.fromkeys(path.split(".")[0] for path in _FIELDS if "." in path))
_TOP_LEVEL = ("description", "seeds", "ladder", *_TABLES, *(path for path in _FIELDS if "." not in path))
_SEED_KEYS = ("source", "norm", "in_channels", "look", "layers", "head")


def read_toml(path: Path) -> dict[str, Any]:
    """The tables of a TOML file, unchecked."""
    try:
        text = read_text(path, max_bytes=MAX_BYTES)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise SpaceError(f"{path}: cannot be read ({reason}); give the path of a space's .toml") from None
    if any(len(line) > MAX_LINE for line in text.splitlines()):
        raise SpaceError(f"{path}: a line of more than {MAX_LINE:,} characters; break it up")
    try:
        return check_plain(tomllib.loads(text))
    except RecursionError:
        raise SpaceError(f"{path}: nested too deep; write it as lstn.toml is written") from None
    except ValueError as error:
        raise SpaceError(f"{path}: not valid TOML ({error}); correct that line") from None


def check_space(
    data: Any, where: str
) -> tuple[str, dict[str, tuple[Value, ...]], dict[str, Arch], dict[str, str], Ladder | None]:
    """Description, values of each choice, seed points, their sources, and the ladder, from the tables of a space file.

    Raises SpaceError, naming `where`, the path in the file, the value and the cure.
    """
    table = _table(data, where, "", known=_TOP_LEVEL)
    description = _text(table.get("description", ""), where, "description")
    parts = {name: _known_table(table, name, where) for name in _TABLES}
    values: dict[str, tuple[Value, ...]] = {}
    for path, field in _FIELDS.items():
        group, _, key = path.rpartition(".")
        source = parts[group] if group else table
        if key not in source and field.optional:
            continue
        if key not in source:
            raise SpaceError(f"{where}: {path} is missing; add a list of its values (one value fixes it)")
        values[path] = _values(source[key], field, where, path)
    seeds, sources = _seeds(table.get("seeds", {}), where)
    return description, values, seeds, sources, _ladder(table.get("ladder"), where)


def _ladder(data: Any, where: str) -> Ladder | None:
    if data is None:
        return None
    table = _table(data, where, "ladder", known=("recover", "epochs", "eta"))
    given = {"recover": list(DEFAULT_LADDER.recover), "epochs": list(DEFAULT_LADDER.epochs), **table}
    if not isinstance(given["epochs"], list) or not given["epochs"]:
        raise SpaceError(
            f"{where}: ladder.epochs must be a list of epochs, got {short(given['epochs'])}; write epochs = [1, 3, 9]"
        )
    if not isinstance(given["recover"], list):
        raise SpaceError(
            f"{where}: ladder.recover must be a list of percents, got {short(given['recover'])}; write recover = [25]"
        )
    try:
        return Ladder.from_dict(given)
    except SettingError as error:
        raise SpaceError(f"{where}: ladder: {error}") from None


def _known_table(table: Mapping[str, Any], name: str, where: str) -> Mapping[str, Any]:
    keys = tuple(path.split(".")[1] for path in _FIELDS if path.startswith(f"{name}."))
    if name not in table:
        needed = ", ".join(key for key in keys if not _FIELDS[f"{name}.{key}"].optional)
        raise SpaceError(f"{where}: table [{name}] is missing; add it with the lists {needed}")
    return _table(table[name], where, name, known=keys)


def _table(data: Any, where: str, path: str, *, known: Sequence[str] | None) -> Mapping[str, Any]:
    if not isinstance(data, Mapping):
        raise SpaceError(f"{where}: {path or 'the file'} must be a table, got {short(data)}")
    for key in data:
        if known is not None and key not in known:
            raise SpaceError(f"{where}: unknown key {short(_join(path, key))}; {did_you_mean(str(key), known)}")
    return data


def _values(data: Any, field: _Field, where: str, path: str) -> tuple[Value, ...]:
    if not isinstance(data, list):
        raise SpaceError(
            f"{where}: {path} must be a list of values, got {short(data)}; write {path} = [{_literal(data)}]"
        )
    if not data:
        raise SpaceError(f"{where}: {path} is an empty list; give it at least one value")
    if len(data) > MAX_VALUES:
        raise SpaceError(f"{where}: {path} lists {len(data):,} values; {MAX_VALUES} are the most")
    for i, value in enumerate(data):
        place = f"{where}: {path}[{i}]"
        _check_value(value, field, place)
        if value in data[:i]:
            raise SpaceError(f"{place}: {_literal(value)} stands in the list twice; remove one")
    return tuple(data)


def _check_value(value: Any, field: _Field, place: str) -> None:
    if isinstance(value, bool) or field.boolean:
        if not (field.boolean and isinstance(value, bool)):
            wanted = "true or false" if field.boolean else _wanted(field)
            raise SpaceError(f"{place}: {_literal(value)} is not {wanted}")
    elif isinstance(value, str) and field.words:
        if value not in field.words:
            raise SpaceError(f"{place}: {short(value)} is unknown; {did_you_mean(value, field.words)}")
    elif not isinstance(value, int) or field.minimum is None:
        raise SpaceError(f"{place}: {_literal(value)} is not {_wanted(field)}")
    elif not field.minimum <= value <= field.maximum:
        raise SpaceError(f"{place}: {short(value)} is out of range; use {field.minimum} to {field.maximum}")
    elif field.odd and value % 2 == 0:
        raise SpaceError(f"{place}: {value} is even; use an odd kernel, so that padding can keep the map's size")


def _seeds(data: Any, where: str) -> tuple[dict[str, Arch], dict[str, str]]:
    seeds: dict[str, Arch] = {}
    sources: dict[str, str] = {}
    for name, table in _table(data, where, "seeds", known=None).items():
        path = f"seeds.{name}"
        label = _label(name, seeds, where)
        fields = dict(_table(table, where, path, known=_SEED_KEYS))
        sources[label] = _text(fields.pop("source", ""), where, f"{path}.source")
        if "norm" in fields:
            norm, layers = fields.pop("norm"), fields.get("layers")
            _check_value(norm, _FIELDS["norm"], f"{where}: {path}.norm")
            if isinstance(layers, list):
                fields["layers"] = [{"norm": norm, **x} if isinstance(x, Mapping) else x for x in layers]
        try:
            seeds[label] = Arch.from_dict(fields, where=f"{where}: {path}")
        except ArchError as error:
            raise SpaceError(str(error)) from None
        if seeds[label].in_channels != IMAGE_CHANNELS:
            channels = seeds[label].in_channels
            raise SpaceError(
                f"{where}: {path}.in_channels is {channels}, but images have {IMAGE_CHANNELS} channels; leave it out"
            )
    return seeds, sources


def _label(name: str, others: Iterable[str], where: str) -> str:
    """The name of a seed point, checked; files of two that differ in case alone would be one file on some disks."""
    try:
        label = checked_label(name, "seed point", is_pick=True)
    except SettingError as error:
        raise SpaceError(f"{where}: {error}") from None
    for other in others:
        if other.casefold() == label.casefold():
            raise SpaceError(f"{where}: seed points {other!r} and {name!r} have the same name; rename one")
    return label


def _text(value: Any, where: str, path: str) -> str:
    if not isinstance(value, str):
        raise SpaceError(f"{where}: {path} must be text in quotes, got {_literal(value)}")
    return value


def _wanted(field: _Field) -> str:
    wanted = [repr(word) for word in field.words]
    if field.minimum is not None:
        wanted.append("a whole number")
    return " or ".join(wanted)


def _literal(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else short(value)


def _join(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key
