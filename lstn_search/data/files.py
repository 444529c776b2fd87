"""Finding image files, reading their digests, decoding them."""

import hashlib
import io
import json
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePath

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from lstn_search.data.cache import write_cached
from lstn_search.errors import DataError

__all__ = [
    "IMAGE_SUFFIXES",
    "Row",
    "class_folders",
    "decode_files",
    "file_digests",
    "image_sizes",
    "images_below",
    "resize",
]

IMAGE_SUFFIXES = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".pbm", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"})

Row = npt.NDArray[np.uint8] | str
"""One decoded image, uint8 height x width x 3, or what is wrong with its file."""

_RUN = 32  # images a thread decodes in one go
_NUM_RUNS_AHEAD = 8  # runs decoded ahead of the writer: 38 MB at 224 px


def class_folders(root: Path) -> list[str]:
    """Names of the folders in `root`, hidden ones aside, in the order of their bytes."""
    with os.scandir(root) as entries:
        names = [entry.name for entry in entries if entry.is_dir() and not entry.name.startswith((".", "__MACOSX"))]
    return sorted(names, key=os.fsencode)


def images_below(root: Path, folder: str) -> list[str]:
    """POSIX paths, relative to `root`, of all image files below `root`/`folder`, in the order of their bytes."""
    found: list[str] = []
    for parent, folders, names in os.walk(root / folder, followlinks=True):
        folders[:] = [name for name in folders if not name.startswith(".")]
        above = Path(parent).relative_to(root).as_posix()
        found += [
            f"{above}/{name}"
            for name in names
            if PurePath(name).suffix.lower() in IMAGE_SUFFIXES and not name.startswith(".")
        ]
    return sorted(found, key=os.fsencode)


def file_digests(root: Path, keys: Sequence[str], *, cache_dir: Path) -> list[str]:
    """SHA-256 of each file, in hex. They are read only when a size or a time stamp has changed."""
    try:
        stats = [(root / key).stat() for key in keys]
        seen = [(key, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns) for key, stat in zip(keys, stats, strict=True)]
        memo = (
            cache_dir
            / "digests"
            / f"{hashlib.sha256(json.dumps([str(root.resolve()), seen]).encode()).hexdigest()}.json"
        )
        try:
            digests = json.loads(memo.read_bytes())
            if isinstance(digests, list) and len(digests) == len(keys):
                return [str(digest) for digest in digests]
        except (OSError, ValueError):
            pass  # no memo yet, or a damaged one: read the files
        with ThreadPoolExecutor(_num_workers()) as pool:
            digests = list(
                pool.map(lambda key: hashlib.sha256((root / key).read_bytes()).hexdigest(), keys, chunksize=64)
            )
    except OSError as error:
        raise DataError(f"{error.filename} cannot be read ({error.strerror}); check the dataset's files") from None
    write_cached(memo, json.dumps(digests).encode(), cache_dir=cache_dir)
    return digests


def decode_files(root: Path, keys: Sequence[str], *, image_size: int) -> Iterator[Row]:
    """Decode each file and resize it to `image_size` squared, in order, on all cores."""
    runs = [keys[start : start + _RUN] for start in range(0, len(keys), _RUN)]
    with ThreadPoolExecutor(_num_workers()) as pool:
        for start in range(0, len(runs), _NUM_RUNS_AHEAD):
            ahead = runs[start : start + _NUM_RUNS_AHEAD]
            for rows in pool.map(lambda run: [_decode(root / key, image_size) for key in run], ahead):
                yield from rows


def image_sizes(root: Path, keys: Sequence[str]) -> list[tuple[int, int] | None]:
    """Width and height of each picture as `decode_files` shows it, from its header; None for what is no image."""
    with ThreadPoolExecutor(_num_workers()) as pool:
        return list(pool.map(lambda key: _size(root / key), keys, chunksize=_RUN))


def resize(image: Image.Image, image_size: int) -> npt.NDArray[np.uint8]:
    """To RGB, `image_size` squared (the aspect ratio is not kept): bilinear, antialiased when shrinking."""
    if image.mode.startswith("I;16"):  # Pillow would clip 16-bit grey to white
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    image = image.convert("RGB")
    if image.size != (image_size, image_size):
        image = image.resize((image_size, image_size), Image.Resampling.BILINEAR)
    return np.asarray(image)


def _decode(path: Path, image_size: int) -> Row:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}); check the dataset's files") from None
    try:
        with Image.open(io.BytesIO(content)) as image:
            # A JPEG can be decoded at 1/2, 1/4 or 1/8: twice the wanted size is left for the bilinear filter.
            image.draft("RGB", (2 * image_size, 2 * image_size))
            return resize(ImageOps.exif_transpose(image), image_size)
    except UnidentifiedImageError:
        return "not an image"
    except (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError) as error:
        return str(error).splitlines()[0] if str(error) else type(error).__name__


def _size(path: Path) -> tuple[int, int] | None:
    try:
        with Image.open(path) as image:
            width, height = image.size
            # What is square is so either way; Pillow turns the sizes of TIFFs itself.
            if width == height or image.format == "TIFF" or image.getexif().get(ExifTags.Base.Orientation, 1) < 5:
                return width, height
            return height, width
    except (OSError, SyntaxError, ValueError, TypeError, EOFError, Image.DecompressionBombError):
        return None


def _num_workers() -> int:
    return min(8, os.cpu_count() or 1)
