"""The parts a page is made of. Everything in them is plain text, to be escaped by whoever writes it into HTML."""

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Any

from lstn_search.pages.facts.commands import Command
from lstn_search.pictures.picture import Picture

__all__ = ["Cell", "Missing", "Section", "Table", "make_table", "number"]


@dataclasses.dataclass(kw_only=True, frozen=True, slots=True)
class Cell:
    """What a table shows, and what it sorts by."""

    text: str
    value: float | str | None


@dataclasses.dataclass(kw_only=True, frozen=True, slots=True)
class Table:
    """A table with a click-to-sort heading."""

    caption: str
    headings: tuple[tuple[str, bool], ...]
    """(text, whether the column holds numbers)."""
    rows: tuple[tuple[Cell, ...], ...]
    strong: frozenset[int] = frozenset()
    """Rows to set in bold."""
    folded: bool = False
    """Behind its caption, until that is clicked."""


@dataclasses.dataclass(kw_only=True, frozen=True, slots=True)
class Missing:
    """Something the run does not have, and how to get it."""

    what: str
    command: str | None = None


@dataclasses.dataclass(kw_only=True, frozen=True, slots=True)
class Section:
    """A part of the page, under its own heading."""

    key: str
    title: str
    sentence: str
    """What is seen."""
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    missing: tuple[Missing, ...] = ()
    pictures: tuple[Picture, ...] = ()
    tables: tuple[Table, ...] = ()
    commands: tuple[Command, ...] = ()
    text: str | None = None
    """To be shown letter by letter."""
    data: Any = None
    """For the script, as JSON: the table of all trials."""


def number(value: float | None, digits: int = 1, *, sign: bool = False, unit: str = "") -> Cell:
    """A number with fixed digits and thousands separated, or a dash."""
    if value is None:
        return Cell(text="–", value=None)
    rounded = round(value, digits) + 0.0  # no -0
    return Cell(text=f"{rounded:{'+' if sign else ''},.{digits}f}{unit}", value=value)


def make_table(
    caption: str,
    headings: str,
    rows: Iterable[Sequence[Cell | str]],
    *,
    strong: Iterable[int] = (),
    folded: bool = False,
) -> Table:
    """A table whose `headings` are separated by `|`; those that begin with `#` are above numbers."""
    names = [heading.strip() for heading in headings.split("|")]
    made = tuple(tuple(cell if isinstance(cell, Cell) else Cell(text=cell, value=cell) for cell in row) for row in rows)
    assert all(len(row) == len(names) for row in made), names
    return Table(
        caption=caption,
        headings=tuple((name.removeprefix("#"), name.startswith("#")) for name in names),
        rows=made,
        strong=frozenset(strong),
        folded=folded,
    )
