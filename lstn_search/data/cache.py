"""The cache of decoded images: one folder an entry, `images.npy` (uint8, NHWC) and `meta.json`.

An entry is written under a lock into `<key>.partial`, synced, and renamed when it is complete, so that a reader never
sees half of one and two processes never write the same. Pixels are streamed into a plain file: a full disk then is an
error one can report, where writing through a memory map would kill the process.
"""

import contextlib
import dataclasses
import errno
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
import platformdirs
from filelock import FileLock

from lstn_search.atomic import write_atomically
from lstn_search.errors import DataError, why
from lstn_search.spec.fields import expanded

__all__ = ["CACHE_VERSION", "Entry", "cached_images", "default_cache_dir", "write_cached"]

CACHE_VERSION = 1
"""Raise it when decoding or resizing changes what ends up in the cache."""

CURE = "choose another folder with --cache-dir or LSTN_CACHE_DIR"

_DECODER = 2
"""Raise it when decoding learns to read files that were damaged to it: entries with damaged ones are made again."""
_BROKEN = (OSError, ValueError, KeyError, TypeError, AttributeError, SyntaxError, RecursionError)
"""What reading an entry can raise that is not as it was written."""
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


@dataclasses.dataclass(kw_only=True, frozen=True, slots=True)
class Entry:
    """What the cache holds of one dataset at one size."""

    images_NHWC: npt.NDArray[np.uint8]
    """Memory-mapped, copy on write: nothing done to it reaches the file."""
    damaged: dict[int, str]
    """Position in the listing -> what is wrong with the file; these images have no row."""


def default_cache_dir() -> Path:
    """$LSTN_CACHE_DIR, or the user's cache folder for this platform. Raises DataError where nobody knows his home."""
    try:
        return expanded(os.environ.get("LSTN_CACHE_DIR") or platformdirs.user_cache_dir("lstn-search"))
    except RuntimeError:
        raise DataError(f"there is no home folder for the cache (HOME is not set); {CURE}") from None


def cached_images(
    content: str,
    *,
    name: str,
    num_images: int,
    image_size: int,
    decode: Callable[[], Iterator[npt.NDArray[np.uint8] | str]],
    cache_dir: Path,
) -> Entry:
    """The decoded images of a dataset, from the cache or else decoded into it first.

    `content` is a digest of everything the pixels depend on except size and code version; `decode` yields
    `num_images` rows (image_size x image_size x 3), or what is wrong with the file instead of a row.
    Raises DataError when the cache cannot be written.
    """
    key = hashlib.sha256(f"{CACHE_VERSION}:{image_size}:{content}".encode()).hexdigest()[:24]
    entry = cache_dir / "images" / f"{name}-{image_size}px-{key}"
    with contextlib.suppress(*_BROKEN):
        return _read(entry, num_images, image_size)
    num_bytes = num_images * image_size**2 * 3
    with _explain(cache_dir, num_bytes):
        entry.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(entry.with_name(entry.name + ".lock")):
            with contextlib.suppress(*_BROKEN):
                return _read(entry, num_images, image_size)  # another process was faster
            shutil.rmtree(entry, ignore_errors=True)  # damaged, or it would have been read
            if shutil.disk_usage(entry.parent).free < num_bytes:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            partial = entry.with_name(entry.name + ".partial")
            shutil.rmtree(partial, ignore_errors=True)
            try:
                partial.mkdir()
                _write(partial, decode(), num_images, image_size)
                partial.rename(entry)
                _sync_folder(entry.parent)
            except BaseException:
                shutil.rmtree(partial, ignore_errors=True)
                raise
    return _read(entry, num_images, image_size)


def write_cached(path: Path, content: bytes, *, cache_dir: Path) -> None:
    """Write a small file of the cache, whole or not at all. Raises DataError when it cannot."""
    with _explain(cache_dir, len(content)):
        write_atomically(path, content)


def _write(folder: Path, rows: Iterator[npt.NDArray[np.uint8] | str], num_images: int, image_size: int) -> None:
    damaged: dict[int, str] = {}
    with (folder / "images.npy").open("wb") as file:
        _write_header(file, num_images, image_size)
        position = -1
        for position, row in enumerate(rows):
            if isinstance(row, str):
                damaged[position] = row
            else:
                assert row.shape == (image_size, image_size, 3) and row.dtype == np.uint8
                file.write(np.ascontiguousarray(row).data)
        assert position + 1 == num_images
        if damaged:
            file.seek(0)
            _write_header(file, num_images - len(damaged), image_size)  # numpy leaves room for the number to change
        _sync(file)
    with (folder / "meta.json").open("wb") as file:
        meta = {"num_images": num_images - len(damaged), "damaged": damaged, "decoder": _DECODER}
        file.write(json.dumps(meta).encode())
        _sync(file)


def _write_header(file: BinaryIO, num_images: int, image_size: int) -> None:
    shape = (num_images, image_size, image_size, 3)
    np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})


def _read(entry: Path, num_images: int, image_size: int) -> Entry:
    """An entry, if it is what was to be decoded; else it raises one of _BROKEN."""
    meta: Any = json.loads((entry / "meta.json").read_bytes())
    damaged = {int(position): str(reason) for position, reason in meta["damaged"].items()}
    num_rows = num_images - len(damaged)
    if meta["num_images"] != num_rows or not all(0 <= position < num_images for position in damaged):
        raise ValueError("meta.json is of other images")
    if damaged and meta.get("decoder") != _DECODER:
        raise ValueError("an earlier release could not read all of them")
    if num_rows == 0:
        return Entry(images_NHWC=np.empty((0, 1, 1, 3), np.uint8), damaged=damaged)
    images_NHWC = np.load(entry / "images.npy", mmap_mode="c")
    if images_NHWC.shape != (num_rows, image_size, image_size, 3) or images_NHWC.dtype != np.uint8:
        raise ValueError("images.npy and meta.json disagree")
    return Entry(images_NHWC=images_NHWC, damaged=damaged)


def _sync(file: Any) -> None:
    file.flush()
    os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@contextlib.contextmanager
def _explain(cache_dir: Path, num_bytes: int) -> Iterator[None]:
    try:
        yield
    except (OSError, NotImplementedError) as error:  # the latter: a file system without locks
        if isinstance(error, OSError) and error.errno in _FULL:
            needed = f"{num_bytes:,} bytes ({num_bytes / 1e6:,.1f} MB)"
            raise DataError(
                f"disk full: the cache in {cache_dir} needs {needed} ({error.strerror}); free some space or {CURE}"
            ) from None
        raise DataError(f"cannot write to the cache folder {cache_dir} {why(error, CURE)}") from None
