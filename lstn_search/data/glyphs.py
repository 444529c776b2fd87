"""A built-in dataset: letters and digits in Pillow's bundled font, drawn at the wanted size; nothing to download.

32 classes, 3,000 / 600 / 600 images. Ink, background, stroke weight, lighting and noise vary, strokes of clutter lie
under and over the glyph, but place, size and angle hardly change: upright, a glyph is nearly canonical, and it is the
affine view that makes the task hard. The same image number gives the same picture at every size and on every machine
that has the same Pillow and FreeType (RandomState's streams are frozen by numpy).
"""

from typing import Protocol

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont, features
from PIL import __version__ as pillow_version

from lstn_search.data.decoding import Row
from lstn_search.data.listing import Listing
from lstn_search.data.splits import split_by_size

__all__ = [
    "CHARACTERS",
    "LUMA",
    "SIZES",
    "Colour",
    "Draw",
    "colours",
    "draw",
    "drawn_listing",
    "photograph",
    "read",
    "rgb",
    "scribble",
    "supersampled",
]

CHARACTERS = "0123456789ACDEFGHJKLMNPQRSTUVWXY"
"""Left out, as a rotation by up to 45 degrees either way and a change of scale make them another one: O (0), I (1),
Z (N, a quarter turn apart), B (8)."""
SIZES = (3000, 600, 600)
Colour = npt.NDArray[np.float64]
"""Red, green, blue of 255."""
LUMA: Colour = np.array((0.299, 0.587, 0.114))
"""Brightness of red, green and blue."""

_RECIPE = 1
"""Raise it when `draw` changes."""


class Draw(Protocol):
    """Draws picture `number` of a character: uint8, image_size x image_size x 3."""

    def __call__(self, character: str, *, number: int, image_size: int) -> Row:
        """See above."""


def read(*, split_seed: int) -> Listing:
    """List the glyphs; their pixels do not depend on the seed, only their split does."""
    return drawn_listing(f"glyphs {_RECIPE}", draw, sizes=SIZES, split_seed=split_seed)


def drawn_listing(recipe: str, picture: Draw, *, sizes: tuple[int, int, int], split_seed: int) -> Listing:
    """The characters in turn, drawn by `picture`; `recipe` changes when what it draws does."""
    total = sum(sizes)
    labels = tuple(number % len(CHARACTERS) for number in range(total))
    keys = tuple(f"{CHARACTERS[label]}/{number:04d}" for number, label in enumerate(labels))
    return Listing(
        class_names=tuple(CHARACTERS),
        keys=keys,
        labels=labels,
        content=(f"{recipe}, Pillow {pillow_version}, FreeType {features.version('freetype2')}",) * total,
        split=split_by_size(keys, labels, sizes=sizes, seed=split_seed),
        decode=lambda image_size: (
            picture(CHARACTERS[label], number=number, image_size=image_size) for number, label in enumerate(labels)
        ),
    )


def draw(character: str, *, number: int, image_size: int) -> npt.NDArray[np.uint8]:
    """Picture `number` of `character`: uint8, image_size x image_size x 3."""
    rng = np.random.RandomState(number)
    side = supersampled(image_size)
    background, ink = colours(rng)
    canvas = Image.new("RGB", (side, side), rgb(background))
    pen = ImageDraw.Draw(canvas)

    middle = (background + ink) / 2
    for _ in range(rng.randint(3, 8)):
        scribble(pen, rng, side, rgb(middle + rng.uniform(-80, 80, 3)))
    size = side * rng.uniform(0.56, 0.66)
    place = tuple(side * (0.5 + rng.uniform(-0.03, 0.03, 2)))
    font = ImageFont.load_default(size)
    weight = side * rng.uniform(0.0, 0.02)
    pen.text(place, character, fill=rgb(ink), font=font, anchor="mm", stroke_width=weight)
    for _ in range(rng.randint(0, 4)):
        scribble(pen, rng, side, rgb(middle + rng.uniform(-80, 80, 3)))

    return photograph(canvas, rng, image_size)


def supersampled(image_size: int) -> int:
    """The side of the canvas to draw on; large glyphs are smooth enough as they are."""
    return image_size * 2 if image_size <= 128 else image_size


def photograph(canvas: Image.Image, rng: np.random.RandomState, image_size: int) -> npt.NDArray[np.uint8]:
    """The canvas at `image_size` (it may be supersampled) under uneven light, with noise."""
    ramp = np.linspace(-1, 1, image_size, dtype=np.float32)
    down, right = rng.uniform(-30, 30, 2).astype(np.float32)
    light = down * ramp[:, None] + right * ramp[None, :]
    noise = rng.randint(-64, 64, (image_size, image_size, 3), dtype=np.int8) * np.float32(rng.uniform(0.0, 1.0))
    pixels = np.asarray(canvas.reduce(canvas.width // image_size) if canvas.width > image_size else canvas)
    lit: npt.NDArray[np.float32] = pixels + light[:, :, None] + noise
    return lit.clip(0, 255).astype(np.uint8)


def colours(rng: np.random.RandomState, contrast: float = 35) -> tuple[Colour, Colour]:
    """A background and an ink whose brightness differs by `contrast` or more of 255."""
    while True:
        background, ink = rng.uniform(20, 235, (2, 3))
        if abs((background - ink) @ LUMA) >= contrast:
            return background, ink


def scribble(pen: ImageDraw.ImageDraw, rng: np.random.RandomState, side: int, colour: tuple[int, ...]) -> None:
    """One stroke of clutter: a straight line or an arc, thinner than a glyph's."""
    x, y, dx, dy = side * rng.uniform((-0.1, -0.1, -0.5, -0.5), (1.1, 1.1, 0.5, 0.5))
    width = max(1, round(side * rng.uniform(0.01, 0.06)))
    if rng.uniform() < 0.5:
        pen.line((x, y, x + dx, y + dy), fill=colour, width=width)
    else:
        start = rng.uniform(0, 360)
        box = (min(x, x + dx), min(y, y + dy), max(x, x + dx), max(y, y + dy))
        pen.arc(box, start, start + rng.uniform(60, 200), fill=colour, width=width)


def rgb(colour: Colour) -> tuple[int, ...]:
    """A colour as Pillow wants it."""
    return tuple(int(channel) for channel in colour.clip(0, 255))
