"""GTSRB, the German Traffic Sign Recognition Benchmark: 51,839 photos of signs in 43 classes.

Two layouts are read. The official one:

    Final_Training/Images/00000/00000_00000.ppm, with a table GT-00000.csv in each class folder
    Final_Test/Images/00000.ppm, with GT-final_test.csv there or above

and Kaggle's: Train/0/00000_00000_00000.png, Test/00000.png, and beside them Train.csv and Test.csv (Path, ClassId). The
tables say where the sign is in each photo: the poses that the dataset knows. The official test set is the test part;
15 % of the tracks of training are for validation. A track is some 30 photos of one sign as the car drives up to it, so
a track is never in two parts; where a copy has no test set, it is cut out in the same way.
"""

import logging
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from lstn_search.data.annotations import read_annotations
from lstn_search.data.folder import SHARE
from lstn_search.data.listing import ImageFiles, Listing, check_classes, list_files, not_found
from lstn_search.data.poses import Annotation
from lstn_search.data.splits import Split, cut
from lstn_search.data.walk import Tree, is_folder, is_there
from lstn_search.errors import DataError

__all__ = ["HOW_TO_GET", "read"]

HOW_TO_GET = (
    "get GTSRB_Final_Training_Images.zip, GTSRB_Final_Test_Images.zip and GTSRB_Final_Test_GT.zip on the GTSRB page "
    "(benchmark.ini.rub.de), or Kaggle's copy, unpack all of them in DIR/gtsrb and give --data-dir DIR"
)
_TRAIN = ("Final_Training/Images", "Final_Training", "Training", "Train", "train")
_TEST = ("Final_Test/Images", "Final_Test", "Test", "test")
_TEST_TABLES = ("GT-final_test.csv", "Test.csv")
_log = logging.getLogger(__name__)


def read(data_dir: Path, *, split_seed: int, cache_dir: Path) -> Listing:
    """List the photos in `data_dir`, or in folders gtsrb and GTSRB of it."""
    names = ("", "gtsrb", "GTSRB", "gtsrb/GTSRB", "GTSRB/GTSRB", "gtsrb/gtsrb")
    found = ((data_dir / name, folder) for name in names for folder in _TRAIN if is_folder(data_dir / name / folder))
    root, train_folder = next(found, (data_dir, ""))
    if not train_folder:
        what = "Final_Training/Images (or Train, in Kaggle's layout)"
        raise not_found(what, data_dir, archive="gtsrb", folder="gtsrb", cure=HOW_TO_GET)
    tree = Tree(root)
    keys, paths, labels, boxes = _training(tree, train_folder)
    num_train = len(keys)
    for key, path, label, box in _testing(tree, data_dir):
        keys.append(key)
        paths.append(path)
        labels.append(label)
        boxes.append(box)
    class_names = tuple(sorted(set(labels)))
    number_of = {name: number for number, name in enumerate(class_names)}
    numbers = tuple(number_of[label] for label in labels)
    check_classes(root / train_folder, class_names, numbers[:num_train], minimum=2)
    return list_files(
        root,
        ImageFiles(class_names=class_names, keys=tuple(keys), paths=tuple(paths), labels=numbers),
        split=_split(keys, numbers, num_train, split_seed),
        cache_dir=cache_dir,
        known_poses=lambda: boxes,
    )


def _class_of(text: str, place: object) -> str:
    """`00007` of 7, 00007 and 7.0."""
    whole = text.removesuffix(".0")
    if not (whole.isascii() and whole.isdecimal() and len(whole) <= 5):
        raise DataError(f"{place}: the class {text[:60]!r} is no number as GTSRB's are; correct it")
    return f"{int(whole):05d}"


def _training(tree: Tree, below: str) -> tuple[list[str], list[str], list[str], list[Annotation]]:
    """Keys (train/00000/00000_00000.ppm), paths, classes and boxes of the training photos."""
    keys, paths, labels = [], [], []
    for name in tree.folders(below):
        label = _class_of(name, tree.root / below)
        for path in tree.files(f"{below}/{name}"):
            keys.append(f"train/{label}/{PurePosixPath(path).name}")
            paths.append(path)
            labels.append(label)
    known = dict(zip(keys, labels, strict=True))
    tables = Tree(tree.root, suffixes=frozenset({".csv"}))
    of_classes = [table for name in tables.folders(below) for table in tables.files(f"{below}/{name}")]
    boxes = []
    for table in of_classes or [name for name in ("Train.csv",) if is_there(tree.root / name)]:
        for row in read_annotations(tree.root / table):
            label = _class_of(row.label, row.place)
            key = f"train/{label}/{PurePosixPath(row.name).name}"
            if key not in known:
                raise DataError(f"{row.place}: no photo {row.name!r} of class {label} below {tree.root / below}")
            boxes.append(_named(row, key))
    return keys, paths, labels, boxes


def _testing(tree: Tree, data_dir: Path) -> list[tuple[str, str, str, Annotation]]:
    """Key (test/00000.ppm), path, class and box of each test photo."""
    root = tree.root
    folder = next((name for name in _TEST if is_folder(root / name)), None)
    if folder is None:
        _log.warning(f"gtsrb: {root} holds no Final_Test/Images or Test; testing is cut out of training, by tracks")
        return []
    places = (root / folder, root / folder.partition("/")[0], root, root.parent, data_dir)
    table = next((place / name for name in _TEST_TABLES for place in places if is_there(place / name)), None)
    if table is None:
        raise DataError(
            f"{root / folder} holds photos without classes: there is no GT-final_test.csv (or Test.csv); unpack "
            "GTSRB_Final_Test_GT.zip there"
        )
    path_of = {PurePosixPath(path).name: path for path in tree.files(folder)}
    rows = []
    for row in read_annotations(table):
        name = PurePosixPath(row.name).name
        if name not in path_of:
            raise DataError(f"{row.place}: no photo {name!r} below {root / folder}; unpack the test images there")
        key = f"test/{name}"
        rows.append((key, path_of[name], _class_of(row.label, row.place), _named(row, key)))
    return rows


def _named(row: Annotation, key: str) -> Annotation:
    return Annotation(place=row.place, name=key, pose=row.pose, size=row.size)


def _split(keys: Sequence[str], labels: Sequence[int], num_train: int, seed: int) -> Split:
    """Validation, and testing where there is none, in whole tracks of training."""
    tracks: dict[str, list[int]] = {}
    for i, key in enumerate(keys[:num_train]):
        name = PurePosixPath(key)
        tracks.setdefault(f"{name.parent}/{name.stem.rpartition('_')[0] or name.stem}", []).append(i)
    names = list(tracks)
    label_of = [labels[tracks[name][0]] for name in names]
    rest: Sequence[int] = range(len(names))
    parts: dict[str, tuple[int, ...]] = {}
    for part in ("val",) if num_train < len(keys) else ("val", "test"):
        rest, taken = cut(rest, names, label_of, num=max(1, round(SHARE * len(names))), seed=seed)
        parts[part] = tuple(sorted(i for track in taken for i in tracks[names[track]]))
    train = tuple(sorted(i for track in rest for i in tracks[names[track]]))
    return Split(train=train, val=parts["val"], test=parts.get("test", tuple(range(num_train, len(keys)))))
