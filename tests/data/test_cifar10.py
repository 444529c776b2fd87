"""CIFAR-10: official batches and folders of pictures, in small."""

import pickle
import shutil
import tarfile
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from image_trees import class_tree

from lstn_search.data import Dataset, load_dataset
from lstn_search.errors import DataError
from lstn_search.program import program

NAMES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]


def _batches(folder: Path, *, per_batch: int = 50) -> np.ndarray[Any, Any]:
    """Write the official layout; returns all pictures, NHWC."""
    folder.mkdir(parents=True, exist_ok=True)
    pixels = np.random.RandomState(0).randint(0, 256, (6 * per_batch, 3072), dtype=np.uint8)
    for number in range(6):
        name = f"data_batch_{number + 1}" if number < 5 else "test_batch"
        rows = pixels[number * per_batch : (number + 1) * per_batch]
        table = {"data": rows, "labels": [i % 10 for i in range(per_batch)], "batch_label": name}
        (folder / name).write_bytes(pickle.dumps(table, protocol=2))
    (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": NAMES}, protocol=2))
    return pixels.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)


def _load(data_dir: Path, cache_dir: Path, **options: Any) -> Dataset:
    return load_dataset("cifar10", image_size=32, data_dir=data_dir, cache_dir=cache_dir, progress=False, **options)


@pytest.mark.parametrize("above", ["", "cifar10"])
def test_batches_come_back_pixel_by_pixel(tmp_path: Path, cache_dir: Path, above: str) -> None:
    pixels_NHWC = _batches(tmp_path / above / "cifar-10-batches-py")
    dataset = _load(tmp_path, cache_dir)
    np.testing.assert_array_equal(dataset.images_NHWC.numpy(), pixels_NHWC)
    assert dataset.class_names == tuple(NAMES)
    assert dataset.labels_N.tolist() == [i % 10 for i in range(50)] * 6


def test_the_official_test_set_is_the_test_part_and_val_is_a_fifth_of_train(tmp_path: Path, cache_dir: Path) -> None:
    _batches(tmp_path / "cifar-10-batches-py")
    dataset, other = _load(tmp_path, cache_dir), _load(tmp_path, cache_dir, split_seed=1)
    assert dataset.test_I.tolist() == other.test_I.tolist() == list(range(250, 300))
    assert (len(dataset.train_I), len(dataset.val_I)) == (200, 50)
    assert sorted(torch.cat([dataset.train_I, dataset.val_I]).tolist()) == list(range(250))
    assert set(Counter(dataset.labels_N[dataset.val_I].tolist()).values()) == {5}
    assert dataset.val_I.tolist() != other.val_I.tolist() and dataset.split_fingerprint != other.split_fingerprint


def test_folders_of_pictures_do_as_well(tmp_path: Path, cache_dir: Path, caplog: pytest.LogCaptureFixture) -> None:
    class_tree(tmp_path / "cifar10" / "train", {"cat": 10, "dog": 10})
    class_tree(tmp_path / "cifar10" / "test", {"cat": 3, "dog": 3}, first_seed=20)
    dataset = _load(tmp_path, cache_dir)
    assert dataset.class_names == ("cat", "dog")
    assert dataset.labels_N[dataset.test_I].tolist() == [0, 0, 0, 1, 1, 1]
    assert (len(dataset.train_I), len(dataset.val_I)) == (16, 4)
    assert "20 training and 6 test images where there should be 50,000 and 10,000" in caplog.text


def test_a_packed_archive_is_pointed_at(tmp_path: Path, cache_dir: Path) -> None:
    with tarfile.open(tmp_path / "cifar10-jpeg.tar.xz", "w:xz"):
        pass
    with pytest.raises(
        DataError, match=r"archive cifar10-jpeg\.tar\.xz: unpack it with `mkdir -p DIR/cifar10 && tar -xf"
    ):
        _load(tmp_path, cache_dir)


def test_nothing_there_says_how_to_get_it(tmp_path: Path, cache_dir: Path) -> None:
    with pytest.raises(DataError, match=rf"{program()} download cifar10 --data-dir DIR"):
        _load(tmp_path, cache_dir)


def test_a_batch_that_would_run_code_is_refused(tmp_path: Path, cache_dir: Path) -> None:
    class Evil:
        def __reduce__(self) -> Any:
            return len, ("owned",)

    _batches(tmp_path / "cifar-10-batches-py")
    (tmp_path / "cifar-10-batches-py" / "data_batch_3").write_bytes(pickle.dumps({"labels": Evil()}))
    with pytest.raises(DataError, match=r"data_batch_3 is no CIFAR-10 batch \(builtins\.len is no part"):
        _load(tmp_path, cache_dir)


def test_a_truncated_or_missing_batch_is_named(tmp_path: Path, cache_dir: Path) -> None:
    _batches(tmp_path / "cifar-10-batches-py")
    batch = tmp_path / "cifar-10-batches-py" / "data_batch_2"
    batch.write_bytes(batch.read_bytes()[:1000])
    with pytest.raises(DataError, match="data_batch_2 is no CIFAR-10 batch"):
        _load(tmp_path, cache_dir)
    batch.unlink()
    with pytest.raises(DataError, match="data_batch_2 cannot be read"):
        _load(tmp_path, cache_dir)


def test_a_class_in_only_one_part_is_named(tmp_path: Path, cache_dir: Path) -> None:
    class_tree(tmp_path / "train", {"cat": 4, "dog": 4})
    class_tree(tmp_path / "test", {"cat": 4})
    with pytest.raises(DataError, match="class 'dog' is in only one of train and test"):
        _load(tmp_path, cache_dir)


def test_a_pointer_in_a_pickle_does_not_reach_memory(tmp_path: Path, cache_dir: Path) -> None:
    class Pointer:
        def __reduce__(self) -> Any:
            return np.ndarray, ((1,), np.dtype("O"), b"A" * 8)

    _batches(tmp_path / "cifar-10-batches-py")
    for name in ("batches.meta", "data_batch_1", "test_batch"):
        content = pickle.dumps({"label_names": Pointer(), "labels": Pointer(), "data": Pointer()}, 2)
        (tmp_path / "cifar-10-batches-py" / name).write_bytes(content)
        with pytest.raises(DataError, match=r"is no CIFAR-10 batch \(an array of it is not of plain numbers\)"):
            _load(tmp_path, cache_dir)
        _batches(tmp_path / name / "cifar-10-batches-py")
        shutil.copytree(tmp_path / name, tmp_path, dirs_exist_ok=True)


@pytest.mark.parametrize(
    ("name", "table", "line"),
    [
        ("batches.meta", {"label_names": "ab"}, "names no classes"),
        ("batches.meta", {"label_names": [["a"], "b"]}, "names no classes"),
        ("data_batch_1", {"labels": ["0", 1]}, "labels that are no whole numbers"),
        ("data_batch_1", {"labels": [0, 10]}, "a label that batches.meta does not name"),
        ("data_batch_1", {"labels": [0, 1], "data": np.zeros((3, 3072), np.uint8)}, "not hold a picture of 32 x 32 a"),
        ("data_batch_1", {"labels": [0, 1], "data": np.zeros((2, 3072), np.float64)}, "not hold a picture of 32 x 32"),
        ("data_batch_1", {"labels": [0, 1], "data": b"x"}, "does not hold a picture of 32 x 32 a label"),
        ("data_batch_1", [1, 2], "it has no 'labels'"),
    ],
)
def test_a_batch_of_other_values_is_named(tmp_path: Path, cache_dir: Path, name: str, table: Any, line: str) -> None:
    _batches(tmp_path / "cifar-10-batches-py")
    (tmp_path / "cifar-10-batches-py" / name).write_bytes(pickle.dumps(table, protocol=2))
    with pytest.raises(DataError, match=line):
        _load(tmp_path, cache_dir)
