"""The colours of pictures, on a light and on a dark page, and how every figure begins."""

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["DARK", "LIGHT", "NARROW", "WIDE", "Palette", "bare", "drawing", "make_figure"]

WIDE, NARROW = 7.2, 3.35
"""Inches, 96 CSS pixels each: of a column of text, and of a phone of 360 pixels without its margins."""


@dataclasses.dataclass(kw_only=True, frozen=True, slots=True)
class Palette:
    """Colours as #rrggbb. `paper` is the page's own background, so that a picture has no edge."""

    paper: str
    ink: str
    quiet: str
    """Second to ink: axes, references."""
    rule: str
    """Grid lines."""
    fill: str
    """Bars and points that stand for no group."""
    front: str
    seed: str
    alert: str
    verified: str
    rungs: tuple[str, str]
    """Of the lowest and of the highest rung; the others lie between."""

    def rung(self, rung: int, top: int) -> str:
        """The colour of a rung of 0 to `top`."""
        share = rung / top if top else 1.0
        low, high = (tuple(int(colour[i : i + 2], 16) for i in (1, 3, 5)) for colour in self.rungs)
        return "#" + "".join(f"{round(a + share * (b - a)):02x}" for a, b in zip(low, high, strict=True))


LIGHT = Palette(
    paper="#ffffff",
    ink="#1b1f24",
    quiet="#444444",
    rule="#d8dce0",
    fill="#7b848d",
    front="#1f5fa8",
    seed="#c96f14",
    alert="#b3261e",
    verified="#1d7a52",
    rungs=("#b4bac1", "#2b3138"),
)
DARK = Palette(
    paper="#14171a",
    ink="#e6e8ea",
    quiet="#b4babf",
    rule="#353b41",
    fill="#8b949c",
    front="#6ea8e6",
    seed="#e79a4b",
    alert="#f08379",
    verified="#5cc298",
    rungs=("#59626b", "#dde1e4"),
)


@contextmanager
def drawing(palette: Palette) -> Iterator[None]:
    """Within it, Matplotlib draws in the colours of `palette`."""
    import matplotlib

    style: Any = {
        "font.size": 9.0,
        "text.color": palette.ink,
        "text.parse_math": False,  # a dollar in somebody's path is a dollar
        "axes.labelcolor": palette.ink,
        "axes.edgecolor": palette.quiet,
        "axes.facecolor": palette.paper,
        "axes.titlesize": 10.5,
        "axes.titlelocation": "left",
        "axes.spines.top": False,
        "axes.spines.right": False,
        "figure.facecolor": palette.paper,
        "grid.color": palette.rule,
        "grid.linewidth": 0.6,
        "xtick.color": palette.quiet,
        "ytick.color": palette.quiet,
        "legend.frameon": False,
        "legend.fontsize": 8.5,
        "svg.fonttype": "none",  # text, in the page's own font
        "svg.hashsalt": "lstn-search",  # equal facts give equal files
    }
    with matplotlib.rc_context(style):
        yield


def make_figure(width: float, height: float) -> "tuple[Figure, Axes]":
    """A figure of `width` x `height` inches with one grid; for use within `drawing`."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=160, layout="constrained")
    axes = figure.subplots()
    axes.grid(True)
    axes.set_axisbelow(True)
    return figure, axes


def bare(axes: "Axes") -> None:
    """No frame and no tick marks: for bars and dots beside names."""
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.tick_params(length=0)
