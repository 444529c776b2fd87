"""The console of all commands: plain text, in which nothing that a file brought is taken for markup or obeyed."""

from typing import Any

from rich.console import Console, RenderableType
from rich.status import Status
from rich.table import Table
from rich.text import Text

from lstn_search.errors import printable

__all__ = ["PlainConsole", "make_console"]

WIDE = 200
"""Columns where there is no terminal: a line in a file or a pipe is never wrapped or cut."""


NARROW = 80
"""What tables were made for."""


class PlainConsole(Console):
    """What a terminal might obey, or cannot show, is written out, wherever in a table or a line it stands."""

    def status(self, status: RenderableType, **options: Any) -> Status:
        """A spinner that the terminal has the letters for."""
        return super().status(status, **{"spinner": self.spinner} | options)

    @property
    def spinner(self) -> str:
        """Its name."""
        return "line" if self.options.ascii_only else "dots"

    def print(self, *objects: Any, **options: Any) -> None:
        """No table that does not fit is cut to less than `NARROW` columns: a narrower terminal breaks its lines."""
        before = self._width
        wide = self.options.update_width(NARROW)
        if any(self.width < self.measure(one, options=wide).minimum for one in objects if isinstance(one, Table)):
            self._width = max(self.width, NARROW)
        try:
            super().print(*objects, **options)
        finally:
            self._width = before

    def render_str(self, text: str, **options: Any) -> Text:
        """Text to be printed; every string that is handed to the console comes by here."""
        return super().render_str(printable(text), **options)


def make_console(*, stderr: bool = False, wide: bool = True, quiet: bool = False) -> PlainConsole:
    """Standard output or error, or nowhere if `quiet`.

    Without `wide` it is as wide as $COLUMNS says also where there is no terminal.
    """
    console = PlainConsole(stderr=stderr, highlight=False, markup=False, emoji=False, quiet=quiet)
    if wide and not (console.is_terminal or console.is_jupyter):
        console.width = WIDE
    return console
