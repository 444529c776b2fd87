"""Live progress of a search: the stage under way, a line an architecture, the current front."""

import time

from rich.console import Console, Group
from rich.live import Live
from rich.spinner import Spinner
from rich.text import Text

from lstn_search.report.tables import front_table, number
from lstn_search.search.driver import Run
from lstn_search.search.study import Entry

__all__ = ["SearchProgress"]


class SearchProgress:
    """On a terminal: the front and the stage, redrawn in place. Elsewhere: a line for each architecture."""

    def __init__(self, console: Console, trials: int) -> None:
        self.console = console
        self.trials = trials
        self.start = time.monotonic()
        self.run: Run | None = None
        self.spinner = Spinner("dots", text="starting")
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
        self.spinner = Spinner("dots", text=Text(f"{self._clock()}  {self._count()}{what}"))
        if self.live:
            parts = [front_table(self.run, with_seeds=False)] if self.run and self.run.front else []
            self.live.update(Group(*parts, self.spinner))

    def on_ready(self, run: Run) -> None:
        """Say what localizers are measured against."""
        self.run = run
        references = run.references
        control, oracle = number(references.control.val_top1), number(references.oracle.val_top1)
        before = f"; {len(run.entries)} architectures trained before" if run.entries else ""
        self.console.print(f"{self._clock()}  ready: control {control} %, oracle {oracle} %{before}", highlight=False)

    def on_entry(self, run: Run, entry: Entry) -> None:
        """One line for the architecture just trained."""
        candidate, result = entry.candidate, entry.result
        marks = [
            mark for mark, holds in (("front", entry in run.front), ("over budget", candidate.over_budget)) if holds
        ]
        if result.status != "ok":
            marks.append(f"{result.status}{': ' + result.reason if result.reason else ''}")
        self.console.print(
            f"{self._clock()}  {candidate.name:<6} {candidate.gflops:.5f} GFLOPs {candidate.params:>9,} params  "
            f"top-1 {number(result.val_top1):>5}  gap {number(run.references.gap_closed(result.val_top1), 0):>4} %  "
            f"{result.seconds:4.0f} s  {', '.join(marks)}",
            highlight=False,
        )

    def _clock(self) -> str:
        minutes, seconds = divmod(int(time.monotonic() - self.start), 60)
        return f"{minutes:3d}:{seconds:02d}"

    def _count(self) -> str:
        if self.run is None:
            return ""
        done = sum(not entry.candidate.is_seed for entry in self.run.entries)
        return f"{done}/{self.trials}  "
