"""One image file as uint8 pixels, whatever it holds: turned, its range of greys, what lies under its transparency.

What was read rightly by every release stays as it is, bit for bit: 8-bit pictures, and 16-bit grey that uses its range.
Other greys are scaled by the range that the whole dataset uses, and transparency is laid on white. Both need a look at
the file (`look`), and what was found is part of its content (`contents_of`): no cache shows it otherwise.
"""

import dataclasses
import io
import re
import stat
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image, ImageFile, UnidentifiedImageError

from lstn_search.data.walk import picture_formats
from lstn_search.errors import DataError

__all__ = ["Look", "Row", "Scale", "contents_of", "decode", "look", "read_file", "resize", "scales_of", "size_of"]

Row = npt.NDArray[np.uint8] | str
"""One decoded image, uint8 height x width x 3, or what is wrong with its file."""

MAX_BYTES = 1 << 30

_BLACK_AND_WHITE = ((0, 1), (-1, 1), *((0, 2**bits - 1) for bits in (8, 10, 12, 14, 16)))
"""What greys are stored between."""
_BEFORE = {"F": 255, "I": 255, "I;16": 65535, "RGB;16": 65535}
"""Mode -> the white at which every release read its greys rightly."""
_NARROW = 1 / 16
"""Share of such a range below which the greys of a whole dataset are spread over black to white."""
_FAINT = 32
"""Contrast of 255 below which what lies on white is tried on black."""
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")  # of odd metadata, in several lines
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)  # twice as large is an error
_SIXTEEN = re.compile(r"RGBX?;16[BLN]")
"""Pillow's name for colours of 16 bits in a file; it keeps the upper 8."""
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""EXIF's orientation -> how to turn it back."""


@dataclasses.dataclass(frozen=True, slots=True)
class Look:
    """What a file was found to hold."""

    digest: str
    """SHA-256 of its bytes, in hex."""
    mode: str = ""
    """F, I, I;16 or RGB;16 for greys and colours of more than 8 bits; A where something shows through; else empty."""
    low: float = 0.0
    """The darkest value of such greys."""
    high: float = 0.0


@dataclasses.dataclass(frozen=True, slots=True)
class Scale:
    """What becomes black and white; without them each picture's own darkest and brightest."""

    black: float | None = None
    white: float | None = None

    def __str__(self) -> str:
        return "its own range" if self.black is None else f"{self.black} to {self.white}"


def look(content: bytes, digest: str) -> Look:
    """Whether a file has transparency, or more than 8 bits; what cannot be decoded has neither, and is named later."""
    if content.startswith(b"\xff\xd8\xff"):  # a JPEG
        return Look(digest)
    try:
        with Image.open(io.BytesIO(content), formats=picture_formats()) as image:
            mode = _deep_mode(image)
            if mode == "RGB;16":
                return Look(digest, mode, 0.0, 256.0 * np.asarray(image).max() + 255)
            if mode:
                values = np.asarray(image)
                finite = values[np.isfinite(values)]
                return Look(digest, mode, float(finite.min()), float(finite.max())) if finite.size else Look(digest)
            return Look(digest, "A") if _alpha(image) else Look(digest)
    except Exception:
        return Look(digest)


def scales_of(looks: Sequence[Look]) -> dict[str, Scale]:
    """Mode -> the range that its greys use in this dataset: the first usual one that holds them all."""
    ends: dict[str, tuple[float, float]] = {}
    for one in looks:
        if one.mode in _BEFORE:
            low, high = ends.get(one.mode, (one.low, one.high))
            ends[one.mode] = min(low, one.low), max(high, one.high)
    return {mode: _range(*of_mode) for mode, of_mode in ends.items()}


def contents_of(looks: Sequence[Look], scales: Mapping[str, Scale]) -> tuple[str, ...]:
    """One digest an image over all that its pixels depend on: its bytes alone where every release reads it alike."""
    how = {mode: f" in {scale}" for mode, scale in scales.items() if scale != Scale(0, _BEFORE[mode])}
    how["A"] = " on white"
    return tuple(one.digest + how.get(one.mode, "") for one in looks)


def decode(path: Path, image_size: int, scales: Mapping[str, Scale]) -> Row:
    """The picture in a file, `image_size` squared. Raises DataError when the file cannot be read at all."""
    try:
        content = read_file(path, MAX_BYTES)
        with Image.open(io.BytesIO(content), formats=picture_formats()) as image:
            # A JPEG can be decoded at 1/2, 1/4 or 1/8: twice the wanted size is left for the bilinear filter.
            image.draft("RGB", (2 * image_size, 2 * image_size))
            mode = _deep_mode(image)
            image.load()
            turn = _TURNS.get(_orientation(image))
            shown = _scaled(image, mode, scales.get(mode, Scale())) if mode else _on_a_background(image)
            return resize(shown if turn is None else shown.transpose(turn), image_size)
    except UnidentifiedImageError:
        return "not an image"
    except DataError:
        raise
    except Exception as error:  # a decoder can raise anything
        reason = next(iter(str(error).splitlines()), "")
        is_plain = isinstance(error, OSError | SyntaxError | ValueError | EOFError) and reason
        return reason if is_plain else f"{type(error).__name__} {reason}".rstrip()


def size_of(path: Path) -> tuple[int, int] | None:
    """Width and height of the picture as `decode` shows it, from its header; None for what is no image."""
    try:
        with Image.open(path, formats=picture_formats()) as image:
            width, height = image.size
            # What is square is so either way; Pillow turns the sizes of TIFFs itself.
            if width == height or image.format == "TIFF" or _orientation(image) not in (5, 6, 7, 8):
                return width, height
            return height, width
    except Exception:  # a decoder can raise anything
        return None


def resize(image: Image.Image, image_size: int) -> npt.NDArray[np.uint8]:
    """To RGB, `image_size` squared (the aspect ratio is not kept): bilinear, antialiased when shrinking."""
    image = image.convert("RGB")
    if image.size != (image_size, image_size):
        image = image.resize((image_size, image_size), Image.Resampling.BILINEAR)
    return np.asarray(image)


def read_file(path: Path, max_bytes: int, *, smaller: str = "remove it, or make it smaller") -> bytes:
    """The content of a regular file. Raises DataError, also on a pipe or a device, which might never end."""
    try:
        facts = path.stat()
        if not stat.S_ISREG(facts.st_mode):
            raise DataError(f"{path} is no file but a folder, pipe or device; remove it, or put a file there")
        if facts.st_size > max_bytes:
            raise DataError(f"{path} has {facts.st_size:,} bytes, over {max_bytes:,}; {smaller}")
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}); check the file") from None


def _orientation(image: Image.Image) -> int:
    """As EXIF has it; 1, upright, where that cannot be made out."""
    try:
        return int(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # EXIF that no one can read turns nothing
        return 1


def _deep_mode(image: ImageFile.ImageFile) -> str:
    """F, I, I;16 or RGB;16, of an image that is not loaded yet; empty for 8 bits and less."""
    if image.mode in ("F", "I") or image.mode.startswith("I;16"):
        return image.mode[:4]
    args = image.tile[0].args if image.mode == "RGB" and image.tile else None
    return "RGB;16" if args and _SIXTEEN.match(str(args if isinstance(args, str) else args[0])) else ""


def _range(low: float, high: float) -> Scale:
    for black, white in _BLACK_AND_WHITE:
        room = 0.05 * (white - black) if white == 1 else 0  # filters overshoot
        if black - room <= low and high <= white + room:
            return Scale(black, white) if high - low >= _NARROW * (white - black) else Scale(low, high)
    return Scale()


def _scaled(image: Image.Image, mode: str, scale: Scale) -> Image.Image:
    if mode == "RGB;16":
        return image.convert("RGB").point(lambda value: int(value * 65536 / ((scale.white or 65535) + 1)))
    values = np.asarray(image)
    black, white = scale.black, scale.white
    if black is None or white is None:
        black, white = np.percentile(values[np.isfinite(values)], (0.5, 99.5))
    if mode != "F" and black == 0 and white >= 255:
        grey = values.clip(0, int(white)) >> (int(white).bit_length() - 8)
    else:
        with np.errstate(all="ignore"):
            grey = np.nan_to_num((values - black) * (255 / max(white - black, 1e-30))).clip(0, 255)
    return Image.fromarray(grey.astype(np.uint8))


def _alpha(image: Image.Image) -> Image.Image | None:
    """The picture as RGBA if something shows through it; what is as clear everywhere tells nothing, and is ignored."""
    if not image.has_transparency_data:
        return None
    rgba = image.convert("RGBA")
    low, high = rgba.getchannel("A").getextrema()
    return rgba if low != high else None


def _on_a_background(image: Image.Image) -> Image.Image:
    """Transparency on white, or on black where white hides what is there."""
    rgba = _alpha(image)
    if rgba is None:
        return image
    laid = [
        Image.alpha_composite(Image.new("RGBA", rgba.size, colour), rgba).convert("RGB")
        for colour in ("white", "black")
    ]
    contrast = [int(np.ptp(np.asarray(one), axis=(0, 1)).max()) for one in laid]
    return laid[1] if contrast[0] < min(_FAINT, contrast[1]) else laid[0]
