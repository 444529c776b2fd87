"""Live progress of a search: a line an architecture; on a terminal also the front and the stage under way."""

import time

from rich.console import Console, Group
from rich.live import Live
from rich.spinner import Spinner
from rich.text import Text

from lstn_search.report.tables import front_table, number
from lstn_search.search.driver import Run
from lstn_search.search.study import Entry

__all__ = ["SearchProgress", "make_console"]

WIDE = 200
"""Columns where there is no terminal: a line in a file or a pipe is never wrapped or cut."""


def make_console() -> Console:
    """Standard output, for plain text: what looks like markup is printed as it is."""
    console = Console(highlight=False, markup=False, emoji=False)
    if not console.is_terminal:
        console.width = WIDE
    return console


class SearchProgress:
    """On a terminal: the front and the stage, redrawn in place, under the lines. Elsewhere: the lines alone."""

    def __init__(self, console: Console, trials: int) -> None:
        self.console = console
        self.trials = trials
        self.start = time.monotonic()
        self.run: Run | None = None
        self.live = Live(console=console, refresh_per_second=5, transient=True) if console.is_terminal else None

    def __enter__(self) -> "SearchProgress":
        if self.live:
            self.live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.live:
            self.live.stop()

    def on_stage(self, what: str) -> None:
        """Show the stage under way."""
        if self.live:
            front = (front_table(self.run, with_seeds=False), "") if self.run and self.run.front else ()
            stage = Text(f"{self._clock()}  {self._count()}{what}", no_wrap=True, overflow="ellipsis")
            self.live.update(Group(*front, Spinner("dots", text=stage)))

    def on_ready(self, run: Run) -> None:
        """Say what localizers are measured against."""
        self.run = run
        references = run.references
        control, oracle = number(references.control.val_top1), number(references.oracle.val_top1)
        before = f"; {len(run.entries)} architectures trained before" if run.entries else ""
        self.console.print(f"{self._clock()}  control {control} %, oracle {oracle} %{before}")
        self.console.print("  time  name     GFLOPs     params  top-1 %  gap %     s", style="bold")

    def on_entry(self, run: Run, entry: Entry) -> None:
        """One line for the architecture just trained."""
        candidate, result = entry.candidate, entry.result
        marks = [
            mark for mark, holds in (("front", entry in run.front), ("over budget", candidate.over_budget)) if holds
        ]
        if result.status != "ok":
            marks.append(f"{result.status}{': ' + result.reason if result.reason else ''}")
        self.console.print(
            f"{self._clock()}  {candidate.name:<6} {candidate.gflops:8.5f} {candidate.params:10,} "
            f"{number(result.val_top1):>8} {number(run.references.gap_closed(result.val_top1), 0):>6} "
            f"{result.seconds:5.0f}  {', '.join(marks)}".rstrip(),
            soft_wrap=True,
        )

    def _clock(self) -> str:
        minutes, seconds = divmod(int(time.monotonic() - self.start), 60)
        return f"{minutes:3d}:{seconds:02d}"

    def _count(self) -> str:
        if self.run is None:
            return ""
        done = sum(not entry.candidate.is_seed for entry in self.run.entries)
        return f"{done}/{self.trials}  "
