"""CIFAR-10: 60,000 pictures of 32 x 32 pixels in ten classes, split 40,000 / 10,000 / 10,000.

Two layouts are read: the official Python batches (`cifar-10-batches-py`), and image files in `train/<class>` and
`test/<class>`. The official test set is the test part; the validation part is cut out of the training set, stratified.
"""

import io
import logging
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from lstn_search.data import files
from lstn_search.data.listing import Listing, check_classes, list_class_folders, not_found
from lstn_search.data.splits import Split, cut
from lstn_search.errors import DataError

__all__ = ["HOW_TO_GET", "SIZES", "read"]

SIZES = (40_000, 10_000, 10_000)
HOW_TO_GET = (
    "get it with `python cli.py download cifar10 --data-dir DIR`, or unpack "
    "cifar-10-python.tar.gz of the CIFAR-10 page (www.cs.toronto.edu/~kriz) in DIR, and give --data-dir DIR"
)
_BATCHES = "cifar-10-batches-py"
_TRAIN_BATCHES = tuple(f"data_batch_{number}" for number in range(1, 6))
_log = logging.getLogger(__name__)


def read(data_dir: Path, *, split_seed: int, cache_dir: Path) -> Listing:
    """List the pictures of `data_dir`, or of a folder cifar10 in it."""
    for root in (data_dir, data_dir / "cifar10"):
        if root.name == _BATCHES and (root / "batches.meta").is_file():
            return _read_batches(root, split_seed=split_seed, cache_dir=cache_dir)
        if (root / _BATCHES).is_dir():
            return _read_batches(root / _BATCHES, split_seed=split_seed, cache_dir=cache_dir)
        if (root / "train").is_dir() and (root / "test").is_dir():
            return _read_folders(root, split_seed=split_seed, cache_dir=cache_dir)
    raise not_found(
        f"{_BATCHES} and no folders train and test", data_dir, archive="cifar", folder="cifar10", cure=HOW_TO_GET
    )


def _read_folders(root: Path, *, split_seed: int, cache_dir: Path) -> Listing:
    class_names, train_keys, train_labels = list_class_folders(root, below="train")
    test_names, test_keys, test_labels = list_class_folders(root, below="test")
    check_classes(root / "train", class_names, train_labels, minimum=2)
    if class_names != test_names:
        odd = sorted(set(class_names) ^ set(test_names))
        raise DataError(f"class {odd[0]!r} is in only one of train and test in {root}; unpack the archive again")
    keys = train_keys + test_keys
    return Listing(
        class_names=class_names,
        keys=keys,
        labels=train_labels + test_labels,
        content=tuple(files.file_digests(root, keys, cache_dir=cache_dir)),
        split=_split(train_keys, train_labels, len(test_keys), split_seed),
        decode=lambda image_size: files.decode_files(root, keys, image_size=image_size),
        sizes=lambda positions: files.image_sizes(root, [keys[i] for i in positions]),
    )


def _read_batches(root: Path, *, split_seed: int, cache_dir: Path) -> Listing:
    names = ("batches.meta", *_TRAIN_BATCHES, "test_batch")
    digests = dict(zip(names, files.file_digests(root, names, cache_dir=cache_dir), strict=True))
    labels: dict[str, list[int]] = {}
    meta = _unpickle(root / "batches.meta", "label_names")
    class_names = tuple(str(name) for name in meta["label_names"])
    for name in names[1:]:
        labels[name] = [int(label) for label in _unpickle(root / name, "labels")["labels"]]
        if not all(0 <= label < len(class_names) for label in labels[name]):
            raise DataError(f"{root / name} has a label that batches.meta does not name; download it again")
    keys = {name: tuple(f"{name}/{number:05d}" for number in range(len(labels[name]))) for name in names[1:]}
    train_keys = tuple(key for name in _TRAIN_BATCHES for key in keys[name])
    train_labels = tuple(label for name in _TRAIN_BATCHES for label in labels[name])
    return Listing(
        class_names=class_names,
        keys=train_keys + keys["test_batch"],
        labels=train_labels + tuple(labels["test_batch"]),
        content=tuple(digests[name] for name in names[1:] for _ in keys[name]),
        split=_split(train_keys, train_labels, len(keys["test_batch"]), split_seed),
        decode=lambda image_size: _decode_batches(root, names[1:], image_size),
        sizes=lambda positions: [(32, 32)] * len(positions),
    )


def _split(train_keys: tuple[str, ...], train_labels: tuple[int, ...], num_test: int, seed: int) -> Split:
    num_official = SIZES[0] + SIZES[1]
    num_val = round(len(train_keys) * SIZES[1] / num_official)
    if (len(train_keys), num_test) != (num_official, SIZES[2]):
        _log.warning(
            f"cifar10: {len(train_keys):,} training and {num_test:,} test images where there should be "
            f"{num_official:,} and {SIZES[2]:,}; {num_val:,} of the training images are for validation"
        )
    train, val = cut(range(len(train_keys)), train_keys, train_labels, num=num_val, seed=seed)
    return Split(train=train, val=val, test=tuple(range(len(train_keys), len(train_keys) + num_test)))


def _decode_batches(root: Path, names: tuple[str, ...], image_size: int) -> Iterator[files.Row]:
    for name in names:
        pixels = _unpickle(root / name, "data")["data"]
        if not isinstance(pixels, np.ndarray) or pixels.shape[1:] != (3 * 32 * 32,) or pixels.dtype != np.uint8:
            raise DataError(f"{root / name} holds no 32 x 32 pictures; download it again")
        images_NHWC: npt.NDArray[np.uint8] = pixels.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
        for image_HWC in images_NHWC:
            yield files.resize(Image.fromarray(np.ascontiguousarray(image_HWC)), image_size)


class _ArraysOnly(pickle.Unpickler):
    """Reads lists, strings and numpy arrays; a pickle that wants anything else is refused, for it could run code."""

    _KNOWN = frozenset(
        {("multiarray", "_reconstruct"), ("numpy", "ndarray"), ("numpy", "dtype"), ("_codecs", "encode")}
    )

    def find_class(self, module: str, name: str) -> Any:
        if (module.rpartition(".")[2], name) not in self._KNOWN:
            raise pickle.UnpicklingError(f"{module}.{name} is no part of a CIFAR-10 batch")
        return super().find_class(module, name)


def _unpickle(path: Path, field: str) -> dict[str, Any]:
    try:
        table = _ArraysOnly(io.BytesIO(path.read_bytes()), encoding="latin1").load()
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}); download the batches again") from None
    except Exception as error:  # a damaged pickle can raise anything
        raise DataError(f"{path} is no CIFAR-10 batch ({error}); download it again") from None
    if not isinstance(table, dict) or field not in table:
        raise DataError(f"{path} is no CIFAR-10 batch (it has no {field!r}); download it again")
    return table
