"""Image files: found, hashed, decoded."""

import os
from pathlib import Path

import numpy as np
import pytest
from image_trees import class_tree, truncate, write_image
from PIL import Image

from lstn_search.data import files
from lstn_search.data.decoding import Row
from lstn_search.data.walk import Tree
from lstn_search.errors import DataError


def _decode(path: Path, image_size: int = 16) -> Row:
    (row,) = files.decode_files(path.parent, [path.name], image_size=image_size)
    return row


def test_a_picture_is_resized_as_pillow_does_it(tmp_path: Path) -> None:
    write_image(tmp_path / "a.png", size=(50, 30))
    with Image.open(tmp_path / "a.png") as image:
        expected = np.asarray(image.resize((16, 16), Image.Resampling.BILINEAR))
    np.testing.assert_array_equal(_decode(tmp_path / "a.png"), expected)


def test_a_large_jpeg_decoded_small_stays_close_to_the_full_one(tmp_path: Path) -> None:
    write_image(tmp_path / "a.jpg", size=(800, 600))
    with Image.open(tmp_path / "a.jpg") as image:
        expected = np.asarray(image.resize((16, 16), Image.Resampling.BILINEAR)).astype(int)
    row = _decode(tmp_path / "a.jpg")
    assert not isinstance(row, str) and np.abs(row - expected).mean() < 2


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "1"])
def test_every_mode_becomes_rgb(tmp_path: Path, mode: str) -> None:
    write_image(tmp_path / "a.png", mode=mode)
    row = _decode(tmp_path / "a.png")
    assert not isinstance(row, str) and row.shape == (16, 16, 3) and row.dtype == np.uint8


def test_sixteen_bit_grey_keeps_its_contrast(tmp_path: Path) -> None:
    Image.fromarray(np.linspace(0, 65535, 256, dtype=np.uint16).reshape(16, 16)).save(tmp_path / "a.png")
    row = _decode(tmp_path / "a.png")
    assert not isinstance(row, str)
    np.testing.assert_allclose(row[:, :, 0].ravel(), np.arange(256), atol=1)


def test_a_photo_taken_with_the_camera_turned_is_upright(tmp_path: Path) -> None:
    image = Image.new("RGB", (16, 16))
    image.paste((255, 255, 255), (0, 0, 16, 8))  # top half white
    exif = Image.Exif()
    exif[0x0112] = 3  # turned by 180 degrees
    image.save(tmp_path / "a.png", exif=exif)
    row = _decode(tmp_path / "a.png")
    assert not isinstance(row, str) and row[0].max() == 0 and row[-1].min() == 255


def test_damaged_files_say_what_is_wrong_with_them(tmp_path: Path) -> None:
    for name in ("a.jpg", "b.png"):
        write_image(tmp_path / name, size=(200, 200))
        truncate(tmp_path / name)
        assert isinstance(_decode(tmp_path / name), str)
    (tmp_path / "c.jpg").write_text("<html>404</html>")
    assert _decode(tmp_path / "c.jpg") == "not an image"


def test_rows_come_in_the_order_of_the_files(tmp_path: Path) -> None:
    keys = [f"{number}.png" for number in range(300)]
    for number, key in enumerate(keys):
        Image.new("RGB", (2, 2), (number % 256, number // 256, 0)).save(tmp_path / key)
    rows = list(files.decode_files(tmp_path, keys, image_size=2))
    assert [int(row[0, 0, 0]) + 256 * int(row[0, 0, 1]) for row in rows if not isinstance(row, str)] == [*range(300)]


def test_images_are_found_in_sub_folders_in_the_order_of_their_bytes(tmp_path: Path) -> None:
    for name in ("b.jpg", "B.JPG", "sub/a.png", ".hidden.png", ".hidden/a.png", "notes.txt"):
        write_image(tmp_path / "cat" / name) if "txt" not in name else (tmp_path / "cat" / name).write_text("")
    assert Tree(tmp_path).files("cat") == ["cat/B.JPG", "cat/b.jpg", "cat/sub/a.png"]


def test_digests_follow_the_content_even_behind_equal_size_and_date(tmp_path: Path, cache_dir: Path) -> None:
    root = class_tree(tmp_path / "images", {"a": 2}, suffix=".bmp")  # all BMPs of one shape have one size
    keys = Tree(root).files("a")
    before = files.look_at(root, keys, cache_dir=cache_dir)
    stat = (root / keys[0]).stat()
    write_image(root / keys[0], seed=99)
    os.utime(root / keys[0], ns=(stat.st_atime_ns, stat.st_mtime_ns))
    after = files.look_at(root, keys, cache_dir=cache_dir)
    assert after[0] != before[0] and after[1] == before[1]


def test_unchanged_files_are_not_read_again(tmp_path: Path, cache_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = class_tree(tmp_path / "images", {"a": 3})
    keys = Tree(root).files("a")
    first = files.look_at(root, keys, cache_dir=cache_dir)
    memo = next((cache_dir / "digests").iterdir())
    content = memo.read_bytes()
    monkeypatch.setattr(Path, "read_bytes", lambda path: content if path == memo else pytest.fail(f"{path} was read"))
    assert files.look_at(root, keys, cache_dir=cache_dir) == first


def test_a_file_that_went_away_is_named(tmp_path: Path, cache_dir: Path) -> None:
    with pytest.raises(DataError, match=r"gone\.jpg cannot be read \(No such file or directory\)"):
        files.look_at(tmp_path, ["gone.jpg"], cache_dir=cache_dir)
