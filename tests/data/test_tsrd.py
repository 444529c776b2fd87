"""TSRD: a small set in the official naming."""

import shutil
from pathlib import Path

import pytest
import torch
from image_trees import write_image

from lstn_search.data import Dataset, load_dataset
from lstn_search.errors import DataError


def _tsrd(root: Path, *, train: str = "tsrd-train", test: str = "TSRD-Test") -> Path:
    """48 + 24 photos of 4 classes; the last 6 test photos are copies of training photos."""
    lines: dict[str, list[str]] = {train: [], test: []}
    for folder, count in ((train, 48), (test, 24)):
        for number in range(count):
            name = f"{number % 4:03d}_{number:04d}{'' if folder == train else '_j'}.png"
            copy = folder == test and number >= 18
            if copy:
                shutil.copy(root / train / f"{number % 4:03d}_{number:04d}.png", root / folder / name)
            else:
                write_image(root / folder / name, seed=number + 100 * (folder == test))
            lines[folder].append(f"{name};40;30;5;5;35;25;{number % 4};")
    texts = {
        train: root / "TSRD-Train Annotation" / "TsignRecgTrain4170Annotation.txt",
        test: root / "TSRD-Test Annotation" / "TsignRecgTest1994Annotation.txt",
    }
    for folder, text in texts.items():
        text.parent.mkdir()
        text.write_text("\r\n".join(lines[folder]) + "\r\n")
    return root


def _load(data_dir: Path, cache_dir: Path) -> Dataset:
    return load_dataset("tsrd", image_size=8, data_dir=data_dir, cache_dir=cache_dir, progress=False)


def test_duplicates_go_and_the_rest_is_split_in_proportion(
    tmp_path: Path, cache_dir: Path, caplog: pytest.LogCaptureFixture
) -> None:
    _tsrd(tmp_path / "tsrd")
    dataset = _load(tmp_path, cache_dir)
    assert len(dataset.images_NHWC) == 66
    assert len({image.numpy().tobytes() for image in dataset.images_NHWC}) == 66
    assert (len(dataset.train_I), len(dataset.val_I), len(dataset.test_I)) == (44, 11, 11)
    assert dataset.class_names == ("000", "001", "002", "003")
    assert "66 images after 6 duplicates were left out, where there should be 5,998; split 44/11/11" in caplog.text


def test_the_folders_names_do_not_change_the_split(tmp_path: Path, cache_dir: Path) -> None:
    one = _load(_tsrd(tmp_path / "one"), cache_dir)
    two = _load(_tsrd(tmp_path / "two", train="TSRD-Train-Images", test="TSRD-Test-Images"), cache_dir)
    assert one.split_fingerprint == two.split_fingerprint and one.fingerprint == two.fingerprint


def test_the_signs_boxes_are_its_poses(tmp_path: Path, cache_dir: Path) -> None:
    _tsrd(tmp_path)
    dataset = load_dataset("tsrd", image_size=8, data_dir=tmp_path, poses="known", cache_dir=cache_dir, progress=False)
    assert bool(dataset.posed_N.all()) and len(dataset.pose_N23) == 66
    expected = torch.tensor([[30 / 40, 0, 0], [0, 20 / 30, 0]]).expand(66, 2, 3)  # 5, 5 to 35, 25 of 40 x 30
    torch.testing.assert_close(dataset.pose_N23, expected, rtol=0, atol=1e-6)


def test_a_bad_line_is_named_with_its_number(tmp_path: Path, cache_dir: Path) -> None:
    text = next(_tsrd(tmp_path).rglob("*Train4170*"))
    good = text.read_text()
    text.write_text("000_0000.png;40;30;5;5;35;25;zero;\n")
    with pytest.raises(DataError, match=r"Annotation\.txt:1: expected name;width;height;x1;y1;x2;y2;class; got"):
        _load(tmp_path, cache_dir)
    text.write_text(good + "009_0001.png;40;30;5;5;35;25;9;\n")
    with pytest.raises(DataError, match=r"Annotation\.txt:49: no photo '009_0001\.png' below"):
        _load(tmp_path, cache_dir)


def test_missing_annotations_come_with_the_cure(tmp_path: Path, cache_dir: Path) -> None:
    with pytest.raises(DataError, match=r"holds no TSRD annotation file .*; get TSRD-Train, TSRD-Test"):
        _load(tmp_path, cache_dir)
