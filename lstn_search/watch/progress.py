"""What is under way: a line a finished piece of work, how long the rest takes, and on a terminal the stages as they go.

In a terminal and in a notebook it is drawn; where there is no console, the lines go to the log `lstn_search`.
"""

import importlib.util
import logging
import sys
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self

from rich.console import Group, RenderableType
from rich.live import Live
from rich.padding import Padding
from rich.spinner import Spinner
from rich.text import Text

from lstn_search.errors import printable
from lstn_search.jobs.loop import ResultT, SourceT, Watcher
from lstn_search.watch.console import PlainConsole, make_console
from lstn_search.watch.forecast import in_words, work_left
from lstn_search.watch.tables import number, short_front, trained_words

if TYPE_CHECKING:
    from lstn_search.ranking.deployment import Deployments
    from lstn_search.runs.entries import Entry
    from lstn_search.runs.run import Run
    from lstn_search.spec.results import TrialResult
    from lstn_search.study.search import Search
    from lstn_search.verification.records import Record
    from lstn_search.verification.result import Verification
    from lstn_search.verification.verify import Trainings

__all__ = ["FidelityProgress", "Progress", "SearchProgress", "VerifyProgress", "data_line", "usual_console"]

_NAMED = 8
"""Classes that are named in one line."""
_log = logging.getLogger("lstn_search")


def usual_console() -> PlainConsole | None:
    """Standard error where somebody looks on, at a terminal or in a notebook; else None."""
    console = make_console(stderr=True)
    return console if console.is_terminal or console.is_jupyter else None


def data_line(data: Mapping[str, Any]) -> str:
    """What a task was made of: `3 classes: cat, dog, fox; train/val/test 42/9/9`, of a manifest's facts."""
    names = [printable(str(name)) for name in data.get("class_names", ())]
    named = ", ".join(names[:_NAMED]) + (" …" if len(names) > _NAMED else "")
    parts = "/".join(f"{data.get(part, 0):,}" for part in ("train", "val", "test"))
    return f"{data.get('classes', len(names))} classes{f': {named}' if named else ''}; train/val/test {parts}"


class Progress(Watcher[SourceT, ResultT]):
    """Lines; on a terminal also the stages under way, redrawn in place under them. 60 columns are enough."""

    def __init__(self, console: PlainConsole | None, title: str) -> None:
        self.console, self.title = console, title
        self.start = time.monotonic()
        self.stages: dict[str, str] = {}
        self.spinner = Spinner("dots" if console is None else console.spinner)
        self.spent: dict[str, float] = {}
        """Seconds of the jobs that have ended, by name."""
        self._begun: dict[str, float] = {}
        self._slots = 1
        self._is_ready = False
        self._left: tuple[float, float] | None = None  # seconds, and when that was known
        self._said: set[object] = set()
        can_draw = console is not None and (
            console.is_terminal or (console.is_jupyter and importlib.util.find_spec("ipywidgets") is not None)
        )
        self.live = Live(console=console, get_renderable=self._render, refresh_per_second=5, transient=True)
        self._can_draw = can_draw

    def __enter__(self) -> Self:
        if self._can_draw:
            self.live.start()
        elif self.console is None:
            _log.info(" ".join(self.title.split()))
        return self

    def __exit__(self, *_: object) -> None:
        self.live.stop()

    def on_stage(self, name: str, what: str) -> None:
        """A job began a stage."""
        self.stages[name] = what
        self._begun.setdefault(name, time.monotonic())
        self._slots = max(self._slots, len(self.stages))

    def on_end(self, name: str) -> None:
        """A job ended."""
        self.stages.pop(name, None)
        if (begun := self._begun.pop(name, None)) is not None:
            self.spent[name] = time.monotonic() - begun

    def note(self, line: str) -> None:
        """Say a line that is no part of the table; it is not cut."""
        if self.console is None:
            _log.info(line)
        else:
            self.console.print(line, soft_wrap=True)

    def _say(self, line: str, style: str | None = None) -> None:
        if self.console is None:
            _log.info(line.strip())
        else:
            self.console.print(line, style=style, soft_wrap=not self.console.is_terminal)

    def _begin(self) -> None:
        """All was checked, and training begins: until then an error is the only line."""
        self._is_ready = True
        self._slots = 1

    def _indented(self, line: str) -> None:
        """Below the clock, also where a terminal breaks it."""
        if self.console is not None and self.console.is_terminal:
            self.console.print(Padding.indent(Text(line), 8))
        else:
            self._say(f"        {line}")

    def _expect(self, work: float | None, *, kind: object) -> None:
        """So many seconds of training are left; said when it is first known for a kind of job."""
        if not work:
            self._left = None
            return
        seconds = work / self._slots
        self._left = seconds, time.monotonic()
        if kind not in self._said:
            self._said.add(kind)
            self._say(f"        about {in_words(seconds)} left, by what was measured so far", style="dim")

    def _render(self) -> RenderableType:
        under_way = ", ".join(f"{name}: {what}" for name, what in self.stages.items()) or "starting"
        line = printable(f"{self._clock()}  {self._count()}{self._eta()}{under_way}")
        self.spinner.update(text=Text(line, no_wrap=True, overflow="ellipsis"))
        return self.spinner if self._is_ready else Group(printable(self.title), self.spinner)

    def _clock(self) -> str:
        minutes, seconds = divmod(int(time.monotonic() - self.start), 60)
        return f"{minutes:3d}:{seconds:02d}"

    def _eta(self) -> str:
        if self._left is None:
            return ""
        seconds, when = self._left
        return f"{in_words(max(0.0, seconds - (time.monotonic() - when)))} left  "

    def _count(self) -> str:
        """How much of the work is done, before the stages; two spaces end it."""
        return ""


class SearchProgress(Progress["Search", "Entry"]):
    """The front and the stages, redrawn in place, under a line for each finished rung."""

    def __init__(self, console: PlainConsole | None, trials: int) -> None:
        self.trials = trials
        self.run: Run | None = None
        self.num_seeds = 0
        self.front: tuple[RenderableType, ...] = ()
        super().__init__(console, f"a search of {trials} trials, besides the seed points")

    def on_ready(self, source: "Search") -> None:
        """Head the lines to come."""
        self._begin()
        run = self.run = source.run
        self.num_seeds = len(source.study.space.seeds)
        self._draw_front(run)
        data = run.folder.manifest["data"]
        for line in filter(None, (data.get("damage"), *data.get("notes", ()))):
            if self.console is None:
                _log.warning(line)
            else:
                print(f"warning: {printable(line)}", file=sys.stderr)
        num_before = sum(bool(entry.results) for entry in run.entries)
        before = f"{num_before} architectures were trained before"
        backbone = run.folder.manifest.get("backbone")
        warm = f": the classifier alone reaches {number(backbone['val_clean_top1'])} % upright" if backbone else ""
        self._say(f"{self._clock()}  ready{warm}")
        for line in (before,) * bool(num_before) + (data_line(data),):
            self._indented(line)
        if run.task.protocol == "recover":
            self._say("        top-1: after rec(over) of the classifier as it was,", style="dim")
            self._say("        after ep(ochs) of the classifier trained along", style="dim")
        self._say("  time  name    GFLOPs  trained  top-1 % gap %", style="bold")

    def on_result(self, source: "Search", result: "Entry") -> None:
        """One line for the rung just finished."""
        run, entry = source.run, result
        self._draw_front(run)
        candidate, last = entry.candidate, entry.results[-1]
        rung = len(entry.results) - 1
        marks = [
            mark for mark, holds in (("front", entry in run.front), ("over budget", candidate.over_budget)) if holds
        ]
        if last.status != "ok":
            marks.append(f"{last.status}{': ' + last.reason if last.reason else ''}")
        trained = trained_words(run.folder.settings.ladder, rung, last)
        self._say(
            f"{self._clock()}  {candidate.name:<6} {candidate.gflops:7.5f}  {trained:<8}{number(last.accuracy):>7} "
            f"{number(run.references.gap_closed(last, rung), 0):>5}  {', '.join(marks)}".rstrip()
        )
        self._expect(work_left(source), kind=rung)

    def _draw_front(self, run: "Run") -> None:
        self.front = (short_front(run), "") if run.front else ()

    def _render(self) -> Group:
        return Group(*self.front, super()._render())

    def _count(self) -> str:
        if self.run is None:
            return ""
        trained = [entry.candidate.is_seed for entry in self.run.entries if entry.results]
        return f"seeds {sum(trained)}/{self.num_seeds} trials {len(trained) - sum(trained)}/{self.trials}  "


class _Counted(Progress[SourceT, ResultT]):
    """Trainings of which it is known how many there are."""

    num_done = num_all = 0

    def _advance(self, result: "TrialResult", *, kind: object, more: float = 0) -> None:
        self.num_done += 1
        self._seconds = [*getattr(self, "_seconds", []), result.seconds]
        mean = sum(self._seconds) / len(self._seconds)
        self._expect(mean * (self.num_all - self.num_done) + more, kind=kind)

    def _count(self) -> str:
        return f"{self.num_done}/{self.num_all}  "


class VerifyProgress(_Counted["Trainings", "Record"]):
    """A line a finished training."""

    def __init__(self, console: PlainConsole | None) -> None:
        self.verification: Verification | None = None
        super().__init__(console, "a verification with fresh seeds")

    def on_ready(self, source: "Trainings") -> None:
        """Head the lines to come."""
        self._begin()
        self.num_all = source.num_all
        self.num_done = self.num_all - sum(map(len, source.todo.values()))
        names = ", ".join(contender.name for contender in source.plan.contenders)
        before = f"; {self.num_done} are on file" if self.num_done else ""
        self._say(f"{self._clock()}  {self.num_all} trainings of control, oracle, {names}{before}")
        self._indented(data_line(source.folder.manifest["data"]))
        self._say("  time  name    seed   val %  test %    s", style="bold")

    def on_result(self, source: "Trainings", result: "Record") -> None:
        """One line for the training just finished."""
        measured = result.result
        reason = f": {measured.reason}" if measured.reason else ""
        mark = "" if measured.status == "ok" else f"{measured.status}{reason}"
        self._say(
            f"{self._clock()}  {result.name:<7} {result.seed:4} {number(measured.val_top1):>7} "
            f"{number(result.tested()):>7} {measured.seconds:4.0f}  {mark}".rstrip()
        )
        preparing = [seconds for name, seconds in self.spent.items() if name.startswith("seed ")]
        to_prepare = sum(seed not in source.ready for seed, jobs in source.todo.items() if jobs)
        more = to_prepare * sum(preparing) / len(preparing) if preparing else 0.0
        self._advance(measured, kind="training", more=more)

    def on_finish(self, source: "Trainings") -> None:
        """What is known at the end, however it came."""
        self.verification = source.summarize()


class FidelityProgress(_Counted["Deployments", "Entry"]):
    """A line a rung that was trained at the size of deployment."""

    def __init__(self, console: PlainConsole | None) -> None:
        super().__init__(console, "trainings at the size of deployment")

    def on_ready(self, source: "Deployments") -> None:
        """How many are to come."""
        self._begin()
        self.num_all = sum(source.rung + 1 - len(entry.results) for entry in source.waiting)
        self._say(f"{self._clock()}  {self.num_all} rungs of {len(source.waiting)} architectures are to be trained")
        self._indented(data_line(source.run.folder.manifest["data"]))

    def on_result(self, source: "Deployments", result: "Entry") -> None:
        """One line for the rung just finished."""
        last, rung = result.results[-1], len(result.results) - 1
        trained = trained_words(source.run.folder.settings.ladder, rung, last)
        self._say(
            f"{self._clock()}  {result.candidate.name:<6} {trained:<8}{number(last.accuracy):>7} {last.seconds:4.0f} s"
        )
        self._advance(last, kind=rung)
