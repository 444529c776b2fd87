"""Live progress of a search: a line a finished rung; on a terminal also the front and the stages under way."""

import time

from rich.console import Console, Group
from rich.live import Live
from rich.spinner import Spinner
from rich.text import Text

from lstn_search.report.tables import front_table, number
from lstn_search.search.driver import Run
from lstn_search.search.entries import Entry

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
        self.stages: dict[str, str] = {}
        self.live = Live(console=console, refresh_per_second=5, transient=True) if console.is_terminal else None

    def __enter__(self) -> "SearchProgress":
        if self.live:
            self.live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.live:
            self.live.stop()

    def on_stage(self, name: str, what: str) -> None:
        """Show the stages under way, one a job."""
        self.stages[name] = what
        if self.live:
            front = (front_table(self.run, with_seeds=False), "") if self.run and self.run.front else ()
            under_way = ", ".join(f"{name}: {what}" for name, what in self.stages.items())
            stage = Text(f"{self._clock()}  {self._count()}{under_way}", no_wrap=True, overflow="ellipsis")
            self.live.update(Group(*front, Spinner("dots", text=stage)))

    def on_end(self, name: str) -> None:
        """A job ended."""
        self.stages.pop(name, None)

    def on_ready(self, run: Run) -> None:
        """Head the lines to come."""
        self.run = run
        num_before = sum(bool(entry.results) for entry in run.entries)
        before = f"; {num_before} architectures were trained before" if num_before else ""
        backbone = run.folder.manifest.get("backbone")
        warm = f": the classifier alone reaches {number(backbone['val_clean_top1'])} % upright" if backbone else ""
        self.console.print(f"{self._clock()}  the task is ready{warm}{before}")
        self.console.print("  time  name     GFLOPs     params  epochs  top-1 %  gap %     s", style="bold")

    def on_rung(self, run: Run, entry: Entry) -> None:
        """One line for the rung just finished. Before joint training top-1 is that of the frozen classifier."""
        candidate, last = entry.candidate, entry.results[-1]
        rung = len(entry.results) - 1
        marks = [
            mark for mark, holds in (("front", entry in run.front), ("over budget", candidate.over_budget)) if holds
        ]
        if last.status != "ok":
            marks.append(f"{last.status}{': ' + last.reason if last.reason else ''}")
        self.console.print(
            f"{self._clock()}  {candidate.name:<6} {candidate.gflops:8.5f} {candidate.params:10,} "
            f"{last.epochs or 0:7} {number(last.accuracy):>8} {number(run.references.gap_closed(last, rung), 0):>6} "
            f"{last.seconds:5.0f}  {', '.join(marks)}".rstrip(),
            soft_wrap=True,
        )

    def _clock(self) -> str:
        minutes, seconds = divmod(int(time.monotonic() - self.start), 60)
        return f"{minutes:3d}:{seconds:02d}"

    def _count(self) -> str:
        if self.run is None:
            return ""
        done = sum(bool(entry.results) and not entry.candidate.is_seed for entry in self.run.entries)
        return f"{done}/{self.trials}  "
