"""Results that are worth computing once: JSON in the cache folder, named by everything the result depends on."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from filelock import FileLock

from lstn_search.weights import write_atomically

__all__ = ["remembered"]

T = TypeVar("T")


def remembered(
    folder: Path,
    key: str,
    make: Callable[[], T],
    *,
    write: Callable[[T], dict[str, Any]],
    read: Callable[[dict[str, Any]], T],
) -> T:
    """What `make` gives, from `folder` when it was made before; one process makes it, others wait. A damaged file is
    made again."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{key[:32]}.json"
    with FileLock(file.with_suffix(".lock")):
        if file.exists():
            try:
                return read(json.loads(file.read_text(encoding="utf-8")))
            except (ValueError, KeyError, TypeError):
                file.unlink()
        value = make()
        write_atomically(file, json.dumps(write(value), indent=2).encode())
        return value
