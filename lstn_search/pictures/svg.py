"""A figure as SVG inside a page: in the page's font and in its colours, light or dark, with a tip on every point.

Tips travel as the group id that Matplotlib writes around what an artist draws, so a PNG of the same figure has none.
A browser shows a `<title>` to a mouse; page.js shows it to a finger too.
"""

import io
import json
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING
from xml.etree import ElementTree

from lstn_search.pictures.palette import DARK, LIGHT, Palette

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.figure import Figure

__all__ = ["dark_colours", "inline_svg", "tell"]

PX_PER_POINT = 96 / 72
MAX_RUNGS = 12
"""Colours of the rungs of longer ladders stay as they are on a light page."""
DROPPED = ("metadata", "style")
NUMBERS = ("d", "x", "y", "transform")


def tell(artist: "Artist", tips: Iterable[str]) -> None:
    """What a reader is told who points at each of the artist's marks; one tip serves all that it draws."""
    artist.set_gid(json.dumps(list(tips)))


def inline_svg(figure: "Figure", name: str, width: str) -> str:
    """An `<svg>` element of the class `width`, for a page that defines `dark_colours`; for use within `drawing`."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None})
    root = ElementTree.fromstring(buffer.getvalue())
    for parent in list(root.iter()):
        parent.tag = parent.tag.rpartition("}")[2]
        for child in list(parent):
            if child.tag.rpartition("}")[2] in DROPPED:
                parent.remove(child)
    for element in list(root.iter()):
        _put_tips(element)
    referenced = {element.get("{http://www.w3.org/1999/xlink}href", "") for element in root.iter()}
    for element in root.iter():
        _tidy(element, f"{name}-{width}", referenced)
    box = root.attrib["viewBox"]
    size_px = [f"{float(points) * PX_PER_POINT:.0f}" for points in box.split()[2:]]
    root.attrib = {"viewBox": box, "class": width, "width": size_px[0], "height": size_px[1], "aria-hidden": "true"}
    return ElementTree.tostring(root, encoding="unicode")


def dark_colours() -> str:
    """The custom properties that a dark page sets: each light colour's dark counterpart."""
    rungs = [(rung, top) for top in range(MAX_RUNGS) for rung in range(top + 1)]
    pairs = {LIGHT.rung(*rung): DARK.rung(*rung) for rung in rungs}
    names = [name for name in Palette.__slots__ if name != "rungs"]
    pairs |= {getattr(LIGHT, name): getattr(DARK, name) for name in names}
    return "".join(f"--{light[1:]}:{dark};" for light, dark in pairs.items())


def _put_tips(element: ElementTree.Element) -> None:
    if not element.get("id", "").startswith("["):
        return
    tips = json.loads(element.attrib.pop("id"))
    defined = {id(child) for defs in element.iter("defs") for child in defs.iter()}
    marks = [child for child in element.iter() if child.tag in ("use", "path") and id(child) not in defined]
    if len(tips) == 1:
        marks = marks[-1:]  # the marker lies on its line
    assert len(marks) == len(tips), f"{len(tips)} tips for {len(marks)} marks"
    for mark, tip in zip(marks, tips, strict=True):
        ElementTree.SubElement(mark, "title").text = tip


def _tidy(element: ElementTree.Element, prefix: str, referenced: set[str]) -> None:
    """Ids that no other picture has, numbers of two digits, and colours and font of the page."""
    element.tail = None
    if element.tag not in ("text", "title"):
        element.text = None
    element.attrib.pop("clip-path", None)  # nothing is drawn outside of the axes
    own = element.attrib.pop("id", None)
    if own is not None and f"#{own}" in referenced:
        element.set("id", f"{prefix}-{own}")
    if target := element.attrib.pop("{http://www.w3.org/1999/xlink}href", None):
        element.set("href", f"#{prefix}-{target[1:]}" if target.startswith("#") else target)
    for attribute in NUMBERS:
        if attribute in element.attrib:
            rounded = re.sub(r"-?\d+\.\d{3,}", lambda found: f"{float(found[0]):.2f}", element.attrib[attribute])
            element.set(attribute, " ".join(rounded.split()))
    if "style" in element.attrib:
        style = re.sub(r"#([0-9a-f]{6})\b", r"var(--\1, #\1)", element.attrib["style"])
        element.set("style", re.sub(r"font: ((?:\w+ )?)([\d.]+px)[^;]*", _font, style))


def _font(found: "re.Match[str]") -> str:
    weight = found[1].strip()
    return f"font-size: {found[2]}" + f"; font-weight: {weight}" * bool(weight)
