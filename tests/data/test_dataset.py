"""The door: what a dataset promises, and what it says about bad input."""

from pathlib import Path

import pytest
import torch
from image_trees import class_tree, truncate, write_image

from lstn_search.data import Dataset, load_dataset
from lstn_search.errors import DataError, SettingError


def _load(root: Path, **options: object) -> Dataset:
    settings: dict[str, object] = {"image_size": 8, "progress": False} | options
    return load_dataset(f"folder:{root}", **settings)  # type: ignore[arg-type]


def test_types_and_shapes(tmp_path: Path, cache_dir: Path) -> None:
    dataset = _load(class_tree(tmp_path / "a", {"cat": 6, "dog": 6}))
    assert dataset.images_NHWC.shape == (12, 8, 8, 3) and dataset.images_NHWC.dtype == torch.uint8
    for tensor in (dataset.labels_N, dataset.train_I, dataset.val_I, dataset.test_I):
        assert tensor.dtype == torch.int64 and tensor.dim() == 1
    assert dataset.images_NHWC.permute(0, 3, 1, 2).is_contiguous(memory_format=torch.channels_last)
    assert dataset.mean == dataset.std == (0.5, 0.5, 0.5)
    assert dataset.num_skipped == 0


def test_the_fingerprint_follows_content_and_split_but_not_place_or_size(tmp_path: Path, cache_dir: Path) -> None:
    root = class_tree(tmp_path / "a", {"cat": 6, "dog": 6})
    plain = _load(root)
    moved = _load(class_tree(tmp_path / "b", {"cat": 6, "dog": 6}))
    assert moved.fingerprint == plain.fingerprint
    assert _load(root, image_size=16).fingerprint == plain.fingerprint
    reseeded = _load(root, split_seed=1)
    assert reseeded.fingerprint != plain.fingerprint and reseeded.split_fingerprint != plain.split_fingerprint
    write_image(root / "cat" / "image_0000.jpg", seed=999)
    changed = _load(root)
    assert changed.fingerprint != plain.fingerprint and changed.split_fingerprint == plain.split_fingerprint
    assert not torch.equal(changed.images_NHWC[0], plain.images_NHWC[0])


def test_a_truncated_file_is_named_skipped_and_counted(
    tmp_path: Path, cache_dir: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root = class_tree(tmp_path / "a", {"cat": 60, "dog": 60})
    whole = _load(root)
    truncate(root / "cat" / "image_0007.jpg")
    for _ in range(2):  # decoded, then from the cache
        caplog.clear()
        dataset = _load(root)
        assert dataset.num_skipped == 1 and len(dataset.images_NHWC) == len(dataset.labels_N) == 119
        assert "1 of 120 files damaged: cat/image_0007.jpg (" in caplog.text
    every = torch.cat([dataset.train_I, dataset.val_I, dataset.test_I])
    assert sorted(every.tolist()) == list(range(119))
    # Everything else stays where it was.
    assert torch.equal(dataset.images_NHWC[7:], whole.images_NHWC[8:])
    assert sum(len(part) for part in (whole.train_I, whole.val_I, whole.test_I)) == 120


def test_over_one_percent_damaged_is_an_error(tmp_path: Path, cache_dir: Path) -> None:
    root = class_tree(tmp_path / "a", {"cat": 60, "dog": 60})
    truncate(root / "cat" / "image_0007.jpg")
    truncate(root / "dog" / "image_0001.jpg")
    with pytest.raises(DataError, match=r"2 of 120 files damaged: cat/image_0007\.jpg \(.*over 1%, replace or remove"):
        _load(root)


@pytest.mark.parametrize("image_size", [0, -4, 2.5, True])
def test_a_senseless_image_size_is_refused(image_size: object, cache_dir: Path) -> None:
    with pytest.raises(SettingError, match="image size must be a whole number of pixels"):
        load_dataset("glyphs", image_size=image_size)  # type: ignore[arg-type]


def test_an_unknown_dataset_gets_a_suggestion(cache_dir: Path) -> None:
    with pytest.raises(DataError, match=r"unknown dataset 'glyph'; did you mean 'glyphs'\?"):
        load_dataset("glyph", image_size=8)


def test_progress_goes_to_stderr_only(tmp_path: Path, cache_dir: Path, capfd: pytest.CaptureFixture[str]) -> None:
    _load(class_tree(tmp_path / "a", {"cat": 6, "dog": 6}), progress=True)
    assert capfd.readouterr().out == ""
