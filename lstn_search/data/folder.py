"""`folder:PATH`: your own images, one folder a class, or those inside folders train, val and test.

Class folders alone are split 70 / 15 / 15 in every class. Folders for training, validation and testing, by any of their
usual names, are taken as they are; when one of the latter two is missing, 15 % of training is cut out for it. Such
folders beside any other are an error, or else parts would become classes; but one alone may be a class: "train" is a
vehicle. It is a part if it holds folders and no image.
"""

import dataclasses
import re
from pathlib import Path

from lstn_search.data.listing import ImageFiles, Listing, check_classes, list_class_folders, list_files
from lstn_search.data.splits import Split, cut, split_by_share
from lstn_search.data.walk import Tree, is_folder, is_there, nfc
from lstn_search.errors import DataError
from lstn_search.spec.reading import read_as, read_json

__all__ = ["CLASSES", "SHARE", "read"]

CLASSES = ".lstn-classes.json"
"""Beside the parts, where images were given from Python: the class names in the order of their labels."""

SHARE = 0.15
"""Of the images, for validation; and the same again for testing."""

_WORDS = {
    "train": ("train", "training", "trn"),
    "val": ("val", "valid", "validation", "validate", "validating", "dev", "devel", "development"),
    "test": ("test", "testing", "tst", "eval", "evaluation", "holdout"),
}
_FILLERS = frozenset(
    {"set", "sets", "data", "dataset", "split", "part", "folder", "final", "seg", "my", "the", "samples"}
    | {"image", "images", "img", "imgs", "pic", "pics", "picture", "pictures", "photo", "photos", "jpg", "png"}
)
"""What stands beside these words in names of folders: train_images, Final_Training, seg_test, testset."""


def read(root: Path, *, split_seed: int, cache_dir: Path) -> Listing:
    """List the images in `root`."""
    if not is_folder(root):
        raise DataError(
            f"no folder {root}; give the path of a folder that holds one folder of images a class, or with --data-dir "
            "where it is now"
        )
    tree = Tree(root)
    parts = _parts(tree)
    found, split = _read_parts(tree, parts, split_seed) if parts else _cut(tree, split_seed)
    return list_files(root, _in_order(root, found), split=split, cache_dir=cache_dir, tree=tree)


def _in_order(root: Path, found: ImageFiles) -> ImageFiles:
    """The classes in the order that a file says, where there is one; it may name some that have no image."""
    try:
        names = [nfc(name) for name in read_as(list[str], read_json(root / CLASSES))]
    except (OSError, ValueError):  # none, or damaged
        return found
    names = [name for name in names if name in found.class_names]
    if sorted(names) != sorted(found.class_names):
        return found
    numbers = [names.index(name) for name in found.class_names]
    labels = tuple(numbers[label] for label in found.labels)
    return dataclasses.replace(found, class_names=tuple(names), labels=labels)


def part_of(name: str) -> str | None:
    """The part that a folder's name says, in any of its usual spellings; None: it says none."""
    tokens = [token for token in re.split(r"[\W_\d]+", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)) if token]
    parts = []
    for token in map(str.lower, tokens):
        for part, words in _WORDS.items():
            if token in words or any(token == word + end for word in words for end in _FILLERS):
                parts.append(part)
                break
        else:
            if token not in _FILLERS:
                return None
    return parts[0] if len(parts) == 1 else None


def _parts(tree: Tree) -> dict[str, str]:
    """Part -> folder; empty where the folders are classes. Raises DataError when it is both."""
    folders = tree.folders()
    said = {name: part for name in folders if (part := part_of(name))}
    if not said or (len(said) == 1 and len(folders) > 1 and not tree.is_part(next(iter(said)))):
        return {}
    named = " and ".join(said)
    if others := [name for name in folders if name not in said]:
        beside = ", ".join(map(repr, others[:3])) + (f" and {len(others) - 3} more" if len(others) > 3 else "")
        raise DataError(
            f"{tree.root} holds {beside} beside {named}: either all are classes, or there are only parts (training, "
            f"validation, testing); move what is neither elsewhere{_hint(tree)}"
        )
    parts: dict[str, str] = {}
    for name, part in said.items():
        if part in parts:
            raise DataError(f"{tree.root} holds two folders for {part}, {parts[part]!r} and {name!r}; keep one of them")
        parts[part] = name
    if "train" not in parts:
        raise DataError(f"{tree.root} holds {named} but no folder train; add one, or give the folder of the classes")
    return parts


def _hint(tree: Tree) -> str:
    is_gtsrb = "Meta" in tree.folders() or is_there(tree.root / "Train.csv")
    return f"; a copy of GTSRB is read with --dataset gtsrb --data-dir {tree.root}" if is_gtsrb else ""


def _cut(tree: Tree, seed: int) -> tuple[ImageFiles, Split]:
    found = list_class_folders(tree)
    check_classes(tree.root, found.class_names, found.labels, minimum=3)
    return found, split_by_share(found.keys, found.labels, val=SHARE, test=SHARE, seed=seed)


def _read_parts(tree: Tree, folders: dict[str, str], seed: int) -> tuple[ImageFiles, Split]:
    root, train_folder = tree.root, folders["train"]
    for folder in folders.values():
        if not tree.folders(folder):
            raise DataError(
                f"{root / folder} holds no class folder; put its images into one folder a class{_hint(tree)}"
            )
    trained = list_class_folders(tree, below=train_folder)
    keys, paths, labels = list(trained.keys), list(trained.paths), list(trained.labels)
    parts: dict[str, tuple[int, ...]] = {}
    for part in ("test", "val"):
        if part not in folders:
            continue
        found = list_class_folders(tree, below=folders[part])
        for name in found.class_names:
            if name not in trained.class_names:
                raise DataError(
                    f"class {name!r} is in {root / folders[part]} but not in {root / train_folder}; add it there"
                )
        parts[part] = tuple(range(len(keys), len(keys) + len(found.keys)))
        keys += found.keys
        paths += found.paths
        labels += [trained.class_names.index(found.class_names[label]) for label in found.labels]
    missing = [part for part in ("val", "test") if part not in parts]
    check_classes(root / train_folder, trained.class_names, trained.labels, minimum=1 + len(missing))
    train: tuple[int, ...] = tuple(range(len(trained.keys)))
    for part in missing:
        train, parts[part] = cut(train, keys, labels, num=max(1, round(SHARE * len(trained.keys))), seed=seed)
    listed = ImageFiles(class_names=trained.class_names, keys=tuple(keys), paths=tuple(paths), labels=tuple(labels))
    return listed, Split(train=train, **parts)
