"""A drawing as a PNG file, and as a picture inside a page: on a phone and on a desk, light and dark."""

import base64
import dataclasses
import io
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from lstn_search.atomic import write_atomically
from lstn_search.pictures.palette import LIGHT, NARROW, WIDE, Palette, drawing
from lstn_search.pictures.svg import inline_svg

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Picture", "draw_picture", "load_picture"]

Facts = TypeVar("Facts")

LARGE_BYTES = 300_000
"""A photograph above this is put into the page as WebP."""


@dataclasses.dataclass(kw_only=True, frozen=True, slots=True)
class Picture:
    """A picture that no page needs another file for: two SVG elements, one of which a page shows, or a photograph."""

    name: str
    alt: str
    wide: str = ""
    narrow: str = ""
    photo: str = ""
    """A data URI."""
    width: int = 0
    """Of the photograph, in CSS pixels, like the height."""
    height: int = 0


def draw_picture(
    name: str, alt: str, draw: "Callable[[Facts, Palette, float], Figure]", facts: Facts, folder: Path
) -> Picture:
    """Draw the facts in both widths, write the wide one to `folder`/`name`.png, and return it for a page.

    Raises OSError when the file cannot be written.
    """
    with drawing(LIGHT):
        figure = _laid_out(draw(facts, LIGHT, WIDE))
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=192)
        wide = inline_svg(figure, name, "wide")
        narrow = inline_svg(_laid_out(draw(facts, LIGHT, NARROW)), name, "narrow")
    write_atomically(folder / f"{name}.png", buffer.getvalue())
    return Picture(name=name, alt=alt, wide=wide, narrow=narrow)


def _laid_out(figure: "Figure") -> "Figure":
    """The figure with everything in its place for good: to lay it out takes longer than to draw it."""
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    if isinstance(figure.get_layout_engine(), ConstrainedLayoutEngine):
        figure.draw_without_rendering()
        figure.set_layout_engine("none")
    return figure


def load_picture(file: Path, alt: str) -> Picture:
    """An image file for a page; large ones become WebP."""
    from PIL import Image

    content, kind = file.read_bytes(), "png"
    with Image.open(io.BytesIO(content)) as image:
        width, height = image.size
        if len(content) > LARGE_BYTES:
            buffer = io.BytesIO()
            image.convert("RGB").save(buffer, format="WEBP", quality=85)
            content, kind = min((content, "png"), (buffer.getvalue(), "webp"), key=lambda pair: len(pair[0]))
    uri = f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
    return Picture(name=file.stem, alt=alt, photo=uri, width=width, height=height)
