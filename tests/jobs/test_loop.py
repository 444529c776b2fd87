"""The one job loop: what it asks of a source and an engine, and what it tells whoever watches."""

import dataclasses
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from engine_jobs import make_setup

from lstn_search.errors import RunError, SettingError
from lstn_search.jobs.base import Ended, Event, Job, Stage
from lstn_search.jobs.loop import Watcher, Watchers, check_limits, deadline_after, prepare_task, run_jobs

Notes = list[tuple[Any, ...]]
"""Everything that happened, in order."""


def job(name: str, **changes: Any) -> Job:
    return Job(kind="rung", name=name, **changes)


class PlayedEngine:
    """Ends one job each time it is asked, the first submitted first, as `play` says; without it well, in one stage."""

    def __init__(
        self, folder: Path, notes: Notes, num_slots: int = 1, play: Callable[[Job], Ended] | None = None
    ) -> None:
        self.setup, self.num_slots, self.notes = make_setup(folder), num_slots, notes
        self.play = play or (lambda job: Ended(job=job, facts={"name": job.name}))
        self.running: deque[Job] = deque()

    def submit(self, job: Job) -> None:
        self.notes.append(("submit", job.name, job.attempt))
        self.running.append(job)
        assert len(self.running) <= self.num_slots

    def events(self, timeout: float | None = None) -> Sequence[Event]:
        assert timeout is not None, "or a deadline could pass unseen"
        job = self.running.popleft()
        return [Stage(job=job, what="at it"), self.play(job)]

    def close(self) -> None:
        self.notes.append(("close",))


class Given:
    """A source of given jobs; it may be given more when one has ended."""

    def __init__(self, notes: Notes, jobs: Iterable[Job], then: dict[str, Job] | None = None) -> None:
        self.notes, self.jobs, self.then = notes, deque(jobs), then or {}
        self.all_ended: list[Ended] = []

    def next_job(self) -> Job | None:
        self.notes.append(("asked",))
        return self.jobs.popleft() if self.jobs else None

    def ended(self, ended: Ended) -> None:
        self.notes.append(("ended", ended.job.name, ended.died))
        self.all_ended.append(ended)
        if ended.job.name in self.then:
            self.jobs.append(self.then[ended.job.name])


class Noting(Watcher[Any, Any]):
    """Notes what it is told."""

    def __init__(self, notes: Notes, name: str = "") -> None:
        self.notes, self.name = notes, (name,) * bool(name)

    def on_ready(self, source: Any) -> None:
        self.notes.append((*self.name, "on_ready", source))

    def on_stage(self, name: str, what: str) -> None:
        self.notes.append((*self.name, "on_stage", name, what))

    def on_end(self, name: str) -> None:
        self.notes.append((*self.name, "on_end", name))

    def on_result(self, source: Any, result: Any) -> None:
        self.notes.append((*self.name, "on_result", source, result))

    def on_finish(self, source: Any) -> None:
        self.notes.append((*self.name, "on_finish", source))


# -- source and engine -------------------------------------------------------------------------------------------------


def test_a_source_is_asked_while_there_are_slots(tmp_path: Path) -> None:
    """What ends may bring new work; the loop is over when there is none and nothing is under way."""
    notes: Notes = []
    engine = PlayedEngine(tmp_path, notes, num_slots=2)
    source = Given(notes, [job("a"), job("b"), job("c")], then={"c": job("d")})
    run_jobs(source, engine, Watcher(), retries=0)
    assert notes == [
        ("asked",),
        ("submit", "a", 1),
        ("asked",),
        ("submit", "b", 1),
        ("ended", "a", None),
        ("asked",),
        ("submit", "c", 1),
        ("ended", "b", None),
        ("asked",),  # nothing now; c is under way
        ("ended", "c", None),
        ("asked",),
        ("submit", "d", 1),
        ("asked",),
        ("ended", "d", None),
        ("asked",),
    ]
    assert [ended.facts for ended in source.all_ended] == [{"name": name} for name in "abcd"]


def test_an_empty_source_is_the_end(tmp_path: Path) -> None:
    notes: Notes = []
    run_jobs(Given(notes, []), PlayedEngine(tmp_path, notes), Watcher(), retries=0)
    assert notes == [("asked",)]


@pytest.mark.parametrize("retries", [0, 1, 3])
def test_a_death_is_tried_again_so_many_times_and_then_told(retries: int, tmp_path: Path) -> None:
    notes: Notes = []
    given = job("a", precision="bf16", seed=7)
    engine = PlayedEngine(tmp_path, notes, play=lambda job: Ended(job=job, died="out of memory"))
    source = Given(notes, [given])
    run_jobs(source, engine, Watcher(), retries=retries)
    attempts = range(1, retries + 2)
    assert notes == [
        ("asked",),
        *(("submit", "a", attempt) for attempt in attempts),
        ("ended", "a", "out of memory"),
        ("asked",),
    ]
    (ended,) = source.all_ended
    assert ended.job == dataclasses.replace(given, attempt=retries + 1)


def test_what_dies_once_may_end_well_and_holds_its_slot_meanwhile(tmp_path: Path) -> None:
    notes: Notes = []
    engine = PlayedEngine(
        tmp_path, notes, num_slots=2,
        play=lambda job: Ended(job=job, died="killed") if (job.name, job.attempt) == ("a", 1) else Ended(job=job),
    )  # fmt: skip
    source = Given(notes, [job("a"), job("b"), job("c")])
    run_jobs(source, engine, Watcher(), retries=1)
    submitted = [note[1:] for note in notes if note[0] == "submit"]
    assert submitted == [("a", 1), ("b", 1), ("a", 2), ("c", 1)]
    assert [(ended.job.name, ended.died) for ended in source.all_ended] == [("b", None), ("a", None), ("c", None)]


def test_after_the_deadline_nothing_new_starts_and_what_runs_may_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That a death be tried again is not new."""
    notes: Notes = []
    now = 100.0
    monkeypatch.setattr("lstn_search.jobs.loop.time", SimpleNamespace(monotonic=lambda: now))

    def play(job: Job) -> Ended:
        nonlocal now
        now += 5
        return Ended(job=job, died="killed" if (job.name, job.attempt) == ("b", 1) else None)

    source = Given(notes, [job("a"), job("b"), job("c")], then={"a": job("d")})
    run_jobs(source, PlayedEngine(tmp_path, notes, num_slots=2, play=play), Watcher(), retries=1, deadline=105.0)
    assert notes == [
        ("asked",),
        ("submit", "a", 1),
        ("asked",),
        ("submit", "b", 1),
        ("ended", "a", None),  # the source is not even asked again
        ("submit", "b", 2),
        ("ended", "b", None),
    ]
    notes.clear()
    run_jobs(source, PlayedEngine(tmp_path, notes), Watcher(), retries=1, deadline=now)
    assert notes == []


def test_what_the_user_can_cure_ends_the_loop_at_once(tmp_path: Path) -> None:
    notes: Notes = []
    engine = PlayedEngine(
        tmp_path, notes, play=lambda job: Ended(job=job, user_error="the images are gone; fetch them")
    )
    with pytest.raises(RunError, match=r"^the images are gone; fetch them$"):
        run_jobs(Given(notes, [job("a"), job("b")]), engine, Noting(notes), retries=5)
    assert notes == [("asked",), ("submit", "a", 1), ("on_stage", "a", "at it"), ("on_end", "a")]


# -- watchers ----------------------------------------------------------------------------------------------------------


def test_a_watcher_hears_of_stages_and_of_every_end_before_the_source_does(tmp_path: Path) -> None:
    notes: Notes = []
    engine = PlayedEngine(tmp_path, notes, play=lambda job: Ended(job=job, died="killed" if job.attempt < 2 else None))
    run_jobs(Given(notes, [job("a")]), engine, Noting(notes), retries=1)
    assert notes == [
        ("asked",),
        ("submit", "a", 1),
        ("on_stage", "a", "at it"),
        ("on_end", "a"),
        ("submit", "a", 2),
        ("on_stage", "a", "at it"),
        ("on_end", "a"),
        ("ended", "a", None),
        ("asked",),
    ]


def tell_everything(watcher: Watcher[str, int]) -> None:
    watcher.on_ready("source")
    watcher.on_stage("a", "recover")
    watcher.on_end("a")
    watcher.on_result("source", 3)
    watcher.on_finish("source")


TOLD = [
    ("on_ready", "source"),
    ("on_stage", "a", "recover"),
    ("on_end", "a"),
    ("on_result", "source", 3),
    ("on_finish", "source"),
]


def test_by_itself_a_watcher_does_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    watcher: Watcher[str, int] = Watcher()
    tell_everything(watcher)
    assert (vars(watcher), capsys.readouterr()) == ({}, ("", ""))
    assert {name for name in vars(Watcher) if name.startswith("on_")} == {name for name, *_ in TOLD}


def test_several_watchers_are_told_in_their_order() -> None:
    notes: Notes = []
    tell_everything(Watchers(Noting(notes, "first"), None, Noting(notes, "second")))
    assert notes == [(who, *what) for what in TOLD for who in ("first", "second")]
    assert {name for name in vars(Watchers) if name.startswith("on_")} == {name for name, *_ in TOLD}
    tell_everything(Watchers())
    tell_everything(Watchers(None))


# -- preparing, and limits ---------------------------------------------------------------------------------------------


def test_a_task_is_prepared_by_one_job_whose_facts_come_back(tmp_path: Path) -> None:
    notes: Notes = []
    jobs: list[Job] = []

    def play(job: Job) -> Ended:
        jobs.append(job)
        return Ended(job=job, died="killed") if job.attempt == 1 else Ended(job=job, facts={"device": "cpu"})

    engine = PlayedEngine(tmp_path, notes, num_slots=4, play=play)
    assert prepare_task(engine, Noting(notes), precision="fp32", retries=1) == {"device": "cpu"}
    first = Job(kind="prepare", name="prepare", precision="fp32")
    assert jobs == [first, dataclasses.replace(first, attempt=2)]
    assert notes.count(("on_stage", "prepare", "at it")) == notes.count(("on_end", "prepare")) == 2
    assert ("close",) not in notes  # the engine goes on


def test_a_task_that_cannot_be_prepared_is_one_line(tmp_path: Path) -> None:
    dead = PlayedEngine(tmp_path, [], play=lambda job: Ended(job=job, died="killed by SIGKILL"))
    with pytest.raises(RunError, match=r"^the task could not be prepared: killed by SIGKILL$"):
        prepare_task(dead, Watcher(), precision="auto", retries=2)
    wrong = PlayedEngine(tmp_path, [], play=lambda job: Ended(job=job, user_error="no images; fetch them"))
    with pytest.raises(RunError, match=r"^no images; fetch them$"):
        prepare_task(wrong, Watcher(), precision="auto", retries=2)


@pytest.mark.parametrize(
    ("minutes", "retries", "message"),
    [
        (0, 1, "minutes must be above 0, got 0"),
        (-1.5, 1, "minutes must be above 0, got -1.5"),
        (float("nan"), 1, "minutes must be above 0, got nan"),
        (None, -1, "retries must be at least 0, got -1"),
    ],
)
def test_limits_that_make_no_sense_are_one_line(minutes: float | None, retries: int, message: str) -> None:
    with pytest.raises(SettingError, match=f"^{message}$"):
        check_limits(minutes, retries)


def test_limits_that_make_sense() -> None:
    for minutes, retries in ((None, 0), (1e-9, 1), (60, 9)):
        check_limits(minutes, retries)
    before = time.monotonic()
    assert deadline_after(None) is None
    deadline = deadline_after(0.5)
    assert deadline is not None and before + 30 <= deadline <= time.monotonic() + 30
