"""The image files of a dataset, all of them: read once to see what they hold, and decoded on all cores."""

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from lstn_search.data.cache import write_cached
from lstn_search.data.decoding import MAX_BYTES, Look, Row, Scale, decode, look, read_file, scales_of, size_of
from lstn_search.errors import DataError

__all__ = ["decode_files", "image_sizes", "look_at"]

_LOOK_VERSION = 2
"""Raise it when `look` changes."""
_RUN = 32  # images a thread decodes in one go
_NUM_RUNS_AHEAD = 8  # runs decoded ahead of the writer: 38 MB at 224 px


def look_at(root: Path, paths: Sequence[str], *, cache_dir: Path) -> list[Look]:
    """What each file holds. They are read only when a size or a time stamp has changed. Raises DataError."""
    with ThreadPoolExecutor(_num_workers()) as pool:
        seen = list(pool.map(lambda path: _stamp(root / path), paths, chunksize=64))
        known = json.dumps([_LOOK_VERSION, str(root.resolve()), list(zip(paths, seen, strict=True))])
        memo = cache_dir / "digests" / f"{hashlib.sha256(known.encode()).hexdigest()}.json"
        try:
            kept = json.loads(memo.read_bytes())
            looks = [_look_of(row) for row in kept]
            if len(looks) == len(paths):
                return looks
        except (OSError, ValueError, TypeError, RecursionError):
            pass  # no memo yet, or a damaged one: read the files
        looks = list(pool.map(lambda path: _look(root / path), paths, chunksize=64))
    rows = [[one.digest, one.mode, one.low, one.high] for one in looks]
    write_cached(memo, json.dumps(rows).encode(), cache_dir=cache_dir)
    return looks


def decode_files(
    root: Path, paths: Sequence[str], *, image_size: int, scales: Mapping[str, Scale] | None = None
) -> Iterator[Row]:
    """Decode each file and resize it to `image_size` squared, in order, on all cores.

    `scales` are those of the files themselves where they are not given.
    """
    runs = [paths[start : start + _RUN] for start in range(0, len(paths), _RUN)]
    with ThreadPoolExecutor(_num_workers()) as pool:
        known = scales_of(list(pool.map(lambda path: _look(root / path), paths))) if scales is None else scales
        for start in range(0, len(runs), _NUM_RUNS_AHEAD):
            ahead = runs[start : start + _NUM_RUNS_AHEAD]
            for rows in pool.map(lambda run: [decode(root / path, image_size, known) for path in run], ahead):
                yield from rows


def image_sizes(root: Path, paths: Sequence[str]) -> list[tuple[int, int] | None]:
    """Width and height of each picture as `decode_files` shows it, from its header; None for what is no image."""
    with ThreadPoolExecutor(_num_workers()) as pool:
        return list(pool.map(lambda path: size_of(root / path), paths, chunksize=_RUN))


def _stamp(path: Path) -> tuple[int, int, int]:
    try:
        facts = path.stat()
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}); check the file") from None
    return facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns


def _look(path: Path) -> Look:
    content = read_file(path, MAX_BYTES)
    return look(content, hashlib.sha256(content).hexdigest())


def _look_of(row: Any) -> Look:
    digest, mode, low, high = row
    if not (isinstance(digest, str) and isinstance(mode, str)):
        raise TypeError
    return Look(digest, mode, float(low), float(high))


def _num_workers() -> int:
    return min(8, os.cpu_count() or 1)
