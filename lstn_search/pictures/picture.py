"""A drawing as a PNG file, and as a picture inside a page that suits light and dark."""

import base64
import dataclasses
import io
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from lstn_search.atomic import write_atomically
from lstn_search.pictures.palette import DARK, LIGHT, Palette, drawing

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Draw", "Picture", "draw_picture", "load_picture", "save_figure"]

Draw = Callable[[Palette], "Figure"]

PX_PER_INCH = 96
"""Of a page, as CSS counts."""
LARGE_BYTES = 300_000
"""A photograph above this is put into the page as WebP."""


@dataclasses.dataclass(kw_only=True, frozen=True, slots=True)
class Picture:
    """A picture as data URIs: no page needs another file for it."""

    name: str
    alt: str
    light: str
    dark: str | None
    """None: the light one serves both."""
    width: int
    """In CSS pixels, like the height."""
    height: int


def draw_picture(name: str, alt: str, draw: Draw, folder: Path) -> Picture:
    """Draw a figure, write `folder`/`name`.png, and return it for a page: SVG, or PNG at 2x where that is smaller.

    Raises OSError when the file cannot be written.
    """
    with drawing(LIGHT):
        figure = _laid_out(draw(LIGHT))
        files = {kind: save_figure(figure, kind) for kind in ("png", "svg")}
    write_atomically(folder / f"{name}.png", files["png"])
    kind = min(files, key=lambda kind: len(files[kind]))
    with drawing(DARK):
        dark = save_figure(_laid_out(draw(DARK)), kind)
    width, height = (round(PX_PER_INCH * inches) for inches in figure.get_size_inches())
    return Picture(name=name, alt=alt, light=_uri(files[kind], kind), dark=_uri(dark, kind), width=width, height=height)


def save_figure(figure: "Figure", kind: str) -> bytes:
    """A figure as the content of a `png` (2 pixels for each of CSS's) or `svg` file; for use within `drawing`."""
    buffer = io.BytesIO()
    metadata = {"Date": None} if kind == "svg" else None
    figure.savefig(buffer, format=kind, dpi=2 * PX_PER_INCH, metadata=metadata)
    return buffer.getvalue()


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
    return Picture(name=file.stem, alt=alt, light=_uri(content, kind), dark=None, width=width, height=height)


def _uri(content: bytes, kind: str) -> str:
    return f"data:image/{'svg+xml' if kind == 'svg' else kind};base64,{base64.b64encode(content).decode()}"
