"""What a trial costs when training costs nothing, against plain Optuna: python benchmarks/overhead.py [--help]

Jobs that do nothing go through the real search: driver, study, schedule, ladder and SQLite file, with an engine that
answers at once. Plain Optuna is ask, suggest, set_constraint, tell with the same sampler, made once, on a copy of the
same SQLite file. Both continue a study of 10, 100, ... finished architectures, which is written into the file
directly: only its size and shape matter. Plain Optuna goes first and last, ours in the middle.

The second part times jobs that do nothing on the real engines. Prints a JSON line a measurement.
"""

import argparse
import contextlib
import dataclasses
import json
import math
import random
import shutil
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import optuna
import sqlalchemy
from optuna.distributions import CategoricalDistribution
from optuna.trial import FrozenTrial, create_trial

from lstn_search.errors import CheckpointError
from lstn_search.jobs.base import Ended, Engine, Event, Job, WorkerSetup
from lstn_search.jobs.local import LocalEngine
from lstn_search.runs.entries import WORST_SCORE, score
from lstn_search.runs.folder import RunFolder
from lstn_search.spec import moves
from lstn_search.spec.arch import Arch
from lstn_search.spec.cost import fits
from lstn_search.spec.ladder import Ladder
from lstn_search.spec.results import TrialResult
from lstn_search.spec.settings import SearchSettings
from lstn_search.spec.space import Choices, Space, load_space
from lstn_search.spec.task import Task
from lstn_search.study.schedule import Schedule
from lstn_search.study.search import search
from lstn_search.study.study import CONSTRAINT, Study

BUDGET_GFLOPS = 0.03
PLAIN_SAMPLERS: dict[str, Callable[[int], optuna.samplers.BaseSampler]] = {
    "tpe": lambda seed: optuna.samplers.TPESampler(seed=seed, multivariate=True, group=True),
    "nsga2": lambda seed: optuna.samplers.NSGAIISampler(seed=seed, population_size=16),
    "random": lambda seed: optuna.samplers.RandomSampler(seed=seed),
    "evolution": lambda seed: optuna.samplers.RandomSampler(seed=seed),  # Optuna has none
}


# -- jobs that do nothing ----------------------------------------------------------------------------------------------


def noop(setup: WorkerSetup, job: Job, say: Callable[[str], None]) -> Ended:
    """A job that does nothing; its result is invented, and the same for the same architecture and rung."""
    if job.kind == "prepare":
        return Ended(job=job, facts={"data": {"fingerprint": "no data"}})
    if job.arch is None:
        row = TrialResult(status="ok", frozen_top1=50.0).to_dict()
        return Ended(job=job, facts={"rungs": [row] * (setup.ladder.top + 1)})
    return Ended(job=job, result=invent(job.arch, job.rung))


def invent(arch: Arch, rung: int) -> TrialResult:
    """A result as long as a real one."""
    rng = random.Random(f"{arch.digest} {rung}")
    health = {name: rng.random() for name in ("spread", "out_of_frame", "scale", "determinant")}
    if rung == 0:
        measured = {name: rng.random() for name in ("recover_seconds", "alignment_mse", "frozen_top1")}
        return TrialResult(status="ok", recover_steps=500, corner_error_px=20 * rng.random(), **measured, **health)
    measured = {name: 100 * rng.random() for name in ("val_top1", "val_top5", "val_clean_top1", "val_clean_top5")}
    history = tuple({"epoch": 1 + i, "train_loss": rng.random(), "verdict": "alive", **health} for i in range(2 * rung))
    return TrialResult(status="ok", epochs=2 * rung, **measured, **health, history=history)


class NoopEngine:
    """An engine in this process whose jobs are over as soon as they are asked about."""

    def __init__(self, setup: WorkerSetup, writes: "Writes") -> None:
        self.setup, self.num_slots, self.writes = setup, 1, writes
        self.num_jobs = 0
        self.began = self.ended = math.nan
        self.num_writes = 0
        self._job: Job | None = None

    def submit(self, job: Job) -> None:
        self._job = job
        self.num_jobs += job.kind == "rung"

    def events(self, timeout: float | None = None) -> list[Event]:
        if self._job is None:
            return []
        job, self._job = self._job, None
        if job.name == "oracle":  # what the driver submits last before the first architecture
            self.began, self.writes.num = time.perf_counter(), 0
        return [noop(self.setup, job, print)]

    def close(self) -> None:
        if math.isnan(self.ended):
            self.ended, self.num_writes = time.perf_counter(), self.writes.num


# -- a study of any size -----------------------------------------------------------------------------------------------


def fill(folder: RunFolder, space: Space, size: int) -> None:
    """Write a study of `size` architectures, and the rungs the ladder would have sent them up."""
    settings, rng = folder.settings, random.Random(0)
    schedule = Schedule(settings.ladder)
    archs: list[Arch] = []
    rungs: list[FrozenTrial] = []

    def finish(number: int, rung: int) -> None:
        result = invent(archs[number], rung)
        schedule.finish(number, score(settings, result) if rung == 0 else result.val_top1)
        attrs = {"trial": number, "name": f"t{number}", "rung": rung, "result": json.dumps(result.to_dict())}
        costs = schedule.runners[number].costs
        rungs.append(create_trial(values=[result.accuracy or 0.0, *costs], user_attrs=attrs))

    trials = []
    for number, (choices, arch) in enumerate(_affordable(space, settings, size, rng)):
        archs.append(arch)
        gflops = settings.violation(arch) + settings.budget_gflops
        schedule.start(number, costs=(gflops,))
        finish(number, 0)
        trials.append(_told(space, settings, number, size, choices, arch, gflops))
        while (step := schedule.next(may_propose=True)) is not None and step.kind == "climb":
            finish(step.number, step.rung)
    study = Study(folder, space)  # makes the tables
    del study
    for name, rows in ((folder.study_name, trials), (folder.rungs_name, rungs)):
        optuna.load_study(study_name=name, storage=folder.storage.open()).add_trials(rows)


def _affordable(
    space: Space, settings: SearchSettings, size: int, rng: random.Random
) -> Iterator[tuple[Choices, Arch]]:
    seen: set[str] = set()
    while len(seen) < size:
        choices = moves.repair(space, space.sample(rng), lambda arch: violation(settings, arch) <= 0, rng)
        if choices is not None and (arch := space.expand(choices)).digest not in seen:
            seen.add(arch.digest)
            yield choices, arch


def _told(
    space: Space, settings: SearchSettings, number: int, size: int, choices: Choices, arch: Arch, gflops: float
) -> FrozenTrial:
    """A finished trial as the study leaves it; the last two times 16 are NSGA-II's last two generations."""
    distributions = {}

    def suggest(name: str, values: tuple[object, ...]) -> object:
        distributions[name] = CategoricalDistribution(values)
        return choices[name]

    generation = (number - size) // 16 + 2
    generations = {f"{name}:generation": generation for name in ("_NSGA2", "NSGAIISampler") if generation >= 0}
    return create_trial(
        values=[score(settings, invent(arch, 0)), gflops],
        params=space.walk(suggest),
        distributions=distributions,
        user_attrs={"kind": "trial", "name": f"t{number}", "arch": arch.to_json()},
        system_attrs=generations,
        constraints={CONSTRAINT: settings.violation(arch)},
    )


def violation(settings: SearchSettings, arch: Arch) -> float:
    """By how much an architecture is over the budget; 1 for one that cannot be built."""
    buildable = fits(arch, settings.task.image_size) and fits(arch, settings.task.trial_size)
    return settings.violation(arch) if buildable else 1.0


class Writes:
    """How many transactions that change something are committed; each makes SQLite wait for the disk."""

    def __init__(self) -> None:
        self.num = 0
        self._changed: set[int] = set()
        sqlalchemy.event.listen(sqlalchemy.engine.Engine, "before_cursor_execute", self._execute)
        sqlalchemy.event.listen(sqlalchemy.engine.Engine, "commit", self._commit)

    def _execute(self, connection: object, cursor: object, statement: str, *rest: object) -> None:
        if statement.lstrip()[:6].upper() in ("INSERT", "UPDATE", "DELETE"):
            self._changed.add(id(connection))

    def _commit(self, connection: object) -> None:
        self.num += id(connection) in self._changed
        self._changed.discard(id(connection))


# -- the two sides -----------------------------------------------------------------------------------------------------


def time_ours(
    space: Space, settings: SearchSettings, path: Path, size: int, trials: int, writes: Writes
) -> dict[str, float]:
    """Continue the search in `path` by some architectures. Seconds, and counts of what happened in them."""
    setup = WorkerSetup(task=settings.task, ladder=settings.ladder, folder=path, cache_dir=path)
    engine = NoopEngine(setup, writes)
    before, start = num_told(path), time.perf_counter()
    with contextlib.suppress(CheckpointError):  # nothing was trained, so the best one has no weights to export
        search(space, settings, path, lambda task, ladder, folder: engine, trials=size + trials, resume=True)
    return {
        "seconds": engine.ended - engine.began,
        "proposals": num_told(path) - before,
        "trained": trials,
        "jobs": engine.num_jobs,
        "writes": engine.num_writes,
        "resume_seconds": engine.began - start,
    }


def num_told(path: Path) -> int:
    """How many proposals the study in a run folder holds."""
    folder = RunFolder.open(path)
    return len(
        optuna.load_study(study_name=folder.study_name, storage=folder.storage.open()).get_trials(deepcopy=False)
    )


class Plain:
    """Plain Optuna on a copy of the study."""

    def __init__(self, folder: RunFolder, file: Path, settings: SearchSettings, seed: int) -> None:
        sampler = PLAIN_SAMPLERS[settings.sampler](seed)
        self.settings = settings
        self.study = optuna.load_study(study_name=folder.study_name, storage=f"sqlite:///{file}", sampler=sampler)

    def time(self, space: Space, trials: int) -> tuple[float, int]:
        """Seconds of so many proposals, and how many of them were within the budget."""
        start, num_within = time.perf_counter(), 0
        for _ in range(trials):
            trial = self.study.ask()
            arch = space.expand(space.walk(trial.suggest_categorical))
            over = violation(self.settings, arch)
            trial.set_constraint(CONSTRAINT, over)
            value = WORST_SCORE if over > 0 else score(self.settings, invent(arch, 0))
            self.study.tell(trial, [value, self.settings.budget_gflops + over])
            num_within += over <= 0
        return time.perf_counter() - start, num_within


def compare(
    space: Space, sampler: str, ladder: Ladder, size: int, trials: int, seed: int, template: Path, writes: Writes
) -> None:
    """One sampler at one size, both sides."""
    task = Task(dataset="glyphs", seed=seed)
    settings = SearchSettings(
        task=task,
        budget_gflops=BUDGET_GFLOPS,
        space_name=space.name,
        space_digest=space.digest,
        sampler=sampler,  # type: ignore[arg-type]
        ladder=ladder,
        seed=seed,
    )
    with tempfile.TemporaryDirectory() as temporary:
        path = Path(temporary) / "run"
        folder = RunFolder.create(path, settings, resume=False)
        if not template.exists():
            fill(folder, space, size)
            shutil.copy(path / "study.db", template)
        for file in (path / "study.db", path.parent / "plain.db"):
            shutil.copy(template, file)
        folder.release()
        plain = Plain(folder, path.parent / "plain.db", settings, seed)
        writes.num = 0
        first = plain.time(space, trials // 2)
        plain_writes = writes.num
        ours = time_ours(space, settings, path, size, trials, writes)
        second = plain.time(space, trials // 2)
    plain_ms = [1000 * seconds / (trials // 2) for seconds, _ in (first, second)]
    plain_mean_ms, ours_ms = statistics.mean(plain_ms), 1000 * ours["seconds"] / ours["proposals"]
    within = (first[1] + second[1]) / (trials // 2 * 2)
    row = {
        "part": "study", "sampler": sampler, "ladder": ladder.epochs, "size": size, "trials": trials, "seed": seed,
        "plain_ms": plain_ms, "ours_ms": ours_ms, "ratio": ours_ms / plain_mean_ms,
        "plain_within_budget": within, "ours_trained_share": ours["trained"] / ours["proposals"],
        "plain_writes": plain_writes / (trials // 2), "ours_writes": ours["writes"] / ours["proposals"],
        "ours_ms_a_trained": 1000 * ours["seconds"] / ours["trained"], **ours,
    }  # fmt: skip
    print(json.dumps(row), flush=True)


# -- engines -----------------------------------------------------------------------------------------------------------


def time_engine(name: str, make: Callable[[], Engine], jobs: int) -> None:
    """Start-up to the first job's end; then what a job takes, one after the other, and with all slots busy."""
    start = time.perf_counter()
    engine = make()
    try:
        arch = load_space("lstn").seeds["lstn"]
        job = Job(kind="rung", name="noop", arch=arch)

        def finish(num: int) -> None:
            ended = 0
            while ended < num:
                ended += sum(isinstance(event, Ended) for event in engine.events(timeout=1.0))

        for slot in range(engine.num_slots):
            engine.submit(dataclasses.replace(job, name=f"start {slot}"))
        finish(engine.num_slots)
        startup = time.perf_counter() - start
        times = []
        for _ in range(jobs):
            begin = time.perf_counter()
            engine.submit(dataclasses.replace(job))
            finish(1)
            times.append(time.perf_counter() - begin)
    finally:
        begin = time.perf_counter()
        engine.close()
    row = {
        "part": "engine", "engine": name, "slots": engine.num_slots, "startup_seconds": startup, "jobs": jobs,
        "job_ms_median": 1000 * statistics.median(times), "job_ms_p95": 1000 * sorted(times)[int(0.95 * jobs)],
        "close_seconds": time.perf_counter() - begin,
    }  # fmt: skip
    print(json.dumps(row), flush=True)


def engines(jobs: int) -> None:
    """The real engines, two slots each, workers that load torch as real ones do."""
    from lstn_search.jobs.ray import RayEngine

    with tempfile.TemporaryDirectory() as temporary:
        path = Path(temporary)
        task = Task(dataset="glyphs", device="cpu")
        setup = WorkerSetup(task=task, ladder=Ladder(), folder=path, cache_dir=path, num_threads=1)
        time_engine("local", lambda: LocalEngine(setup, 2, noop), jobs)
        time_engine("ray", lambda: RayEngine(setup, 2, noop), jobs)


def main() -> None:
    """Measure what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--parts", nargs="*", default=["study", "engines"], choices=["study", "engines"])
    parser.add_argument("--samplers", nargs="*", default=list(PLAIN_SAMPLERS), choices=list(PLAIN_SAMPLERS))
    parser.add_argument("--sizes", nargs="*", type=int, default=[10, 100, 1000], help="finished architectures before")
    parser.add_argument("--trials", type=int, default=40, help="architectures timed on each side")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--ladder", default="2,6,18", help="joint epochs of rung 1, 2, ...; none: rung 0 only")
    parser.add_argument("--templates", type=Path, help="a folder that keeps the filled studies for the next time")
    options = parser.parse_args()
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
    ladder = Ladder(epochs=()) if options.ladder == "none" else Ladder.parse(options.ladder)
    space = dataclasses.replace(load_space("lstn"), seeds={}, sources={})  # seed points are Optuna's to know nothing of
    with tempfile.TemporaryDirectory() as temporary:
        templates = options.templates or Path(temporary)
        templates.mkdir(parents=True, exist_ok=True)
        writes = Writes()
        for size in options.sizes if "study" in options.parts else []:
            for sampler in options.samplers:
                template = templates / f"{size}-{options.ladder}.db"
                compare(space, sampler, ladder, size, options.trials, options.seed, template, writes)
    if "engines" in options.parts:
        engines(200)


if __name__ == "__main__":
    from overhead import main  # by its own name, under which workers find the job that does nothing

    main()
