"""What an image file shows, whatever it holds: more than 8 bits, transparency, EXIF that nobody can read."""

import io
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from image_trees import class_tree, write_image
from PIL import Image, ImageOps

from lstn_search.data import Dataset, load_dataset
from lstn_search.data import files as image_files
from lstn_search.errors import DataError

RAMP = np.linspace(0, 1, 256).reshape(16, 16)
GREYS = np.arange(256).reshape(16, 16)

Values = npt.NDArray[Any]


def _decode(path: Path) -> Values:
    (row,) = image_files.decode_files(path.parent, [path.name], image_size=16)
    assert not isinstance(row, str), row
    assert (row[..., 0] == row[..., 1]).all() or row.std() > 0
    return row.astype(int)


@pytest.mark.parametrize(
    "values",
    [
        RAMP.astype(np.float32),
        (2 * RAMP - 1).astype(np.float32),
        (255 * RAMP).astype(np.float32),
        (65535 * RAMP).astype(np.float32),
        (1e6 * RAMP - 3e5).astype(np.float32),
        (2 + RAMP / 100).astype(np.float32),
        (28000 + 4 * GREYS).astype(np.uint16),
        GREYS.astype(np.int32),
        (16 * GREYS + 15).astype(np.int32),
        (257 * GREYS).astype(np.int32),
        (40 * GREYS - 1000).astype(np.int32),
        GREYS.astype(np.uint16),
        (4 * GREYS + 3).astype(np.uint16),
        (16 * GREYS + 15).astype(np.uint16),
        (64 * GREYS + 63).astype(np.uint16),
        (257 * GREYS).astype(np.uint16),
    ],
)
def test_greys_of_any_range_use_all_of_black_to_white(tmp_path: Path, values: Values) -> None:
    Image.fromarray(values).save(tmp_path / "a.tif")
    np.testing.assert_allclose(_decode(tmp_path / "a.tif")[..., 0], GREYS, atol=3)


def test_what_is_no_number_is_black_and_the_rest_is_shown(tmp_path: Path) -> None:
    values = RAMP.astype(np.float32)
    values[0, :3] = np.nan, np.inf, -np.inf
    Image.fromarray(values).save(tmp_path / "a.tif")
    row = _decode(tmp_path / "a.tif")[..., 0]
    assert row[0, :3].tolist() == [0, 255, 0]
    np.testing.assert_allclose(row[1:], GREYS[1:], atol=1)


def test_the_range_is_that_of_the_whole_dataset(tmp_path: Path, cache_dir: Path) -> None:
    """A dark picture of a 12-bit camera stays dark; in a set that uses 16 bits it is as it always was."""
    root = tmp_path / "set"
    for name in ("a", "b"):
        (root / name).mkdir(parents=True)
        for number in range(5):
            Image.fromarray(np.roll(16 * GREYS, number + 9 * (name == "b")).astype(np.uint16)).save(
                root / name / f"{number}.png"
            )
    Image.fromarray((GREYS + 200).astype(np.uint16)).save(root / "a" / "0.png")  # of 4095
    twelve = load_dataset(f"folder:{root}", image_size=16, progress=False)
    np.testing.assert_array_equal(twelve.images_NHWC[0, ..., 0], (GREYS + 200) >> 4)
    np.testing.assert_array_equal(twelve.images_NHWC[1, ..., 0], np.roll(GREYS, 1))
    Image.fromarray((257 * GREYS).astype(np.uint16)).save(root / "b" / "bright.png")
    sixteen = load_dataset(f"folder:{root}", image_size=16, progress=False)
    np.testing.assert_array_equal(sixteen.images_NHWC[1, ..., 0], np.roll(16 * GREYS, 1) >> 8)
    assert sixteen.fingerprint != twelve.fingerprint


def _png(values: Values) -> bytes:
    """A PNG of 16-bit colours, which Pillow cannot write."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    height, width = values.shape[:2]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    header = struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


@pytest.mark.parametrize(("white", "atol"), [(65535, 1), (4095, 16)])
def test_colours_of_sixteen_bits(tmp_path: Path, white: int, atol: int) -> None:
    colours = np.stack([RAMP, RAMP[::-1], RAMP.T], axis=2)
    (tmp_path / "a.png").write_bytes(_png((white * colours).round()))
    np.testing.assert_allclose(_decode(tmp_path / "a.png"), 255 * colours, atol=atol)


# -- transparency ------------------------------------------------------------------------------------------------------


def _clear(colour: int, alpha: Values) -> Image.Image:
    rgba = np.full((16, 16, 4), colour, np.uint8)
    rgba[..., 3] = alpha
    return Image.fromarray(rgba)


def test_ink_on_nothing_lies_on_white_and_white_ink_on_black(tmp_path: Path) -> None:
    _clear(0, GREYS).save(tmp_path / "black.png")
    np.testing.assert_allclose(_decode(tmp_path / "black.png")[..., 0], 255 - GREYS, atol=1)
    _clear(255, GREYS).save(tmp_path / "white.png")
    np.testing.assert_allclose(_decode(tmp_path / "white.png")[..., 0], GREYS, atol=1)
    _clear(128, GREYS).save(tmp_path / "grey.webp", lossless=True, exact=True)
    np.testing.assert_allclose(_decode(tmp_path / "grey.webp")[..., 0], 255 - GREYS * 127 / 255, atol=2)


@pytest.mark.parametrize("make", [
    lambda image: image.convert("LA"),
    lambda image: image.quantize(4),
])  # fmt: skip
def test_every_way_to_say_that_something_shows_through(
    tmp_path: Path, make: Callable[[Image.Image], Image.Image]
) -> None:
    make(_clear(0, 255 * (GREYS % 2))).save(tmp_path / "a.png")
    np.testing.assert_allclose(_decode(tmp_path / "a.png")[..., 0], 255 * (1 - GREYS % 2), atol=4)
    Image.fromarray(GREYS.astype(np.uint8)).save(tmp_path / "key.png", transparency=0)
    assert _decode(tmp_path / "key.png")[0, :3, 0].tolist() == [255, 1, 2]


@pytest.mark.parametrize("alpha", [0, 128, 255])
def test_alpha_that_is_the_same_everywhere_says_nothing(tmp_path: Path, cache_dir: Path, alpha: int) -> None:
    """And the fingerprint is that of before transparency was looked at: of the bytes alone."""
    root = class_tree(tmp_path, {"a": 3, "b": 3}, suffix=".png")
    colours = np.random.default_rng(0).integers(0, 255, (16, 16, 3), dtype=np.uint8)
    rgba = np.dstack([colours, np.full((16, 16), alpha, np.uint8)])
    Image.fromarray(rgba).save(root / "a" / "image_0000.png")
    np.testing.assert_array_equal(_decode(root / "a" / "image_0000.png"), colours)
    looks = image_files.look_at(root, ["a/image_0000.png", "b/image_0000.png"], cache_dir=cache_dir)
    assert [one.mode for one in looks] == ["", ""]


def test_many_images_of_one_colour_are_told(tmp_path: Path, cache_dir: Path) -> None:
    root = class_tree(tmp_path / "set", {"a": 20, "b": 20}, suffix=".png", size=(32, 32))
    Image.new("RGB", (8, 8), (3, 200, 100)).save(root / "a" / "image_0000.png")

    def load() -> Dataset:
        return load_dataset(f"folder:{root}", image_size=8, progress=False)

    assert load().notes == ()  # one of forty may be so
    for number in range(4):
        Image.new("RGB", (8, 8), (3, 200, number)).save(root / "a" / f"image_{number:04d}.png")
    (note,) = load().notes
    assert note.endswith("4 of 40 images looked at are (nearly) of one colour; are they read as you see them?")


# -- EXIF, and files that are not what they say ------------------------------------------------------------------------


def _exif(entries: list[tuple[int, int, int, bytes]], rest: bytes = b"") -> bytes:
    rows = b"".join(struct.pack("<HHI", *entry[:3]) + entry[3] for entry in sorted(entries))
    return b"Exif\0\0II*\0" + struct.pack("<IH", 8, len(entries)) + rows + b"\0" * 4 + rest


def _with_exif(path: Path, exif: bytes) -> None:
    write_image(path, size=(16, 8))
    content = path.read_bytes()
    path.write_bytes(content[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + content[2:])


ORIENTATION = (0x0112, 3, 1, struct.pack("<HH", 6, 0))
RATIONAL = (0x011A, 10, 1, struct.pack("<I", 38))  # a negative resolution


@pytest.mark.parametrize(
    ("exif", "turned"),
    [
        (_exif([ORIENTATION]), True),
        (_exif([ORIENTATION, RATIONAL], struct.pack("<ii", -5, 1)), True),
        (_exif([ORIENTATION, (0x8769, 4, 1, b"\xff\xff\xff\x7f")]), True),
        (_exif([(0x0112, 3, 1, struct.pack("<HH", 9, 0))]), False),
        (_exif([(0x0112, 2, 4, b"six\0")]), False),
        (b"Exif\0\0II*\0\xff\xff\xff\xff", False),
        (b"Exif\0\0", False),
    ],
)
def test_odd_exif_costs_no_image(tmp_path: Path, exif: bytes, turned: bool) -> None:
    write_image(tmp_path / "plain.jpg", size=(16, 8))
    _with_exif(tmp_path / "odd.jpg", exif)
    with Image.open(tmp_path / "plain.jpg") as plain:
        expected = plain.transpose(Image.Transpose.ROTATE_270) if turned else plain.copy()
    resized = np.asarray(expected.resize((16, 16), Image.Resampling.BILINEAR)).astype(int)
    np.testing.assert_array_equal(_decode(tmp_path / "odd.jpg"), resized)
    (size,) = image_files.image_sizes(tmp_path, ["odd.jpg"])
    assert size == expected.size


@pytest.mark.parametrize("orientation", range(1, 9))
def test_each_orientation_is_turned_as_pillow_turns_it(tmp_path: Path, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = Image.fromarray(np.random.default_rng(0).integers(0, 255, (16, 16, 3), dtype=np.uint8))
    image.save(tmp_path / "a.png", exif=exif)
    with Image.open(tmp_path / "a.png") as saved:
        np.testing.assert_array_equal(_decode(tmp_path / "a.png"), np.asarray(ImageOps.exif_transpose(saved)))


def test_any_exception_of_a_decoder_names_the_file(
    tmp_path: Path, cache_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = class_tree(tmp_path, {"a": 3, "b": 3}, suffix=".png")

    def fail(self: Image.Image, *args: object) -> None:
        raise struct.error("unpack requires a buffer of 4 bytes")

    monkeypatch.setattr("PIL.PngImagePlugin.PngImageFile.load", fail)
    with pytest.raises(DataError, match=r"6 of 6 files damaged: a/image_0000\.png \(error unpack requires a buffer"):
        load_dataset(f"folder:{root}", image_size=8, progress=False)


def test_a_program_in_the_coat_of_an_image_is_not_run(tmp_path: Path) -> None:
    """Pillow would hand PostScript to Ghostscript."""
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8)).save(buffer, "EPS")
    (tmp_path / "a.png").write_bytes(buffer.getvalue())
    assert list(image_files.decode_files(tmp_path, ["a.png"], image_size=8)) == ["not an image"]


def test_odd_metadata_is_not_muttered_about(tmp_path: Path) -> None:
    _with_exif(tmp_path / "odd.jpg", _exif([ORIENTATION, (0x8769, 4, 1, b"\xff\xff\xff\x7f")]))
    code = (
        "import sys; from pathlib import Path; from lstn_search.data.files import decode_files; "
        "print(len(list(decode_files(Path(sys.argv[1]), ['odd.jpg'], image_size=8))))"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("1\n", "")
