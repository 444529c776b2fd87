"""`folder:PATH`: your own images, one folder a class, or those inside folders train, val and test.

Class folders alone are split 70 / 15 / 15 in every class. Folders train, val (or valid, validation) and test are taken
as they are; when val or test is missing, 15 % of train is cut out for it.
"""

from pathlib import Path

from lstn_search.data import files
from lstn_search.data.listing import Listing, check_classes, list_class_folders
from lstn_search.data.splits import Split, cut, split_by_share
from lstn_search.errors import DataError

__all__ = ["SHARE", "read"]

SHARE = 0.15
"""Of the images, for validation; and the same again for testing."""

_PART_OF = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}


def read(root: Path, *, split_seed: int, cache_dir: Path) -> Listing:
    """List the images in `root`."""
    if not root.is_dir():
        raise DataError(f"no folder {root}; give the path of a folder that holds one folder of images a class")
    folders = files.class_folders(root)
    # A folder called "train" next to others ("bus", "tram") is a class of vehicles.
    has_parts = "train" in folders and all(name in _PART_OF for name in folders)
    class_names, keys, labels, split = _read_parts(root, folders, split_seed) if has_parts else _cut(root, split_seed)
    return Listing(
        class_names=class_names,
        keys=keys,
        labels=labels,
        content=tuple(files.file_digests(root, keys, cache_dir=cache_dir)),
        split=split,
        decode=lambda image_size: files.decode_files(root, keys, image_size=image_size),
        sizes=lambda positions: files.image_sizes(root, [keys[i] for i in positions]),
    )


_Listed = tuple[tuple[str, ...], tuple[str, ...], tuple[int, ...], Split]


def _cut(root: Path, seed: int) -> _Listed:
    class_names, keys, labels = list_class_folders(root)
    check_classes(root, class_names, labels, minimum=3)
    return class_names, keys, labels, split_by_share(keys, labels, val=SHARE, test=SHARE, seed=seed)


def _read_parts(root: Path, folders: list[str], seed: int) -> _Listed:
    class_names, train_keys, train_labels = list_class_folders(root, below="train")
    keys, labels = list(train_keys), list(train_labels)
    parts: dict[str, tuple[int, ...]] = {}
    for folder in folders:
        part = _PART_OF[folder]
        if part == "train":
            continue
        if part in parts:
            raise DataError(f"{root} holds two folders for validation; keep one of val, valid, validation")
        names, part_keys, part_labels = list_class_folders(root, below=folder)
        for name in names:
            if name not in class_names:
                raise DataError(f"class {name!r} is in {root / folder} but not in {root / 'train'}; add it there")
        parts[part] = tuple(range(len(keys), len(keys) + len(part_keys)))
        keys += part_keys
        labels += [class_names.index(names[label]) for label in part_labels]
    missing = [part for part in ("val", "test") if part not in parts]
    check_classes(root / "train", class_names, train_labels, minimum=1 + len(missing))
    train: tuple[int, ...] = tuple(range(len(train_keys)))
    for part in missing:
        train, parts[part] = cut(train, keys, labels, num=max(1, round(SHARE * len(train_keys))), seed=seed)
    return class_names, tuple(keys), tuple(labels), Split(train=train, **parts)
