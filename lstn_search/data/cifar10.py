"""CIFAR-10: 60,000 pictures of 32 x 32 pixels in ten classes, split 40,000 / 10,000 / 10,000.

Two layouts are read: the official Python batches (`cifar-10-batches-py`), and image files in `train/<class>` and
`test/<class>`. The official test set is the test part; the validation part is cut out of the training set, stratified.
"""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from lstn_search.data.decoding import Row, read_file, resize
from lstn_search.data.files import look_at
from lstn_search.data.listing import ImageFiles, Listing, check_classes, list_class_folders, list_files, not_found
from lstn_search.data.pickles import read_pickle
from lstn_search.data.splits import Split, cut
from lstn_search.data.walk import Tree, is_folder
from lstn_search.errors import DataError
from lstn_search.program import program

__all__ = ["HOW_TO_GET", "SIZES", "read"]

SIZES = (40_000, 10_000, 10_000)
HOW_TO_GET = (
    f"get it with `{program()} download cifar10 --data-dir DIR`, or unpack "
    "cifar-10-python.tar.gz of the CIFAR-10 page (www.cs.toronto.edu/~kriz) in DIR, and give --data-dir DIR"
)
_BATCHES = "cifar-10-batches-py"
_TRAIN_BATCHES = tuple(f"data_batch_{number}" for number in range(1, 6))
MAX_BYTES = 100_000_000
"""Of a batch; an official one has a third of it."""
_log = logging.getLogger(__name__)


def read(data_dir: Path, *, split_seed: int, cache_dir: Path) -> Listing:
    """List the pictures of `data_dir`, or of a folder cifar10 in it."""
    for root in (data_dir, data_dir / "cifar10"):
        if root.name == _BATCHES and (root / "batches.meta").is_file():
            return _read_batches(root, split_seed=split_seed, cache_dir=cache_dir)
        if is_folder(root / _BATCHES):
            return _read_batches(root / _BATCHES, split_seed=split_seed, cache_dir=cache_dir)
        if is_folder(root / "train") and is_folder(root / "test"):
            return _read_folders(root, split_seed=split_seed, cache_dir=cache_dir)
    raise not_found(
        f"{_BATCHES} and no folders train and test", data_dir, archive="cifar", folder="cifar10", cure=HOW_TO_GET
    )


def _read_folders(root: Path, *, split_seed: int, cache_dir: Path) -> Listing:
    tree = Tree(root)
    train, test = (list_class_folders(tree, below=below) for below in ("train", "test"))
    check_classes(root / "train", train.class_names, train.labels, minimum=2)
    if train.class_names != test.class_names:
        odd = sorted(set(train.class_names) ^ set(test.class_names))
        raise DataError(f"class {odd[0]!r} is in only one of train and test in {root}; unpack the archive again")
    found = ImageFiles(
        class_names=train.class_names,
        keys=train.keys + test.keys,
        paths=train.paths + test.paths,
        labels=train.labels + test.labels,
    )
    split = _split(train.keys, train.labels, len(test.keys), split_seed)
    return list_files(root, found, split=split, cache_dir=cache_dir, tree=tree)


def _read_batches(root: Path, *, split_seed: int, cache_dir: Path) -> Listing:
    names = ("batches.meta", *_TRAIN_BATCHES, "test_batch")
    looks = dict(zip(names, look_at(root, names, cache_dir=cache_dir), strict=True))
    class_names = _unpickle(root / "batches.meta", "label_names")
    if not (isinstance(class_names, list) and class_names and all(isinstance(name, str) for name in class_names)):
        raise DataError(f"{root / 'batches.meta'} names no classes; download it again")
    labels: dict[str, list[int]] = {}
    for name in names[1:]:
        labels[name] = of_batch = _unpickle(root / name, "labels")
        if not (isinstance(of_batch, list) and all(type(label) is int for label in of_batch)):
            raise DataError(f"{root / name} has labels that are no whole numbers; download it again")
        if not all(0 <= label < len(class_names) for label in of_batch):
            raise DataError(f"{root / name} has a label that batches.meta does not name; download it again")
    keys = {name: tuple(f"{name}/{number:05d}" for number in range(len(labels[name]))) for name in names[1:]}
    train_keys = tuple(key for name in _TRAIN_BATCHES for key in keys[name])
    train_labels = tuple(label for name in _TRAIN_BATCHES for label in labels[name])
    return Listing(
        class_names=tuple(class_names),
        keys=train_keys + keys["test_batch"],
        labels=train_labels + tuple(labels["test_batch"]),
        content=tuple(looks[name].digest for name in names[1:] for _ in keys[name]),
        split=_split(train_keys, train_labels, len(keys["test_batch"]), split_seed),
        decode=lambda image_size: _decode_batches(root, {name: len(labels[name]) for name in names[1:]}, image_size),
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


def _decode_batches(root: Path, nums: dict[str, int], image_size: int) -> Iterator[Row]:
    for name, num in nums.items():
        pixels = _unpickle(root / name, "data")
        if not isinstance(pixels, np.ndarray) or pixels.shape != (num, 3 * 32 * 32) or pixels.dtype != np.uint8:
            raise DataError(f"{root / name} does not hold a picture of 32 x 32 a label; download it again")
        images_NHWC: npt.NDArray[np.uint8] = pixels.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
        for image_HWC in images_NHWC:
            yield resize(Image.fromarray(np.ascontiguousarray(image_HWC)), image_size)


def _unpickle(path: Path, field: str) -> Any:
    content = read_file(path, MAX_BYTES, smaller="download it again")
    try:
        table = read_pickle(content)
    except ValueError as error:
        raise DataError(f"{path} is no CIFAR-10 batch ({error}); download it again") from None
    if not isinstance(table, dict) or field not in table:
        raise DataError(f"{path} is no CIFAR-10 batch (it has no {field!r}); download it again")
    return table[field]
