"""A built-in dataset whose objects lie anywhere: glyphs on textured clutter, after Jaderberg et al.'s cluttered MNIST.

The 32 characters of `glyphs`, each a quarter to a half of the image wide, turned by up to 40 degrees either way, wholly
in the image, among patches of texture, strokes and fragments of other glyphs: no fragment shows more than 40 % of the
box that its glyph's ink fills. 4,800 / 1,200 / 1,200 images. Where the glyph is, is known to a fraction of a pixel: the
first numbers that are drawn for an image place its glyph. The same image number gives the same picture at every size
and on every machine that has the same Pillow and FreeType, as in `glyphs`.
"""

import dataclasses
import functools
import math

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from lstn_search.data.decoding import Row
from lstn_search.data.glyphs import (
    CHARACTERS,
    LUMA,
    Colour,
    colours,
    drawn_listing,
    photograph,
    rgb,
    scribble,
    supersampled,
)
from lstn_search.data.listing import Listing
from lstn_search.data.poses import Annotation, Pose

__all__ = ["SIZES", "draw", "place_of", "read", "silhouette"]

SIZES = (4800, 1200, 1200)

_RECIPE = 1
"""Raise it when `draw` changes."""
_FILL = 0.86
"""The longer side of a glyph's ink, of the side of its box."""
_FRAGMENT = 0.4
"""The most of a glyph's ink box that a fragment shows."""


@dataclasses.dataclass(kw_only=True, frozen=True, slots=True)
class Place:
    """Where a glyph is; lengths as shares of the image's side."""

    x: float
    """Of the middle of its square box."""
    y: float
    side: float
    degrees: float
    """Clockwise"""

    @property
    def pose(self) -> Pose:
        """In an image of one pixel."""
        half = self.side / 2
        return Pose(x1=self.x - half, y1=self.y - half, x2=self.x + half, y2=self.y + half, degrees=self.degrees)


def read(*, split_seed: int) -> Listing:
    """List the images; their pixels do not depend on the seed, only their split does."""
    listing = drawn_listing(f"clutter {_RECIPE}", draw, sizes=SIZES, split_seed=split_seed)
    return dataclasses.replace(listing, known_poses=lambda: _known_poses(listing.keys))


def place_of(number: int) -> Place:
    """Where the glyph of picture `number` is."""
    return _place(np.random.RandomState(number))


def draw(character: str, *, number: int, image_size: int) -> Row:
    """Picture `number` of `character`: uint8, image_size x image_size x 3."""
    rng = np.random.RandomState(number)
    place = _place(rng)
    side = supersampled(image_size)
    background, ink = colours(rng, contrast=80)
    weight = rng.randint(1, 4)
    canvas = _texture(rng, background, 40).resize((side, side), Image.Resampling.BICUBIC)
    pen = ImageDraw.Draw(canvas)
    for _ in range(rng.randint(3, 6)):
        _patch(pen, rng, side, _unlike(rng, ink))
    for _ in range(rng.randint(3, 7)):
        scribble(pen, rng, side, rgb(_unlike(rng, ink)))
    for _ in range(rng.randint(5, 9)):
        _fragment(canvas, rng, place, ink, weight)
    canvas.paste(rgb(ink), (0, 0), silhouette(character, place, side, weight))
    for _ in range(rng.randint(0, 3)):
        scribble(pen, rng, side, rgb(_unlike(rng, ink)))
    return photograph(canvas, rng, image_size)


def silhouette(character: str, place: Place, side: int, weight: int = 2) -> Image.Image:
    """The glyph alone, white on black, in an image of `side` pixels."""
    stencil = _stencil(character, _level(place.side * side), weight)
    return _put(stencil, side, place.x * side, place.y * side, stencil.width / (place.side * side), place.degrees)


def _known_poses(keys: tuple[str, ...]) -> list[Annotation]:
    rng, known = np.random.RandomState(), []
    for number, key in enumerate(keys):
        rng.seed(number)  # a tenth of the time of a new one
        known.append(Annotation(place=f"clutter:{number}", name=key, pose=_place(rng).pose, size=(1, 1)))
    return known


def _place(rng: np.random.RandomState) -> Place:
    side, degrees = rng.uniform(0.25, 0.5), rng.uniform(-40, 40)
    angle = math.radians(abs(degrees))
    reach = side / 2 * (math.cos(angle) + math.sin(angle))  # of the turned box
    x, y = rng.uniform(reach, 1 - reach, 2)
    return Place(x=float(x), y=float(y), side=side, degrees=degrees)


def _unlike(rng: np.random.RandomState, ink: Colour) -> Colour:
    """A colour that shows under the ink, whose brightness differs by 50 or more."""
    while True:
        colour = rng.uniform(10, 245, 3)
        if abs((colour - ink) @ LUMA) >= 50:
            return colour


def _texture(rng: np.random.RandomState, colour: Colour, spread: float) -> Image.Image:
    """Noise of two grains about a colour, 48 pixels square."""
    pixels = np.broadcast_to(colour, (48, 48, 3)).astype(np.float32)
    for grain, share in ((4, 1.0), (20, 0.8)):
        grid = rng.randint(0, 256, (grain, grain, 3), dtype=np.uint8)
        large = Image.fromarray(grid).resize((48, 48), Image.Resampling.BICUBIC)
        pixels = pixels + (np.asarray(large, np.float32) - 127.5) * np.float32(share * spread / 127.5)
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def _patch(pen: ImageDraw.ImageDraw, rng: np.random.RandomState, side: int, colour: Colour) -> None:
    """A turned rectangle of stripes."""
    x, y, half, down = side * rng.uniform((0, 0, 0.05, 0.1), (1, 1, 0.22, 0.45))
    angle, num = rng.uniform(0, math.pi), rng.randint(4, 10)
    cos, sin = math.cos(angle), math.sin(angle)
    fills = rgb(colour), rgb(colour + rng.uniform(-40, 40, 3))
    for stripe in range(num):
        across = [(-half, down * (at / num - 0.5)) for at in (stripe, stripe + 1)]
        corners = (*across, *((half, v) for _, v in reversed(across)))
        pen.polygon([(x + cos * u - sin * v, y + sin * u + cos * v) for u, v in corners], fill=fills[stripe % 2])


def _fragment(canvas: Image.Image, rng: np.random.RandomState, place: Place, ink: Colour, weight: int) -> None:
    """A piece of a glyph; what looks like the object's ink keeps away from it."""
    character = CHARACTERS[rng.randint(len(CHARACTERS))]
    x, y, left, top, share, wide, degrees = rng.uniform((0, 0, 0, 0, 0.8, 0.5, 0), (1, 1, 1, 1, 1.2, 0.75, 360))
    share *= place.side
    near = math.hypot(x - place.x, y - place.y) < 0.65 * place.side + 0.4 * share
    colour = _unlike(rng, ink) if near else ink + rng.uniform(-40, 40, 3)

    stencil = _stencil(character, _level(share * canvas.width), weight)
    x1, y1, x2, y2 = stencil.getbbox() or (0, 0, *stencil.size)
    across, down = int((x2 - x1) * wide), int((y2 - y1) * _FRAGMENT / wide)
    x1, y1 = round(x1 + left * (x2 - x1 - across)), round(y1 + top * (y2 - y1 - down))
    zoom = stencil.width / (share * canvas.width)
    room = math.ceil(math.hypot(across, down) / zoom)
    piece = _put(stencil.crop((x1, y1, x1 + across, y1 + down)), room, room / 2, room / 2, zoom, degrees)
    corner = (round(x * canvas.width - room / 2), round(y * canvas.width - room / 2))
    canvas.paste(rgb(colour), (*corner, corner[0] + room, corner[1] + room), piece)


def _put(image: Image.Image, side: int, x: float, y: float, zoom: float, degrees: float) -> Image.Image:
    """`image` shrunk by `zoom`, turned clockwise, with its middle at (x, y) of `side` squared black pixels."""
    cos, sin = zoom * math.cos(math.radians(degrees)), zoom * math.sin(math.radians(degrees))
    middle_x, middle_y = image.width / 2, image.height / 2
    inverse = (cos, sin, middle_x - cos * x - sin * y, -sin, cos, middle_y + sin * x - cos * y)
    return image.transform((side, side), Image.Transform.AFFINE, inverse, Image.Resampling.BILINEAR)


def _level(side: float) -> int:
    """The size of stencil to draw something of `side` pixels from: a power of two, so that few are made."""
    return 1 << max(4, math.ceil(math.log2(side)))


@functools.lru_cache(maxsize=1024)
def _stencil(character: str, side: int, weight: int) -> Image.Image:
    """The upright glyph, white on black, in the middle of its box; `weight` in fiftieths of the type's size."""
    large = 4 * side  # then reduced: the same shape at every size, in its place to a quarter of a pixel
    sheet = Image.new("L", (2 * large, 2 * large))
    pen, middle = ImageDraw.Draw(sheet), (large, large)
    font = ImageFont.load_default(large)
    pen.text(middle, character, fill=255, font=font, anchor="mm", stroke_width=weight * large / 50)
    ink = sheet.crop(sheet.getbbox())  # Pillow's own bounds of a text are those of its advance
    zoom = _FILL * large / max(ink.size)
    ink = ink.resize((round(ink.width * zoom), round(ink.height * zoom)), Image.Resampling.BILINEAR)
    stencil = Image.new("L", (large, large))
    stencil.paste(ink, ((large - ink.width) // 2, (large - ink.height) // 2))
    return stencil.reduce(4)
