"""Live progress: a line a finished piece of work; on a terminal also the stages under way, and a search's front."""

import sys
import time
from collections.abc import Mapping
from typing import Any, Self

from rich.console import Group, RenderableType
from rich.live import Live
from rich.spinner import Spinner
from rich.text import Text

from lstn_search.cli.console import PlainConsole, make_console
from lstn_search.cli.tables import front_table, number
from lstn_search.errors import printable
from lstn_search.jobs.loop import ResultT, SourceT, Watcher
from lstn_search.runs.entries import Entry
from lstn_search.runs.run import Run
from lstn_search.study.search import Search
from lstn_search.verification.records import Record
from lstn_search.verification.result import Verification
from lstn_search.verification.verify import Trainings

__all__ = ["Progress", "SearchProgress", "StatusLine", "VerifyProgress", "data_line"]

_NAMED = 8
"""Classes that are named in one line."""


def data_line(data: Mapping[str, Any]) -> str:
    """What a task was made of: `3 classes: cat, dog, fox; train/val/test 42/9/9`, of a manifest's facts."""
    names = [printable(str(name)) for name in data.get("class_names", ())]
    named = ", ".join(names[:_NAMED]) + (" …" if len(names) > _NAMED else "")
    parts = "/".join(f"{data.get(part, 0):,}" for part in ("train", "val", "test"))
    return f"{data.get('classes', len(names))} classes{f': {named}' if named else ''}; train/val/test {parts}"


class StatusLine(Watcher[Any, Any]):
    """One line on standard error that says what is under way."""

    def __init__(self) -> None:
        self._status = make_console(stderr=True).status("starting")

    def __enter__(self) -> Self:
        self._status.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._status.stop()

    def on_stage(self, name: str, what: str) -> None:
        """A job began a stage."""
        self._status.update(f"{name}: {what}")

    def on_ready(self, source: Any) -> None:
        """Its images, once they are known."""
        make_console(stderr=True).print(data_line(source.run.folder.manifest["data"]))


class Progress(Watcher[SourceT, ResultT]):
    """Lines; on a terminal also the stages under way, redrawn in place under them.

    It draws once when it is made, so whatever `_count` and `_render` need has to be there before.
    """

    def __init__(self, console: PlainConsole) -> None:
        self.console = console
        self.start = time.monotonic()
        self.stages: dict[str, str] = {}
        self.spinner = Spinner(console.spinner)
        self.live = Live(console=console, get_renderable=self._render, refresh_per_second=5, transient=True)

    def __enter__(self) -> Self:
        if self.console.is_terminal:
            self.live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.live.stop()

    def on_stage(self, name: str, what: str) -> None:
        """A job began a stage."""
        self.stages[name] = what

    def on_end(self, name: str) -> None:
        """A job ended."""
        self.stages.pop(name, None)

    def _say(self, line: str, style: str | None = None) -> None:
        self.console.print(line, style=style, soft_wrap=not self.console.is_terminal)

    def _render(self) -> RenderableType:
        under_way = ", ".join(f"{name}: {what}" for name, what in self.stages.items())
        line = printable(f"{self._clock()}  {self._count()}{under_way}")
        self.spinner.update(text=Text(line, no_wrap=True, overflow="ellipsis"))
        return self.spinner

    def _clock(self) -> str:
        minutes, seconds = divmod(int(time.monotonic() - self.start), 60)
        return f"{minutes:3d}:{seconds:02d}"

    def _count(self) -> str:
        """How much of the work is done, before the stages; two spaces end it."""
        return ""


class SearchProgress(Progress[Search, Entry]):
    """On a terminal: the front and the stages, redrawn in place, under the lines. Elsewhere: the lines alone."""

    def __init__(self, console: PlainConsole, trials: int) -> None:
        self.trials = trials
        self.run: Run | None = None
        self.front: tuple[RenderableType, ...] = ()
        super().__init__(console)

    def on_ready(self, source: Search) -> None:
        """Head the lines to come."""
        run = self.run = source.run
        self._draw_front(run)
        data = run.folder.manifest["data"]
        for line in filter(None, (data.get("damage"), *data.get("notes", ()))):
            print(f"warning: {printable(line)}", file=sys.stderr)
        num_before = sum(bool(entry.results) for entry in run.entries)
        before = f"; {num_before} architectures were trained before" if num_before else ""
        backbone = run.folder.manifest.get("backbone")
        warm = f": the classifier alone reaches {number(backbone['val_clean_top1'])} % upright" if backbone else ""
        self._say(f"{self._clock()}  the task is ready{warm}{before}")
        self._say(f"        {data_line(data)}")
        self._say("  time  name    GFLOPs    params epochs top-1 % gap %    s", style="bold")

    def on_result(self, source: Search, result: Entry) -> None:
        """One line for the rung just finished. Before joint training top-1 is that of the frozen classifier."""
        run, entry = source.run, result
        self._draw_front(run)
        candidate, last = entry.candidate, entry.results[-1]
        rung = len(entry.results) - 1
        marks = [
            mark for mark, holds in (("front", entry in run.front), ("over budget", candidate.over_budget)) if holds
        ]
        if last.status != "ok":
            marks.append(f"{last.status}{': ' + last.reason if last.reason else ''}")
        self._say(
            f"{self._clock()}  {candidate.name:<6} {candidate.gflops:7.5f} {candidate.params:9,} "
            f"{last.epochs or 0:6} {number(last.accuracy):>7} {number(run.references.gap_closed(last, rung), 0):>5} "
            f"{last.seconds:4.0f}  {', '.join(marks)}".rstrip()
        )

    def _draw_front(self, run: Run) -> None:
        self.front = (front_table(run, with_seeds=False), "") if run.front else ()

    def _render(self) -> Group:
        return Group(*self.front, super()._render())

    def _count(self) -> str:
        if self.run is None:
            return ""
        done = sum(bool(entry.results) and not entry.candidate.is_seed for entry in self.run.entries)
        return f"{done}/{self.trials}  "


class VerifyProgress(Progress[Trainings, Record]):
    """A line a finished training."""

    def __init__(self, console: PlainConsole) -> None:
        self.num_done = self.num_all = 0
        self.verification: Verification | None = None
        super().__init__(console)

    def on_ready(self, source: Trainings) -> None:
        """Head the lines to come."""
        self.num_all = source.num_all
        self.num_done = self.num_all - sum(map(len, source.todo.values()))
        names = ", ".join(contender.name for contender in source.plan.contenders)
        before = f"; {self.num_done} are on file" if self.num_done else ""
        self._say(f"{self._clock()}  {self.num_all} trainings of control, oracle, {names}{before}")
        self._say(f"        {data_line(source.folder.manifest['data'])}")
        self._say("  time  name    seed   val %  test %    s", style="bold")

    def on_result(self, source: Trainings, result: Record) -> None:
        """One line for the training just finished."""
        self.num_done += 1
        measured = result.result
        reason = f": {measured.reason}" if measured.reason else ""
        mark = "" if measured.status == "ok" else f"{measured.status}{reason}"
        self._say(
            f"{self._clock()}  {result.name:<7} {result.seed:4} {number(measured.val_top1):>7} "
            f"{number(result.tested()):>7} {measured.seconds:4.0f}  {mark}".rstrip()
        )

    def on_finish(self, source: Trainings) -> None:
        """What is known at the end, however it came."""
        self.verification = source.summarize()

    def _count(self) -> str:
        return f"{self.num_done}/{self.num_all}  "
