"""Images that are given from Python, as a folder of files: from then on they are `folder:PATH` like any others.

Lossless PNG files, one folder a class, below train, val and test. The folder is named by the content of all of them, so
the same images are written once, and a file of class names keeps the order that the numbers of the labels say.
"""

import hashlib
import json
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from lstn_search.atomic import beside, write_atomically
from lstn_search.data.folder import CLASSES
from lstn_search.errors import DataError, why
from lstn_search.spec.names import FOLDER_PREFIX, checked_label
from lstn_search.spec.reading import short

__all__ = ["write_images"]

Pixels = npt.NDArray[np.uint8]

MAX_LABEL = 100_000


def write_images(
    parts: Mapping[str, Any], folder: Path, *, name: str = "images", class_names: Sequence[str] | None = None
) -> str:
    """Write the images of each part (`train`, and perhaps `val` and `test`) below `folder`; the name of the data set.

    A part is a pair of images (N x H x W x 3, N x H x W x 1 or N x H x W: uint8, or float in [0, 1]) and labels from 0
    on; or anything with a length that gives pairs of an image and a label, as a torch Dataset does: images of Pillow,
    arrays of H x W x C, or tensors of C x H x W. Raises DataError on anything else.
    """
    name = checked_label(name, "data set")
    digest = hashlib.sha256()
    num_classes = max((label for _, _, label in _read(parts, digest)), default=-1) + 1
    names = _class_names(class_names, parts, num_classes)
    digest.update(json.dumps(names).encode())
    target = folder / f"{name}-{digest.hexdigest()[:16]}"
    if not target.exists():
        _write(parts, names, target, digest.hexdigest())
    return f"{FOLDER_PREFIX}{target.resolve()}"


def _read(parts: Mapping[str, Any], digest: "hashlib._Hash") -> Iterator[tuple[str, Pixels, int]]:
    """Part, pixels and label of each image; what was read goes into the digest."""
    for part, source in parts.items():
        for pixels, label in _pairs(source, part):
            digest.update(f"{part}\0{label}\0{pixels.shape}\0".encode())
            digest.update(np.ascontiguousarray(pixels).data)
            yield part, pixels, label


def _write(parts: Mapping[str, Any], names: list[str], target: Path, expected: str) -> None:
    """All files, beside the target first, so that it is whole or not there."""
    partial, digest = beside(target), hashlib.sha256()
    try:
        for number, (part, pixels, label) in enumerate(_read(parts, digest)):
            file = partial / part / names[label] / f"{number:07d}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(file, compress_level=1)
        digest.update(json.dumps(names).encode())
        if digest.hexdigest() != expected:
            raise DataError(
                "the data set gives other images each time it is read; take its random transforms out, and give them "
                "to Task(augment=...)"
            )
        write_atomically(partial / CLASSES, json.dumps(names).encode())
        partial.replace(target)
    except OSError as error:
        cure = "make room, or name another cache_dir"
        raise DataError(f"cannot write images to {target} {why(error, cure)}") from None
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _class_names(given: Sequence[str] | None, parts: Mapping[str, Any], num: int) -> list[str]:
    """The names as folders have them; numbers, as wide as the last one, where none are given."""
    found = given if given is not None else next((s.classes for s in parts.values() if hasattr(s, "classes")), None)
    if found is None:
        return [f"{label:0{len(str(num - 1))}d}" for label in range(num)]
    names = [checked_label(name, "class") for name in found]
    if len(set(names)) < len(names):
        raise DataError("two classes have the same name; give each its own in class_names")
    if len(names) < num:
        raise DataError(f"label {num - 1} has no name among {len(names)} class names; labels count from 0")
    return names


def _pairs(source: Any, part: str) -> Iterator[tuple[Pixels, int]]:
    """Each image as uint8 pixels (H x W, or H x W x 3), and its label."""
    pairs: Iterable[Any] = source
    if isinstance(source, tuple) and len(source) == 2:
        images, labels = source
        if len(images) != len(labels):
            raise DataError(f"{part} has {len(images):,} images and {len(labels):,} labels; give one label an image")
        pairs = zip(images, labels, strict=True)
        shape = tuple(getattr(images, "shape", ()))
        if len(shape) == 4 and shape[3] not in (1, 3):
            raise DataError(
                f"images of {part} have the shape {shape}; give N x H x W x 3 (or x 1), channels last: permute others"
            )
    elif hasattr(source, "__getitem__") and hasattr(source, "__len__"):
        pairs = (source[number] for number in range(len(source)))
    else:
        raise DataError(f"{part} is {short(source)}; give (images, labels), or a torch Dataset")
    for number, pair in enumerate(pairs):
        if not (isinstance(pair, tuple | list) and len(pair) == 2):
            raise DataError(f"item {number} of {part} is {short(pair)}; give pairs of an image and its label")
        yield _pixels(pair[0], f"image {number} of {part}"), _label(pair[1], f"image {number} of {part}")


def _label(value: Any, what: str) -> int:
    try:
        label = int(value)
        is_whole = label == value and 0 <= label <= MAX_LABEL
    except (TypeError, ValueError, RuntimeError):
        is_whole = False
    if not is_whole:
        raise DataError(f"{what} has the label {short(value)}; labels are whole numbers from 0 on")
    return label


def _pixels(image: Any, what: str) -> Pixels:
    is_tensor = hasattr(image, "detach")
    if is_tensor:
        image = image.detach().cpu().numpy()
    elif isinstance(image, Image.Image):
        image = image if image.mode == "L" else image.convert("RGB")
    array = np.asarray(image)
    if is_tensor and array.ndim == 3 and array.shape[0] in (1, 3) and array.shape[2] not in (1, 3):
        array = array.transpose(1, 2, 0)
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    if not (array.ndim == 2 or (array.ndim == 3 and array.shape[2] == 3)) or array.size == 0:
        raise DataError(f"{what} has the shape {array.shape}; give H x W x 3, H x W x 1 or H x W (grey)")
    if array.dtype.kind == "f":
        low, high = float(array.min()), float(array.max())
        if not (low >= 0 and high <= 1):
            raise DataError(f"{what} holds numbers from {low:g} to {high:g}; give uint8, or floats from 0 to 1")
        array = (255 * array.astype(np.float64)).round()
    elif array.dtype != np.uint8:
        raise DataError(f"{what} is of {array.dtype}; give uint8, or floats from 0 to 1")
    return array.astype(np.uint8)
