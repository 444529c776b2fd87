"""Results that are worth computing once: files in the cache folder, named by everything the result depends on."""

import contextlib
import json
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from filelock import FileLock

from lstn_search.atomic import write_atomically
from lstn_search.errors import DataError, why
from lstn_search.spec.reading import read_json

__all__ = ["locked", "remembered", "writing_to"]

T = TypeVar("T")

_log = logging.getLogger(__name__)


def remembered(
    folder: Path,
    key: str,
    make: Callable[[], T],
    *,
    write: Callable[[T], dict[str, Any]],
    read: Callable[[Any], T],
) -> T:
    """What `make` gives, from `folder` when it was made before; one process makes it, others wait.

    A damaged file is made again, with a warning: `read` raises ValueError, KeyError or TypeError on what it did not
    write. Raises DataError when the folder cannot be written.
    """
    with locked(folder, key) as stem:
        file = stem.with_suffix(".json")
        if file.exists():
            try:
                return read(read_json(file))
            except (OSError, ValueError, KeyError, TypeError) as error:
                _log.warning("%s cannot be read (%s: %s); it is made again", file, type(error).__name__, error)
        value = make()
        with writing_to(folder):
            write_atomically(file, json.dumps(write(value), indent=2).encode())
        return value


@contextlib.contextmanager
def locked(folder: Path, key: str) -> Iterator[Path]:
    """The path, without suffix, of the files that `key` names in `folder`: ours alone until we are done."""
    stem = folder / key[:32]
    with writing_to(folder):
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(stem.with_suffix(".lock"))
        lock.acquire()
    try:
        yield stem
    finally:
        lock.release()


@contextlib.contextmanager
def writing_to(folder: Path) -> Iterator[None]:
    """Turn an OSError into one line that says what can be done about the cache."""
    try:
        yield
    except (OSError, NotImplementedError) as error:  # the latter: a file system without locks
        cure = "make room, or choose another folder with --cache-dir or LSTN_CACHE_DIR"
        raise DataError(f"cannot write to the cache folder {folder} {why(error, cure)}") from None
