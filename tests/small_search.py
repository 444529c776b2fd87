"""A search small enough for tests: the small task of small_training.py and a space of 1,080 tiny networks.

The tests of the study need no training: `pretend` gives any network a result that depends on nothing but the network.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from lstn_search.errors import LstnError
from lstn_search.jobs.base import Ended, Event, Job, Stage, WorkerSetup
from lstn_search.jobs.loop import MakeEngine
from lstn_search.runs.entries import Candidate, Entry
from lstn_search.runs.folder import RunFolder
from lstn_search.spec.arch import Arch
from lstn_search.spec.cost import cost
from lstn_search.spec.ladder import Ladder
from lstn_search.spec.results import Status, TrialResult
from lstn_search.spec.settings import SearchSettings
from lstn_search.spec.space import Space
from lstn_search.spec.task import Task
from lstn_search.study.study import Study

__all__ = [
    "BUDGET_GFLOPS",
    "LADDER",
    "NUM_SEEDS",
    "NUM_TRIALS",
    "SPACE_TOML",
    "InlineEngine",
    "PretendEngine",
    "make_folder",
    "make_settings",
    "options_of",
    "play",
    "pretend",
    "write_space",
]

BUDGET_GFLOPS = 0.0004
"""At 48 px; about half of the space is within it."""
LADDER = Ladder(epochs=(1, 2))
"""Of the session's real search."""
NUM_SEEDS = 3
NUM_TRIALS = 4
"""Of the session's real search."""

SPACE_TOML = """
description = "tiny networks for tests"
norm = ["none", "conv-bn-act"]
units = [0, 1]

[stem]
kind = ["plain"]
kernel = [3, 5]
stride = [1, 2, 3]
width = [4, 6, 8]
padded = [true]
max_pool = [1]

[unit]
kind = ["plain", "separable"]
decoder = [4]
encoder = [4, 8]
kernel = [3]
stride = [1, 2]
padded = [true]
max_pool = [1]

[tail]
width = [0]

[head]
pool_to = [2, 3]
hidden = [0, 16, 32]

[seeds.good]
source = "learns the small task"
norm = "conv-bn-act"
layers = [
  { out_channels = 8, kernel = 3, stride = 2, padding = 1 },
  { out_channels = 8, kernel = 3, stride = 2, padding = 1 },
]
head = { pool_to = 3, hidden = 32 }

[seeds.costly]
source = "over the budget"
layers = [{ out_channels = 16, kernel = 5, padding = 2 }]
head = { pool_to = 3, hidden = 32 }

[seeds.outside]
source = "not in the space, within the budget"
layers = [{ out_channels = 3, kernel = 5, stride = 4 }]
head = { pool_to = 2, hidden = 0 }
"""


def write_space(folder: Path) -> Path:
    """The space as a file."""
    path = folder / "small.toml"
    path.write_text(SPACE_TOML)
    return path


def make_settings(space: Space, task: Task | None = None, **changes: Any) -> SearchSettings:
    """Settings of a search of `space`; without a task, of one that is never trained."""
    given: dict[str, Any] = {
        "task": task or Task(dataset="glyphs", image_size=48, trial_size=24),
        "budget_gflops": BUDGET_GFLOPS,
        "space_name": space.name,
        "space_digest": space.digest,
        "ladder": Ladder(),
    }
    return SearchSettings(**(given | changes))


def make_folder(path: Path, settings: SearchSettings, *, resume: bool = False) -> RunFolder:
    """A run folder that nobody holds, as a process that died leaves it."""
    folder = RunFolder.create(path, settings, resume=resume)
    folder.release()
    return folder


def options_of(task: Task, out: Path) -> list[str]:
    """`search` and its options for the session's real search in another folder, with one worker; not its space."""
    return [
        *("search", "--dataset", task.dataset, "--budget-gflops", str(BUDGET_GFLOPS), "--backbone", task.backbone),
        *("--image-size", str(task.image_size), "--trial-size", str(task.trial_size)),
        *("--recover-steps", str(task.recover_steps), "--epochs", str(task.epochs)),
        *("--warm-epochs", str(task.warm_epochs), "--batch-size", str(task.batch_size)),
        *("--view-strength", str(task.view_strength), "--precision", "fp32", "--device", "cpu"),
        *("--ladder", ",".join(map(str, LADDER.epochs)), "--out", str(out), "--workers", "1"),
    ]


def pretend(arch: Arch) -> TrialResult:
    """A made-up result of recover: dearer networks are a little better, the rest is chance."""
    chance = int(arch.digest[:6], 16) / 16**6
    status: Status = "inert" if chance < 0.05 else "ok"
    error_px = 9 - 4 * chance - 4e3 * cost(arch, 48).gflops
    return TrialResult(status=status, corner_error_px=error_px, frozen_top1=40 + 10 * chance, seconds=1.0)


def play(study: Study, trials: int, *, until: Callable[[Candidate], bool] = lambda candidate: False) -> list[Entry]:
    """Search with made-up results until `trials` are done, nothing is left, or `until` holds for what was asked for.

    Returns the architectures that have a result.
    """
    while (candidate := study.ask_seed()) or (study.num_trials < trials and (candidate := study.ask())):
        if until(candidate):
            break
        study.record(candidate, 0, pretend(candidate.arch))
    return [entry for entry in study.entries if entry.results]


class InlineEngine:
    """An engine without processes: a job runs when its events are asked for. One slot, so its order is certain."""

    num_slots = 1

    def __init__(self, setup: WorkerSetup) -> None:
        from lstn_search.jobs import work

        work._prepared.clear()  # as in a fresh process
        self.setup = setup
        self.run_job = work.run_job
        self._jobs: list[Job] = []

    @classmethod
    def make(cls, cache_dir: Path) -> MakeEngine:
        """What the driver takes: starts the engine for a task."""
        return lambda task, ladder, folder: cls(
            WorkerSetup(task=task, ladder=ladder, folder=folder, cache_dir=cache_dir)
        )

    def submit(self, job: Job) -> None:
        """Keep the job for `events`."""
        self._jobs.append(job)

    def events(self, timeout: float | None = None) -> Sequence[Event]:
        """Run the job: all its stages, then its end."""
        stages: list[Event] = []
        job = self._jobs.pop()
        try:
            ended = self.run_job(self.setup, job, lambda what: stages.append(Stage(job=job, what=what)))
        except LstnError as error:
            ended = Ended(job=job, user_error=str(error))
        return [*stages, ended]

    def close(self) -> None:
        """Forget what was not run."""
        self._jobs.clear()


def pretend_job(setup: WorkerSetup, job: Job, say: Callable[[str], None]) -> Ended:
    """No training: results that depend on nothing but the network and the rung of LADDER."""
    if job.kind == "prepare":
        return Ended(job=job, facts={"data": {"fingerprint": "0"}, "precision": "fp32"})
    if job.arch is None:
        rungs = [TrialResult(status="ok", frozen_top1=20.0), *(_joint(20.0, epochs) for epochs in LADDER.epochs)]
        return Ended(job=job, facts={"rungs": [result.to_dict() for result in rungs]})
    result = pretend(job.arch)
    if job.rung == 0:
        return Ended(job=job, result=result)
    top1 = 50.0 + 10 * job.rung - (result.corner_error_px or 0.0)
    return Ended(job=job, result=_joint(top1, LADDER.epochs[job.rung - 1]))


def _joint(top1: float, epochs: int) -> TrialResult:
    history = tuple({"epoch": number, "train_loss": 1 / number, "seconds": 1.0} for number in range(1, epochs + 1))
    return TrialResult(status="ok", epochs=epochs, val_top1=top1, seconds=1.0 + epochs, history=history)


class PretendEngine(InlineEngine):
    """The inline engine with jobs that do not train."""

    def __init__(self, setup: WorkerSetup) -> None:
        super().__init__(setup)
        self.run_job = pretend_job
