"""The console of all commands: plain text, in which nothing that a file brought is taken for markup or obeyed."""

from typing import Any

from rich.console import Console
from rich.text import Text

from lstn_search.errors import printable

__all__ = ["make_console"]

WIDE = 200
"""Columns where there is no terminal: a line in a file or a pipe is never wrapped or cut."""


class _PlainConsole(Console):
    """What a terminal might obey, or cannot show, is written out, wherever in a table or a line it stands."""

    def render_str(self, text: str, **options: Any) -> Text:
        """Text to be printed; every string that is handed to the console comes by here."""
        return super().render_str(printable(text), **options)


def make_console(*, stderr: bool = False, wide: bool = True, quiet: bool = False) -> Console:
    """Standard output or error, or nowhere if `quiet`.

    Without `wide` it is as wide as $COLUMNS says also where there is no terminal.
    """
    console = _PlainConsole(stderr=stderr, highlight=False, markup=False, emoji=False, quiet=quiet)
    if wide and not (console.is_terminal or console.is_jupyter):
        console.width = WIDE
    return console
