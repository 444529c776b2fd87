"""The door for what is read back from files: plain values that were checked, or a ValueError of one short line.

The caller turns that line into an error of its kind, which names the file and the cure. No torch here.
"""

import functools
import json
import math
import stat
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from lstn_search.errors import LstnError, did_you_mean

if TYPE_CHECKING:
    from pydantic import TypeAdapter

__all__ = [
    *("MAX_NUMBER", "check_plain", "check_regular", "check_table"),
    *("parse_json", "read_as", "read_json", "read_text", "short"),
]

MAX_BYTES = 64 * 2**20
MAX_DEPTH = 64
MAX_NUMBER = 2**63
"""Of a whole number, whatever its sign."""

T = TypeVar("T")


def check_regular(path: Path) -> None:
    """Raise OSError where there is no such file, ValueError for a folder, a pipe or a device: some never end."""
    if not stat.S_ISREG(path.stat().st_mode):
        raise ValueError("no regular file")


def read_text(path: Path, *, max_bytes: int = MAX_BYTES) -> str:
    """The text of a file in UTF-8. Raises OSError, or ValueError: no regular file, too large, or not text."""
    check_regular(path)
    with path.open("rb") as file:
        content = file.read(max_bytes + 1)
    if len(content) > max_bytes:
        raise ValueError(f"larger than {max_bytes:,} bytes")
    try:
        return content.decode()
    except UnicodeDecodeError:
        raise ValueError("not text") from None


def parse_json(text: str | bytes) -> Any:
    """Plain values from JSON. Raises ValueError, also on NaN, on numbers too large and on what is nested too deep."""
    from pydantic_core import from_json

    return check_plain(from_json(text, allow_inf_nan=False))


def read_json(path: Path) -> Any:
    """What `parse_json` gives for a file. Raises OSError or ValueError."""
    return parse_json(read_text(path))


def check_plain(data: T) -> T:
    """What a parser gave, unchanged. Raises ValueError on a number that nothing counts with, or too deep a nest."""
    layer: list[Any] = [data]
    for _ in range(MAX_DEPTH):
        inside: list[Any] = []
        for value in layer:
            if isinstance(value, dict):
                inside.extend(value.values())
            elif isinstance(value, list):
                inside.extend(value)
            elif isinstance(value, float) and not math.isfinite(value):
                raise ValueError(f"{value} is no number to count with")
            elif isinstance(value, int) and abs(value) > MAX_NUMBER:
                raise ValueError(f"a number of {len(str(abs(value)))} digits")
        if not inside:
            return data
        layer = inside
    raise ValueError("nested too deep")


def read_as(cls: type[T], data: Any) -> T:
    """A dataclass from the plain values of its fields, each of its type; unknown names are left out. Or ValueError."""
    from pydantic import ValidationError

    try:
        # As JSON, for there a list may stand for a tuple and yet a text does not for a number.
        read: T = _adapter(cls).validate_json(json.dumps(data), strict=True)  # type: ignore[arg-type]
        return read
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        where = ".".join(map(str, first["loc"]))
        message = first["msg"][:1].lower() + first["msg"][1:]
        raise ValueError(f"{where}: {message}, got {short(first['input'])}".removeprefix(": ")) from None


@functools.cache
def _adapter(cls: Any) -> "TypeAdapter[Any]":
    from pydantic import TypeAdapter

    return TypeAdapter(cls)


def check_table(
    data: Any, where: str, *, known: Collection[str], needed: Collection[str] = (), error: type[LstnError]
) -> Mapping[str, Any]:
    """A table of fields, unchanged. Raises `error` where it is none, a name is unknown, or a needed one is missing."""
    if not isinstance(data, Mapping):
        raise error(f"{where}: must be a table of fields, got {short(data)}")
    for key in data:
        if key not in known:
            raise error(f"{where}: unknown field {short(key)}; {did_you_mean(str(key), known)}")
    for key in needed:
        if key not in data:
            raise error(f"{where}: field {key!r} is missing; add it")
    return data


def short(value: Any, limit: int = 80) -> str:
    """A value as it would be written in Python, cut where it is long."""
    try:
        text = repr(value)
    except (RecursionError, ValueError):  # deep, or a number with more digits than Python prints
        text = f"a {type(value).__name__}"
    return text if len(text) <= limit else f"{text[:limit]}…"
