"""Folders of one's own images."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from image_trees import class_tree

from lstn_search.data import Dataset, load_dataset
from lstn_search.errors import DataError


def _load(root: Path, cache_dir: Path, **options: Any) -> Dataset:
    return load_dataset(f"folder:{root}", image_size=8, cache_dir=cache_dir, progress=False, **options)


def test_class_folders_are_split_70_15_15(tmp_path: Path, cache_dir: Path) -> None:
    dataset = _load(class_tree(tmp_path / "pets", {"cat": 20, "dog": 40}), cache_dir)
    assert dataset.class_names == ("cat", "dog")
    counts = [Counter(dataset.labels_N[part].tolist()) for part in (dataset.train_I, dataset.val_I, dataset.test_I)]
    assert counts == [{0: 14, 1: 28}, {0: 3, 1: 6}, {0: 3, 1: 6}]


def test_parts_are_taken_as_they_are(tmp_path: Path, cache_dir: Path) -> None:
    for seed, (part, count) in enumerate({"train": 6, "valid": 3, "test": 2}.items()):
        class_tree(tmp_path / part, {"cat": count, "dog": count}, first_seed=100 * seed)
    dataset = _load(tmp_path, cache_dir)
    assert (len(dataset.train_I), len(dataset.val_I), len(dataset.test_I)) == (12, 6, 4)
    assert dataset.split_fingerprint == _load(tmp_path, cache_dir, split_seed=1).split_fingerprint


@pytest.mark.parametrize(("parts", "expected"), [(("test",), (17, 3, 8)), (("val",), (17, 8, 3)), ((), (14, 3, 3))])
def test_a_missing_part_is_cut_out_of_train(
    tmp_path: Path, cache_dir: Path, parts: tuple[str, ...], expected: tuple[int, int, int]
) -> None:
    class_tree(tmp_path / "train", {"cat": 10, "dog": 10})
    for part in parts:
        class_tree(tmp_path / part, {"cat": 4, "dog": 4}, first_seed=50)
    dataset = _load(tmp_path, cache_dir)
    assert (len(dataset.train_I), len(dataset.val_I), len(dataset.test_I)) == expected
    every = torch.cat([dataset.train_I, dataset.val_I, dataset.test_I])
    assert sorted(every.tolist()) == list(range(len(dataset.images_NHWC)))


def test_a_class_may_be_called_train(tmp_path: Path, cache_dir: Path) -> None:
    dataset = _load(class_tree(tmp_path, {"bus": 5, "train": 5, "tram": 5}), cache_dir)
    assert dataset.class_names == ("bus", "train", "tram")


def test_a_class_that_training_lacks_is_named(tmp_path: Path, cache_dir: Path) -> None:
    class_tree(tmp_path / "train", {"cat": 5, "dog": 5})
    class_tree(tmp_path / "test", {"cat": 5, "fox": 5})
    with pytest.raises(DataError, match=r"class 'fox' is in .*test but not in .*train"):
        _load(tmp_path, cache_dir)


def test_too_little_to_split_is_named(tmp_path: Path, cache_dir: Path) -> None:
    with pytest.raises(DataError, match="no folder"):
        _load(tmp_path / "nowhere", cache_dir)
    with pytest.raises(DataError, match="holds no class folder; at least 2"):
        _load(tmp_path, cache_dir)
    with pytest.raises(DataError, match="holds only the class folder 'cat'; at least 2"):
        _load(class_tree(tmp_path / "one", {"cat": 5}), cache_dir)
    with pytest.raises(DataError, match=r"class 'dog' in .* has 2 images; a split needs at least 3"):
        _load(class_tree(tmp_path / "few", {"cat": 5, "dog": 2}), cache_dir)


def test_an_empty_class_folder_is_named(tmp_path: Path, cache_dir: Path) -> None:
    class_tree(tmp_path, {"cat": 5, "dog": 5})
    (tmp_path / "fox").mkdir()
    (tmp_path / "fox" / "Thumbs.db").write_text("")
    with pytest.raises(DataError, match=r"class folder .*fox holds no image"):
        _load(tmp_path, cache_dir)


@pytest.mark.parametrize(
    ("train", "val", "test"),
    [
        ("Train", "Val", "Test"),
        ("TRAIN", "", "TEST"),
        ("training", "", "testing"),
        ("Training", "validation", "Testing"),
        ("train", "dev", ""),
        ("train", "dev", "eval"),
        ("train_images", "", "test_images"),
        ("seg_train", "", "seg_test"),
        ("trainset", "valset", "testset"),
        ("train2017", "val2017", "test2017"),
        ("TrainSet", "DevSet", "TestSet"),
        ("Training Data", "Validation Data", "Testing Data"),
    ],
)
def test_parts_are_known_by_all_usual_names(tmp_path: Path, cache_dir: Path, train: str, val: str, test: str) -> None:
    class_tree(tmp_path / train, {"cat": 20, "dog": 20})
    for seed, (part, count) in enumerate({val: 3, test: 4}.items(), start=1):
        if part:
            class_tree(tmp_path / part, {"cat": count, "dog": count}, first_seed=100 * seed)
    dataset = _load(tmp_path, cache_dir)
    assert dataset.class_names == ("cat", "dog")
    cut = 6  # 15 % of 40
    expected = (40 - cut * (not val) - cut * (not test), 6 if val else cut, 8 if test else cut)
    assert (len(dataset.train_I), len(dataset.val_I), len(dataset.test_I)) == expected


@pytest.mark.parametrize(
    ("folders", "line"),
    [
        (("train/cat", "train/dog", "val/cat", "docs/figures"), "holds 'docs' beside train and val: either all are "),
        (("Train/cat", "Train/dog", "Test/cat", "Meta/x"), "holds 'Meta' beside Test and Train: .* --dataset gtsrb"),
        (("train/cat", "train/dog", "extra"), "holds 'extra' beside train: either all are classes, or there are only"),
        (("train/cat", "train/dog", "bus/x", "tram/x"), "holds 'bus', 'tram' beside train"),
        (("train/cat", "val/cat", "valid/cat"), "holds two folders for val, 'val' and 'valid'; keep one of them"),
        (("train/cat", "Train/cat"), "holds two folders for train, 'Train' and 'train'; keep one of them"),
        (("val/cat", "test/cat"), "holds test and val but no folder train; add one"),
        (("train/cat", "train/dog", "test"), "test holds no class folder; put its images into one folder a class"),
        (("train", "val"), "(train|val) holds no class folder; put its images into one folder a class"),
    ],
)
def test_parts_beside_anything_else_are_named(
    tmp_path: Path, cache_dir: Path, folders: tuple[str, ...], line: str
) -> None:
    class_tree(tmp_path, dict.fromkeys(folders, 4))
    with pytest.raises(DataError, match=line) as error:
        _load(tmp_path, cache_dir)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "names", [("1", "2", "3"), ("bus", "train", "tram"), ("teeth", "trains"), ("devil", "test"), ("images", "data")]
)
def test_classes_stay_classes(tmp_path: Path, cache_dir: Path, names: tuple[str, ...]) -> None:
    assert _load(class_tree(tmp_path, dict.fromkeys(names, 4)), cache_dir).class_names == tuple(sorted(names))


def test_a_folder_that_moved_is_found_by_data_dir(tmp_path: Path, cache_dir: Path) -> None:
    here = class_tree(tmp_path / "here", {"cat": 10, "dog": 10})
    before = _load(here, cache_dir)
    there = here.rename(tmp_path / "there")
    with pytest.raises(DataError, match=r"^no folder .*/here; .* or with --data-dir where it is now$"):
        _load(here, cache_dir)
    moved = _load(here, cache_dir, data_dir=there)
    assert moved.fingerprint == before.fingerprint and moved.split_fingerprint == before.split_fingerprint
