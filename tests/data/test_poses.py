"""Poses: the warp cuts out what Pillow cuts out, names find their images, senseless boxes are refused."""

import io
import math
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from image_trees import class_tree, truncate
from PIL import Image, ImageOps

from lstn_search.data import Dataset, files, load_dataset
from lstn_search.data.poses import Annotation, Pose, fingerprint_of, match, settle, theta_of
from lstn_search.errors import DataError, SettingError
from lstn_search.nets.transformer import warp

BOX = Pose(x1=10, y1=20, x2=30, y2=50)


def _row(name: str, pose: Pose = BOX, *, folder: str = "", size: tuple[float, float] | None = (100, 80)) -> Annotation:
    return Annotation(place=f"boxes.csv:{name}", name=name, pose=pose, folder=folder, size=size)


# -- the warp ------------------------------------------------------------------------------------------------------


def _by_pillow(image: Image.Image, pose: Pose, side: int) -> npt.NDArray[np.float32]:
    """Turn the picture about the box's middle against the clock, cut the upright box out, stretch it to a square."""
    middle = ((pose.x1 + pose.x2) / 2, (pose.y1 + pose.y2) / 2)
    upright = image.rotate(pose.degrees, Image.Resampling.BICUBIC, center=middle)
    box = (pose.x1, pose.y1, pose.x2, pose.y2)
    return np.asarray(upright.resize((side, side), Image.Resampling.BICUBIC, box=box), np.float32)


def _by_warp(image: Image.Image, theta: object, side: int) -> npt.NDArray[np.float32]:
    """As a dataset does it: the whole picture becomes a square first."""
    square = np.asarray(image.resize((side, side), Image.Resampling.BICUBIC), np.float32)
    x_BCHW = torch.from_numpy(square.transpose(2, 0, 1)[None].copy())
    return warp(x_BCHW, torch.tensor(theta)[None])[0].permute(1, 2, 0).numpy()


@pytest.mark.parametrize("size", [(160, 160), (240, 100), (90, 200)])
@pytest.mark.parametrize("degrees", [0, 25, -40, 90, 170])
def test_the_warp_cuts_out_what_pillow_turns_and_crops(size: tuple[int, int], degrees: float) -> None:
    coarse = np.random.RandomState(1).randint(0, 256, (7, 7, 3), dtype=np.uint8)
    image = Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC)
    width, height = size
    pose = Pose(x1=0.35 * width, y1=0.4 * height, x2=0.35 * width + 40, y2=0.4 * height + 24, degrees=degrees)
    expected = _by_pillow(image, pose, 128)
    gap = np.abs(_by_warp(image, theta_of(pose, size), 128) - expected).mean()
    assert gap < 1
    mistakes = [theta_of(Pose(x1=pose.y1, y1=pose.x1, x2=pose.y2, y2=pose.x2, degrees=degrees), size)]
    if degrees:
        mistakes.append(theta_of(Pose(x1=pose.x1, y1=pose.y1, x2=pose.x2, y2=pose.y2, degrees=-degrees), size))
    for mistake in mistakes:
        assert np.abs(_by_warp(image, mistake, 128) - expected).mean() > 5 * gap


def test_the_whole_image_is_the_identity() -> None:
    assert theta_of(Pose(x1=0, y1=0, x2=300, y2=200), (300, 200)) == ((1, 0, 0), (0, 1, 0))


# -- names ---------------------------------------------------------------------------------------------------------


KEYS = ("train/cat/1.jpg", "train/dog/1.jpg", "train/dog/2.jpg", "cat/1.jpg")


@pytest.mark.parametrize(
    ("row", "position"),
    [
        (_row("train/cat/1.jpg"), 0),
        (_row("cat/1.jpg"), 3),  # a key as it stands, and the tail of another
        (_row("dog/1.jpg"), 1),
        (_row("2.jpg"), 2),
        (_row("/home/me/pets/train/dog/2.jpg".lstrip("/")), 2),
        (_row("JPEGImages/2.jpg"), 2),
        (_row("1.jpg", folder="dog"), 1),
        (_row("cat/1.jpg", folder="train"), 3),
    ],
)
def test_a_name_means_the_key_with_the_longest_tail_in_common(row: Annotation, position: int) -> None:
    assert match([row], KEYS, "boxes.csv") == {position: row}


def test_a_name_that_can_be_two_images_is_refused() -> None:
    with pytest.raises(
        DataError, match=r"boxes\.csv:1\.jpg: '1\.jpg' can be 'a/1\.jpg' or 'b/1\.jpg'; write more of its"
    ):
        match([_row("1.jpg")], ("a/1.jpg", "b/1.jpg"), "boxes.csv")


def test_a_file_given_twice_keeps_its_box_or_is_refused() -> None:
    assert list(match([_row("dog/1.jpg"), _row("dog/1.jpg")], KEYS, "boxes.csv")) == [1]
    other = Pose(x1=1, y1=2, x2=3, y2=4, degrees=5)
    with pytest.raises(
        DataError,
        match=r"^boxes\.csv:dog/1\.jpg: 'dog/1\.jpg' has the box 1, 2 to 3, 4 turned by 5 degrees, but 10, 20 to",
    ):
        match([_row("dog/1.jpg"), _row("dog/1.jpg", other)], KEYS, "boxes.csv")


@pytest.mark.parametrize("turn", [1, -1])
def test_another_file_of_the_same_name_does_not_take_an_images_place(
    turn: int, caplog: pytest.LogCaptureFixture
) -> None:
    rows = [_row("dog/2.jpg"), _row("fox/2.jpg", Pose(x1=1, y1=2, x2=3, y2=4))][::turn]
    assert match(rows, KEYS, "boxes.csv")[2].name == "dog/2.jpg"
    assert "boxes.csv: 1 of 2 boxes are of no image of the dataset: 'fox/2.jpg'" in caplog.text


def test_unknown_names_are_warned_of_unless_all_are(caplog: pytest.LogCaptureFixture) -> None:
    unknown = [_row(f"{number}.png") for number in range(5)]
    assert list(match([*unknown, _row("2.jpg")], KEYS, "boxes.csv")) == [2]
    assert "5 of 6 boxes are of no image of the dataset: '0.png', '1.png', '2.png' and 2 more" in caplog.text
    with pytest.raises(
        DataError, match=r"no image is called '0\.png', .* and 2 more; write paths like 'train/cat/1\.jpg'"
    ):
        match(unknown, KEYS, "boxes.csv")


# -- boxes ---------------------------------------------------------------------------------------------------------


def _settled(pose: Pose) -> Pose:
    return settle({0: _row("a.jpg", pose)}, None)[0][0]


def test_a_pixel_over_the_edge_is_clipped() -> None:
    assert _settled(Pose(x1=-1, y1=-0.5, x2=101, y2=80)) == Pose(x1=0, y1=0, x2=100, y2=80)
    turned = Pose(x1=-5, y1=10, x2=50, y2=90, degrees=10)  # its corners may stick out
    assert _settled(turned) == turned


@pytest.mark.parametrize(
    ("pose", "line"),
    [
        (Pose(x1=10, y1=20, x2=10, y2=30), "is empty (10, 20 to 10, 30); x2 and y2 must exceed x1 and y1"),
        (Pose(x1=30, y1=40, x2=10, y2=20), "is empty (30, 40 to 10, 20)"),
        (Pose(x1=-1.5, y1=0, x2=10, y2=20), "(-1.5, 0 to 10, 20) is not in its image of 100 x 80 pixels; correct or"),
        (Pose(x1=50, y1=50, x2=80, y2=82), "(50, 50 to 80, 82) is not in its image"),
        (Pose(x1=100, y1=50, x2=101, y2=60), "(100, 50 to 101, 60) is not in its image"),
        (Pose(x1=90, y1=50, x2=120, y2=60, degrees=9), "(90, 50 to 120, 60 turned by 9 degrees) is not in its image"),
    ],
)
def test_a_senseless_box_is_named(pose: Pose, line: str) -> None:
    with pytest.raises(DataError) as error:
        _settled(pose)
    assert str(error.value).startswith("boxes.csv:a.jpg: the box of 'a.jpg' ") and line in str(error.value)


def test_a_size_that_nobody_knows_is_asked_for() -> None:
    for sizes in (None, lambda positions: [None] * len(positions)):
        with pytest.raises(DataError, match=r"the size of 'a\.jpg' cannot be read; add columns width and height"):
            settle({0: _row("a.jpg", size=None)}, sizes)


def test_the_fingerprint_follows_every_number() -> None:
    one = {0: (BOX, (100.0, 80.0))}
    turned = Pose(x1=10, y1=20, x2=30, y2=50, degrees=1e-9)
    others = [{0: (turned, (100.0, 80.0))}, {0: (BOX, (100.0, 81.0))}, {1: (BOX, (100.0, 80.0))}, {}]
    assert len({fingerprint_of(poses, KEYS) for poses in (one, *others)}) == 5
    assert fingerprint_of({0: (BOX, (100, 80))}, KEYS) == fingerprint_of(one, KEYS)


# -- sizes ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", ["JPEG", "PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", [None, 1, 3, 6, 8])
def test_sizes_are_those_of_the_picture_as_it_is_shown(tmp_path: Path, suffix: str, orientation: int | None) -> None:
    exif = Image.Exif()
    if orientation:
        exif[0x0112] = orientation
    content = io.BytesIO()
    Image.new("RGB", (40, 30)).save(content, suffix, exif=exif)
    (tmp_path / "a").write_bytes(content.getvalue())
    with Image.open(content) as image:
        assert files.image_sizes(tmp_path, ["a", "gone"]) == [ImageOps.exif_transpose(image).size, None]


# -- datasets ------------------------------------------------------------------------------------------------------


def _load(root: Path, **options: object) -> Dataset:
    return load_dataset(f"folder:{root}", image_size=8, progress=False, **options)  # type: ignore[arg-type]


def _boxes(root: Path, *names: str) -> str:
    """A box 20 pixels wide and 15 high in the corner of every image, in those of class `names` if any are given."""
    keys = [path.relative_to(root).as_posix() for path in root.rglob("*.jpg") if not names or path.parent.name in names]
    path = root.parent / f"boxes{''.join(names)}.csv"
    path.write_text("\n".join(["file,x1,y1,x2,y2", *(f"{key},0,0,20,15" for key in keys)]))
    return str(path)


def test_upright_images_have_the_identity(tmp_path: Path, cache_dir: Path) -> None:
    root = class_tree(tmp_path / "pets", {"cat": 40, "dog": 20})
    upright, posed = _load(root), _load(root, poses=_boxes(root))
    assert torch.equal(upright.pose_N23, torch.eye(2, 3).expand(60, 2, 3)) and upright.pose_N23.dtype == torch.float32
    assert bool(upright.posed_N.all()) and upright.poses_fingerprint == ""
    assert torch.equal(posed.pose_N23, torch.tensor([[0.5, 0.0, -0.5], [0.0, 0.5, -0.5]]).expand(60, 2, 3))
    assert posed.fingerprint == upright.fingerprint and len(posed.poses_fingerprint) == 64
    assert torch.equal(posed.images_NHWC, upright.images_NHWC)


def test_a_share_is_that_of_each_class_and_only_of_the_training_images(tmp_path: Path, cache_dir: Path) -> None:
    root = class_tree(tmp_path / "pets", {"cat": 80, "dog": 40})
    kept: list[set[int]] = []
    for share in (0.5, 0.75, 1.0):
        dataset = _load(root, poses=_boxes(root), pose_share=share)
        assert bool(dataset.posed_N[dataset.val_I].all()) and bool(dataset.posed_N[dataset.test_I].all())
        train_I = dataset.train_I[dataset.posed_N[dataset.train_I]]
        counts = torch.bincount(dataset.labels_N[train_I])
        assert counts.tolist() == pytest.approx([56 * share, 28 * share], abs=1)
        assert torch.equal(dataset.pose_N23.isnan().any(dim=2).any(dim=1), ~dataset.posed_N)
        kept.append(set(train_I.tolist()))
    assert kept[0] < kept[1] < kept[2]
    assert len({_load(root, poses=_boxes(root), pose_share=share).poses_fingerprint for share in (0.5, 0.5, 1.0)}) == 2


def test_poses_that_cannot_be_had_are_refused(tmp_path: Path, cache_dir: Path) -> None:
    root = class_tree(tmp_path / "pets", {"cat": 60, "dog": 30})
    with pytest.raises(DataError, match=r"knows no poses \(clutter, gtsrb and tsrd do\); name a file"):
        _load(root, poses="known")
    with pytest.raises(DataError, match=r"^22 training images have a pose, at least 32 are needed; add boxes$"):
        _load(root, poses=_boxes(root, "dog"))
    assert int(_load(root, poses=_boxes(root, "cat")).posed_N.sum()) == 60
    with pytest.raises(DataError, match="31 training images have a pose"):
        _load(root, poses=_boxes(root), pose_share=31 / 64)
    with pytest.raises(SettingError, match=r"pose share 0\.5 needs poses"):
        _load(root, pose_share=0.5)
    for share in (0.0, 1.5, math.nan):
        with pytest.raises(SettingError, match=r"pose share .* is out of range; give a number above 0 and up to 1"):
            _load(root, poses=_boxes(root), pose_share=share)


def test_a_damaged_image_takes_its_pose_with_it(
    tmp_path: Path, cache_dir: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root = class_tree(tmp_path / "pets", {"cat": 60, "dog": 60})
    boxes = _boxes(root)
    truncate(root / "cat" / "image_0007.jpg")
    dataset = _load(root, poses=boxes)
    assert len(dataset.pose_N23) == len(dataset.images_NHWC) == 119 and bool(dataset.posed_N.all())
    assert "of no image" not in caplog.text
