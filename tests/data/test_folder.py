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
