"""A page read by a parser, for tests of what stands in it."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

__all__ = ["Page"]


class Page(HTMLParser):
    """What stands in a page: its visible text, images, section headings and the rows of its tables."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.html = file.read_text(encoding="utf-8")
        self.texts: list[str] = []
        self.images: list[dict[str, str | None]] = []
        self.sections: list[str | None] = []
        self.tags: set[str] = set()
        self.charts: dict[str, str] = {}
        """Names and words of the charts."""
        self.links: list[str | None] = []
        self._open: list[str] = []
        self.feed(self.html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.tags.add(tag)
        self._open.append(tag)
        self.links += [given[name] for name in ("href", "src", "srcset", "action", "data") if name in given]
        assert not [name for name in given if name.startswith("on")], "an inline event handler"
        if tag == "img":
            self.images.append(given)
        if given.get("class") == "chart":
            self.charts[(given["id"] or "").removeprefix("chart-")] = given["aria-label"] or ""
        if tag == "section":
            self.sections.append(given["id"])

    def handle_data(self, data: str) -> None:
        if not self._open or self._open[-1] not in ("script", "style"):
            self.texts.append(data)

    def handle_endtag(self, tag: str) -> None:
        while self._open and self._open.pop() != tag:
            pass

    @property
    def text(self) -> str:
        return " ".join("".join(self.texts).split())

    @property
    def rows(self) -> list[list[Any]]:
        """Of the table of all architectures."""
        found = re.search(r'id="all-data">(.*?)</script>', self.html, re.DOTALL)
        assert found is not None
        return json.loads(found[1])["rows"]
