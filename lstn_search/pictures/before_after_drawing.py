"""Draws what `before_after` found, with Pillow: a page of pairs, or a film of such pages.

A pair is the input with the sampling frame drawn on it, and beside it the output; below each, what the classifier says.
"""

import functools
import io
from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from lstn_search.atomic import write_atomically
from lstn_search.errors import SettingError
from lstn_search.pictures.sightings import BeforeAfterInfo, Guess, Pixels, Point, Sighting

__all__ = [
    "FILM_SUFFIXES",
    "PICTURE_SUFFIXES",
    "check_suffix",
    "draw_pages",
    "draw_picture",
    "write_film",
    "write_picture",
]

PICTURE_SUFFIXES = {".png": "PNG", ".webp": "WEBP", ".jpg": "JPEG", ".jpeg": "JPEG"}
FILM_SUFFIXES = {".gif": "GIF", ".webp": "WEBP"}

PAPER, INK, FAINT, MARGIN = "#ffffff", "#222222", "#6b7075", "#e8eaed"
FRAME, RIGHT, WRONG = "#ff8c00", "#1f5fa8", "#b3261e"
SHARPEN = 3
"""Frames are drawn at so many times their size and shrunk: Pillow's lines have no smooth edges."""
REACH = (1.1, 1.6)
"""How much of the surroundings an input is shown with, at least and at most; 1 is the image alone."""
PAD_PX, GAP_PX, LINE_PX, TEXT_PX = 16, 6, 16, 12
COLUMNS = 4
"""Pairs beside each other where each image is shown under one view only."""
STEP_MS, PAUSE_MS, END_MS = 70, 700, 3000
"""How long a page of a film stays: between snapshots, at a snapshot, at the end."""


def check_suffix(file: Path, *, film: bool) -> None:
    """Raises SettingError when the name of the file does not say what can be written."""
    known = FILM_SUFFIXES if film else PICTURE_SUFFIXES
    if file.suffix.lower() not in known:
        what = "an animation" if film else "a picture"
        raise SettingError(f"{what} is written as {', '.join(known)}, got {file.name!r}; choose another --out")


def write_picture(picture: Image.Image, file: Path) -> None:
    """Write a page, whole or not at all. Raises OSError when it cannot be written."""
    check_suffix(file, film=False)
    _write([picture], file, PICTURE_SUFFIXES[file.suffix.lower()])


def write_film(pages: Sequence[BeforeAfterInfo], file: Path, *, tile_px: int = 96) -> None:
    """Write the pages of a film, which repeats without end. Raises OSError when it cannot be written."""
    check_suffix(file, film=True)
    durations = [END_MS if page is pages[-1] else STEP_MS if "towards" in page.caption else PAUSE_MS for page in pages]
    _write(draw_pages(pages, tile_px=tile_px), file, FILM_SUFFIXES[file.suffix.lower()], durations)


def _write(pages: list[Image.Image], file: Path, kind: str, durations: list[int] | None = None) -> None:
    options: dict[str, object] = {"quality": 88} if kind != "PNG" else {"optimize": True}
    if durations is not None:
        options |= {"save_all": True, "append_images": pages[1:], "duration": durations, "loop": 0}
    buffer = io.BytesIO()
    pages[0].save(buffer, kind, **options)
    write_atomically(file, buffer.getvalue())


def draw_picture(info: BeforeAfterInfo, *, tile_px: int = 112) -> Image.Image:
    """One page. `tile_px` is the side of an image."""
    return draw_pages([info], tile_px=tile_px)[0]


def draw_pages(infos: Sequence[BeforeAfterInfo], *, tile_px: int) -> list[Image.Image]:
    """Pages of the same images, all of one size and with everything in its place."""
    reach = min(max(REACH[0], *(info.reach for info in infos)), REACH[1])
    pages = [_Page(info, tile_px, reach) for info in infos]
    num_lines = max(len(page.heading()) for page in pages)
    return [page.draw(num_lines) for page in pages]


class _Page:
    def __init__(self, info: BeforeAfterInfo, tile_px: int, reach: float) -> None:
        self.info, self.tile_px = info, tile_px
        self.input_px = round(tile_px * reach)
        self.plain, self.bold = _font("DejaVuSans.ttf", TEXT_PX), _font("DejaVuSans-Bold.ttf", TEXT_PX)
        self.cell_width = self.input_px + GAP_PX + tile_px
        self.cell_height = LINE_PX + 4 + self.input_px + 4 + 2 * LINE_PX
        self.columns = len(info.views) if len(info.views) > 1 else min(COLUMNS, len(info.images))
        self.width = 2 * PAD_PX + self.columns * self.cell_width + (self.columns - 1) * 2 * PAD_PX

    def draw(self, num_lines: int) -> Image.Image:
        """The page: heading, then a cell a sighting."""
        top = PAD_PX + num_lines * LINE_PX + PAD_PX
        rows = -(-len(self.info.sightings) // self.columns)
        page = Image.new("RGB", (self.width, top + rows * (self.cell_height + PAD_PX)), PAPER)
        pen = ImageDraw.Draw(page)
        for number, (line, font) in enumerate(self.heading()):
            pen.text((PAD_PX, PAD_PX + number * LINE_PX), line, INK, font)
        cells = [(image, n) for image in self.info.images for n in range(len(image.sightings))]
        for number, (image, n) in enumerate(cells):
            row, column = divmod(number, self.columns)
            x, y = PAD_PX + column * (self.cell_width + 2 * PAD_PX), top + row * (self.cell_height + PAD_PX)
            used = 0
            if n == 0:
                view = f" · {self.info.views[0]}" if len(self.info.views) > 1 else ""
                name = self._fit(image.name, self.cell_width - self.plain.getlength(view), self.bold)
                pen.text((x, y), name, INK, self.bold)
                used = round(self.bold.getlength(name))
            else:
                view = self.info.views[n]
            pen.text((x + used, y), view, FAINT, self.plain)
            self._draw_pair(page, pen, (x, y + LINE_PX + 4), image.sightings[n])
        return page

    def heading(self) -> list[tuple[str, ImageFont.FreeTypeFont]]:
        """Its lines, what changes in the last ones."""
        info = self.info
        explained = (
            "Left of each pair the input, with the frame the transformer looks through (heavy line: its upper edge); "
            "right what it hands to the classifier. Below each, what that classifier says of it."
        )
        state = info.caption
        if info.num_right is not None:
            explained += " ✓ right, ✗ wrong."
            without, right = info.num_right
            counted = f"right in {right} of these {len(info.sightings)}, {without} without the warp"
            state = f"{state}; {counted}" if state else counted
        if info.caption:
            explained += " The classifier is the one of the training's end, throughout."
        state = state[:1].upper() + state[1:]
        parts = [(info.title, self.bold), (explained, self.plain), (state, self.bold if info.caption else self.plain)]
        return [(line, font) for text, font in parts if text for line in self._wrap(text, font)]

    def _draw_pair(self, page: Image.Image, pen: ImageDraw.ImageDraw, at: tuple[int, int], sighting: Sighting) -> None:
        x, y = at
        page.paste(_framed(sighting.input_HWC, sighting.frame, self.tile_px, self.input_px), at)
        right, middle = x + self.input_px + GAP_PX, y + (self.input_px - self.tile_px) // 2
        page.paste(_enlarged(sighting.output_HWC, self.tile_px), (right, middle))
        box = (right - 1, middle - 1, right + self.tile_px, middle + self.tile_px)
        pen.rectangle(box, outline=FRAME)
        below = y + self.input_px + 4
        self._draw_guess(pen, (x, below), sighting.without, self.input_px)
        self._draw_guess(pen, (right, below), sighting.guess, self.tile_px)

    def _draw_guess(self, pen: ImageDraw.ImageDraw, at: tuple[int, int], guess: Guess, width: int) -> None:
        mark = {True: "✓ ", False: "✗ ", None: ""}[guess.is_right]
        colour = {True: RIGHT, False: WRONG, None: INK}[guess.is_right]
        x, y = at
        pen.text((x, y), self._fit(mark + guess.label, width, self.plain), colour, self.plain)
        pen.text((x, y + LINE_PX), f"{100 * guess.probability:.0f} %", colour, self.plain)

    def _fit(self, text: str, width: float, font: ImageFont.FreeTypeFont) -> str:
        """The text, or as much of it as there is room for."""
        if font.getlength(text) <= width:
            return text
        while text and font.getlength(text + "…") > width:
            text = text[:-1]
        return text + "…"

    def _wrap(self, text: str, font: ImageFont.FreeTypeFont) -> list[str]:
        lines = [""]
        for word in text.split():
            longer = f"{lines[-1]} {word}".strip()
            if font.getlength(longer) <= self.width - 2 * PAD_PX:
                lines[-1] = longer
            else:
                lines.append(word)
        return [line for line in lines if line]


def _enlarged(pixels_HWC: Pixels, side_px: int) -> Image.Image:
    return Image.fromarray(pixels_HWC).resize((side_px, side_px), Image.Resampling.BICUBIC)


def _framed(pixels_HWC: Pixels, frame: Sequence[Point], tile_px: int, side_px: int) -> Image.Image:
    """The image in the middle of its surroundings, and the frame on it, its upper edge heavy."""
    side = side_px * SHARPEN
    image = _enlarged(pixels_HWC, tile_px * SHARPEN)
    canvas = Image.new("RGB", (side, side), MARGIN)
    canvas.paste(image, ((side - image.width) // 2,) * 2)
    corners = [(side / 2 + x * image.width / 2, side / 2 + y * image.width / 2) for x, y in frame]
    pen = ImageDraw.Draw(canvas)
    for width, colour in ((4, PAPER), (2, FRAME)):  # a light edge keeps it visible on every image
        pen.line([*corners, corners[0], corners[1]], colour, width * SHARPEN, joint="curve")
        pen.line(corners[:2], colour, (width + 2) * SHARPEN)
    return canvas.resize((side_px, side_px), Image.Resampling.BOX)


@functools.cache
def _font(name: str, size_px: int) -> ImageFont.FreeTypeFont:
    """One of the fonts that come with matplotlib: Pillow's own has neither a tick nor a cross."""
    import matplotlib

    return ImageFont.truetype(str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / name), size_px)
