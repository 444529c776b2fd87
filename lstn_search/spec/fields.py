"""Settings said once: default, help, bounds, place on the command line, and what may forget them. No torch here.

    epochs: int = setting(4, help="Joint epochs of a trial.", panel=TRAINING, minimum=1)

From this follow the check (`check`), the option (`lstn_search.cli.options`), the command that makes a run again
(`lstn_search.pages.facts.commands`), and the keys of what is kept (`Task.key`): a setting is part of all of them unless
`ignored_by` says why not.
"""

import dataclasses
import functools
import math
import os
import types
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from lstn_search.errors import SettingError, did_you_mean
from lstn_search.spec.reading import short

__all__ = [
    *("DATA", "LENGTH", "OUTPUT", "PANELS", "SEARCH", "TRAINING", "WHERE"),
    *(
        "Setting",
        "changed",
        "check",
        "check_count",
        "check_value",
        "defaults",
        "described",
        "expanded",
        "ignored_by",
        "option_name",
        "plain_type",
    ),
    "setting",
]

PANELS = SEARCH, DATA, LENGTH, TRAINING, WHERE, OUTPUT = (
    *("What to search", "Data, classifier and seed", "How long", "Training", "Where it runs", "Output"),
)
"""The groups that help shows options in, in this order."""


MAX_TEXT = 4096
"""Characters of a setting that is text."""


@dataclasses.dataclass(kw_only=True, frozen=True, slots=True)
class Setting:
    """What is known of a field besides its name, type and default."""

    help: str
    panel: str
    """One of PANELS, also for what is no option: the settings in TRAINING are those that a protocol has its own of."""
    is_option: bool = True
    """False: it can only be set from Python."""
    minimum: float | None = None
    above: float | None = None
    """Instead of a minimum: the value itself is out."""
    maximum: float | None = None
    limit: float | None = None
    """Far above what makes sense, whatever the sign: only named where it is exceeded."""
    choices: tuple[str, ...] = ()
    checked_by: Callable[[Any], object] | None = None
    """Instead of the checks that type, bounds and choices give."""
    is_path: bool = False
    """A path that is kept as text."""
    unset: str = ""
    """What None means, in words."""
    elsewhere: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    """Other defaults: by the name of a protocol, or `full` for the full schedule of `eval`."""
    ignored_by: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """What does not depend on it, and why: by a kind of `lstn_search.spec.task`."""
    before: Any = ...
    """What all had that was made before there was this setting: at this value it is left out of keys. `...`: no such
    things."""

    def holds(self, number: float) -> bool:
        """Whether a number is within the bounds."""
        return (
            (self.above is None or number > self.above)
            and (self.minimum is None or number >= self.minimum)
            and (self.maximum is None or number <= self.maximum)
        )

    @property
    def bounds(self) -> str:
        """The bounds in words, with a space before them."""
        named = {"above": self.above, "of at least": self.minimum, "up to": self.maximum}
        return " and".join(f" {words} {bound}" for words, bound in named.items() if bound is not None)


def setting(default: Any = dataclasses.MISSING, **known: Any) -> Any:
    """A field of a dataclass with what is known of it: the attributes of Setting. Without a default it is required."""
    return dataclasses.field(default=default, metadata={Setting: Setting(**known)})


def described(settings: Any) -> tuple[tuple["dataclasses.Field[Any]", Setting], ...]:
    """The fields of a dataclass, or of one of its instances, that were made by `setting`."""
    return _described(settings if isinstance(settings, type) else type(settings))


@functools.cache
def _described(cls: Any) -> tuple[tuple["dataclasses.Field[Any]", Setting], ...]:
    return tuple((one, one.metadata[Setting]) for one in dataclasses.fields(cls) if Setting in one.metadata)


@functools.cache
def plain_type(field: "dataclasses.Field[Any]") -> Any:
    """The type of a field that is given: int of `int | None`, str of a Literal."""
    kind: Any = field.type
    if isinstance(kind, types.UnionType):
        kind = next(part for part in get_args(kind) if part is not types.NoneType)
    return str if get_origin(kind) is Literal else kind


def option_name(name: str) -> str:
    """The option that sets a field."""
    return f"--{name.replace('_', '-')}"


def defaults(settings: Any, place: str) -> dict[str, Any]:
    """The defaults that are others `elsewhere`: there."""
    return {field.name: known.elsewhere[place] for field, known in described(settings) if place in known.elsewhere}


def ignored_by(settings: Any, kind: str) -> set[str]:
    """The names of the settings that a kind of thing does not depend on."""
    return {field.name for field, known in described(settings) if kind in known.ignored_by}


def changed(settings: Any, defaults: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of an instance that are not at these defaults, or their field's."""
    values = {field.name: (getattr(settings, field.name), field.default) for field, _ in described(settings)}
    return {name: value for name, (value, default) in values.items() if value != defaults.get(name, default)}


def check(settings: Any) -> None:
    """Raise SettingError, in one line, on the first setting of an instance whose value makes no sense."""
    for field, known in described(settings):
        _check(field, known, getattr(settings, field.name))


def check_value(settings: Any, name: str, value: Any) -> None:
    """The same for a value that a setting might have."""
    _check(*next(pair for pair in described(settings) if pair[0].name == name), value)


def check_count(what: str, value: Any, *, minimum: int = 1, limit: int, reason: str = "") -> None:
    """Raise SettingError unless a number that is no setting is whole and within its bounds."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise SettingError(f"{what} must be a whole number, got {short(value)}")
    if value < minimum:
        raise SettingError(f"{what} must be at least {minimum}{reason}, got {short(value)}")
    if value > limit:
        raise SettingError(f"{what} must be at most {limit:,}, got {short(value)}")


def _check(field: "dataclasses.Field[Any]", known: Setting, value: Any) -> None:
    if known.checked_by is not None:
        known.checked_by(value)
    elif known.choices:
        if value not in known.choices:
            raise SettingError(f"unknown {_words(field)} {short(value)}; {did_you_mean(value, known.choices)}")
    elif value is None and isinstance(field.type, types.UnionType):
        pass
    elif (kind := plain_type(field)) in (int, float):
        is_number = isinstance(value, int if kind is int else int | float) and not isinstance(value, bool)
        is_finite = not isinstance(value, float) or math.isfinite(value)
        if not (is_number and is_finite and known.holds(value)):
            number = "a whole number" if kind is int else "a number"
            raise SettingError(f"{_words(field)} must be {number}{known.bounds}, got {short(value)}")
        if known.limit is not None and abs(value) > known.limit:
            raise SettingError(f"{_words(field)} must be at most {known.limit:,}, got {short(value)}")
    elif kind is bool and not isinstance(value, bool):
        raise SettingError(f"{_words(field)} must be true or false, got {short(value)}")
    elif kind is str and not (isinstance(value, str) and 0 < len(value) <= MAX_TEXT and "\0" not in value):
        raise SettingError(f"{_words(field)} must be text of 1 to {MAX_TEXT} characters, got {short(value)}")


def _words(field: "dataclasses.Field[Any]") -> str:
    return field.name.replace("_", " ")


def expanded(path: str | os.PathLike[str]) -> Path:
    """A path with `~` and `~user` written out, or left as they are where nobody knows that home."""
    return Path(os.path.expanduser(path))  # noqa: PTH111  (Path.expanduser raises)
