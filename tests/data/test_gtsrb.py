"""GTSRB in its two layouts, in small."""

import csv
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from image_trees import write_image

from lstn_search.data import Dataset, load_dataset
from lstn_search.errors import DataError

CLASSES, TRACKS, FRAMES, NUM_TEST = (0, 1, 14), 8, 5, 9
SIZE = (40, 30)


def _box(number: int) -> tuple[int, int, int, int]:
    return 5, 6, 30 + number % 5, 25


def _write(path: Path, delimiter: str, header: str, rows: list[list[object]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        csv.writer(file, delimiter=delimiter).writerows([header.split(), *rows])


def official(root: Path, *, below: str = "GTSRB") -> Path:
    """As the benchmark's three archives unpack."""
    header, number = "Filename Width Height Roi.X1 Roi.Y1 Roi.X2 Roi.Y2 ClassId", 0
    for label in CLASSES:
        folder, rows = root / below / "Final_Training" / "Images" / f"{label:05d}", []
        for track in range(TRACKS):
            for frame in range(FRAMES):
                name = f"{track:05d}_{frame:05d}.ppm"
                write_image(folder / name, seed=number, size=SIZE)
                rows.append([name, *SIZE, *_box(number), label])
                number += 1
        _write(folder / f"GT-{label:05d}.csv", ";", header, rows)
    folder, rows = root / below / "Final_Test" / "Images", []
    for number in range(NUM_TEST):
        write_image(folder / f"{number:05d}.ppm", seed=1000 + number, size=SIZE)
        rows.append([f"{number:05d}.ppm", *SIZE, *_box(number), CLASSES[number % 3]])
    _write(folder / "GT-final_test.test.csv", ";", header.removesuffix(" ClassId"), [row[:-1] for row in rows])
    _write(root / "GT-final_test.csv", ";", header, rows)
    return root


def kaggle(root: Path) -> Path:
    """As Kaggle's archive unpacks, with PNGs of the same pictures."""
    header, number = "Width Height Roi.X1 Roi.Y1 Roi.X2 Roi.Y2 ClassId Path", 0
    rows: list[list[object]] = []
    for label in CLASSES:
        for track in range(TRACKS):
            for frame in range(FRAMES):
                path = f"Train/{label}/{label:05d}_{track:05d}_{frame:05d}.png"
                write_image(root / path, seed=number, size=SIZE)
                rows.append([*SIZE, *_box(number), label, path])
                number += 1
    _write(root / "Train.csv", ",", header, rows)
    rows = []
    for number in range(NUM_TEST):
        path = f"Test/{number:05d}.png"
        write_image(root / path, seed=1000 + number, size=SIZE)
        rows.append([*SIZE, *_box(number), CLASSES[number % 3], path])
    _write(root / "Test.csv", ",", header, rows)
    for label in CLASSES:
        write_image(root / "Meta" / f"{label}.png", seed=2000 + label)
    _write(root / "Meta.csv", ",", "Path ClassId", [[f"Meta/{label}.png", label] for label in CLASSES])
    return root


def _load(data_dir: Path, **options: object) -> Dataset:
    settings: dict[str, object] = {"image_size": 8, "progress": False} | options
    return load_dataset("gtsrb", data_dir=data_dir, **settings)  # type: ignore[arg-type]


@pytest.mark.usefixtures("cache_dir")
@pytest.mark.parametrize("layout", [official, kaggle])
def test_both_layouts_are_read_as_they_are(tmp_path: Path, layout: Callable[[Path], Path]) -> None:
    dataset = _load(layout(tmp_path))
    assert dataset.class_names == ("00000", "00001", "00014")
    per_class = TRACKS * FRAMES
    assert dataset.labels_N.tolist() == [0] * per_class + [1] * per_class + [2] * per_class + [0, 1, 2] * 3
    assert dataset.test_I.tolist() == [*range(3 * per_class, 3 * per_class + NUM_TEST)]
    every = torch.cat([dataset.train_I, dataset.val_I, dataset.test_I])
    assert sorted(every.tolist()) == list(range(len(dataset.images_NHWC)))
    (note,) = dataset.notes
    assert "not square (40 x 30 px, for one)" in note


@pytest.mark.usefixtures("cache_dir")
@pytest.mark.parametrize("layout", [official, kaggle])
@pytest.mark.parametrize("has_test", [True, False])
def test_a_track_is_in_one_part(tmp_path: Path, layout: Callable[[Path], Path], has_test: bool) -> None:
    root = layout(tmp_path)
    if not has_test:
        for folder in ("GTSRB/Final_Test", "Test"):
            if (root / folder).is_dir():
                (root / folder).rename(root / "elsewhere")
    dataset = _load(root)
    parts = [dataset.train_I, dataset.val_I] if has_test else [dataset.train_I, dataset.val_I, dataset.test_I]
    tracks = [{int(i) // FRAMES for i in part} for part in parts]  # photos are listed track by track
    assert sum(map(len, tracks)) == len(set.union(*tracks)) == 3 * TRACKS
    assert [len(part) for part in parts[1:]] == [round(0.15 * 3 * TRACKS) * FRAMES] * (len(parts) - 1)
    for part in parts:
        assert len(dataset.labels_N[part].unique()) == 3


@pytest.mark.usefixtures("cache_dir")
def test_the_split_and_the_pictures_are_those_of_the_other_layout(tmp_path: Path) -> None:
    one, two = _load(official(tmp_path / "one")), _load(kaggle(tmp_path / "two"))
    assert torch.equal(one.images_NHWC, two.images_NHWC) and torch.equal(one.labels_N, two.labels_N)


@pytest.mark.usefixtures("cache_dir")
@pytest.mark.parametrize("layout", [official, kaggle])
def test_the_boxes_are_known_poses(tmp_path: Path, layout: Callable[[Path], Path]) -> None:
    dataset = _load(layout(tmp_path), poses="known")
    assert bool(dataset.posed_N.all())
    for row, number in ((0, 0), (7, 7), (len(dataset.posed_N) - 1, NUM_TEST - 1)):
        x1, y1, x2, y2 = _box(number)
        expected = [[(x2 - x1) / 40, 0, (x1 + x2) / 40 - 1], [0, (y2 - y1) / 30, (y1 + y2) / 30 - 1]]
        torch.testing.assert_close(dataset.pose_N23[row], torch.tensor(expected))


@pytest.mark.usefixtures("cache_dir")
@pytest.mark.parametrize("below", ["", "gtsrb", "gtsrb/GTSRB", "GTSRB"])
def test_the_folder_may_be_given_at_any_level(tmp_path: Path, below: str) -> None:
    assert len(_load(official(tmp_path, below=below)).images_NHWC) == 3 * TRACKS * FRAMES + NUM_TEST


@pytest.mark.usefixtures("cache_dir")
def test_what_is_missing_or_does_not_fit_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DataError, match=r"holds no Final_Training/Images .*get GTSRB_Final_Training_Images\.zip"):
        _load(tmp_path)
    monkeypatch.setenv("LSTN_DATA_DIR", str(tmp_path / "empty"))
    with pytest.raises(DataError, match=r"^dataset 'gtsrb' is not in \$LSTN_DATA_DIR .*; get GTSRB_Final_Training"):
        load_dataset("gtsrb", image_size=8)
    root = official(tmp_path / "one")
    table = root / "GT-final_test.csv"
    text = table.read_text()
    table.write_text(text.replace("00003.ppm", "99999.ppm"))
    with pytest.raises(DataError, match=r"GT-final_test\.csv:5: no photo '99999\.ppm' below .*; unpack the test"):
        _load(root)
    table.write_text(text.replace(";14\n", ";speed\n"))
    with pytest.raises(DataError, match=r"GT-final_test\.csv:4: the class 'speed' is no number"):
        _load(root)
    table.unlink()
    with pytest.raises(DataError, match=r"holds photos without classes: .*unpack GTSRB_Final_Test_GT\.zip"):
        _load(root)
    root = kaggle(tmp_path / "two")
    (root / "Train.csv").write_text((root / "Train.csv").read_text().replace(",14,Train/14/", ",1,Train/14/", 1))
    with pytest.raises(DataError, match=r"Train\.csv:82: no photo 'Train/14/00014_00000_00000\.png' of class 00001"):
        _load(root)


@pytest.mark.usefixtures("cache_dir")
def test_a_copy_given_as_a_folder_is_pointed_here(tmp_path: Path) -> None:
    kaggle(tmp_path)
    with pytest.raises(DataError, match=r"holds 'Meta' beside Test and Train: .*--dataset gtsrb --data-dir"):
        load_dataset(f"folder:{tmp_path}", image_size=8)
