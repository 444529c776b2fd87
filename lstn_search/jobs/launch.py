"""Starting the workers of a search: which engine, how many, with how many threads each. No torch here."""

import dataclasses
import os
from collections.abc import Callable
from pathlib import Path
from typing import Literal, get_args

from lstn_search.errors import SettingError
from lstn_search.jobs.base import Ended, Engine, Job, WorkerSetup
from lstn_search.jobs.local import LocalEngine
from lstn_search.jobs.machine import default_workers, num_cores
from lstn_search.spec.fields import WHERE, check, expanded, option_name, setting
from lstn_search.spec.ladder import Ladder
from lstn_search.spec.task import Task

__all__ = ["EngineName", "EngineOptions", "run_job"]

EngineName = Literal["local", "ray"]


@dataclasses.dataclass(kw_only=True, frozen=True, slots=True)
class EngineOptions:
    """Where and how jobs run: nothing that changes what a search finds, apart from the order of its results."""

    engine: EngineName = setting(
        "local",
        help="local (processes on this machine) or ray.",
        panel=WHERE,
        choices=get_args(EngineName),
    )
    workers: int | None = setting(
        None, help="Processes that train.", panel=WHERE, minimum=1, limit=1_024, unset="one a GPU, else one a core"
    )
    cache_dir: Path | None = setting(
        None, help="Decoded images and warm classifiers; also $LSTN_CACHE_DIR.", panel=WHERE
    )
    job_minutes: float | None = setting(
        None, help="End a job that takes longer, as if its worker had died.", panel=WHERE, above=0, limit=1_000_000
    )
    ray_address: str | None = setting(None, help="Of a Ray cluster; without it Ray starts here.", panel=WHERE)
    storage_path: Path | None = setting(
        None, help="Ray: a folder all nodes reach, for checkpoints and cache; the run folder if it is one.", panel=WHERE
    )
    gpus_per_job: float | None = setting(
        None,
        help="Ray: 0.5 lets two jobs share a GPU.",
        panel=WHERE,
        above=0,
        limit=1_024,
        unset="1 where there are GPUs",
    )

    def __post_init__(self) -> None:
        check(self)
        for name in ("ray_address", "storage_path", "gpus_per_job"):
            if self.engine != "ray" and getattr(self, name) is not None:
                raise SettingError(f"{option_name(name)} is for Ray; add --engine ray")

    def start(self, task: Task, ladder: Ladder, folder: Path) -> Engine:
        """An engine for the jobs of a task; its workers start with their first jobs and write into `folder`."""
        from lstn_search.data.cache import default_cache_dir

        setup = WorkerSetup(
            task=task,
            ladder=ladder,
            folder=folder.resolve(),
            cache_dir=(expanded(self.cache_dir) if self.cache_dir else default_cache_dir()).resolve(),
            num_threads=1,
            job_minutes=self.job_minutes,
        )
        if self.engine == "ray":
            from lstn_search.jobs.ray import RayEngine

            resources = None if self.gpus_per_job is None else {"cpu": 1.0, "gpu": self.gpus_per_job}
            return RayEngine(
                setup,
                self.workers,
                run_job,
                address=self.ray_address,
                resources_per_job=resources,
                storage_path=self.storage_path,
            )
        workers = self.workers or default_workers()
        return LocalEngine(dataclasses.replace(setup, num_threads=_num_threads(workers)), workers, run_job)


def _num_threads(workers: int) -> int:
    """The cores divided among the workers; not more than OMP_NUM_THREADS, with which users keep cores for others."""
    limit = os.environ.get("OMP_NUM_THREADS", "")
    threads = max(1, num_cores() // workers)
    return min(threads, int(limit)) if limit.isdecimal() and int(limit) > 0 else threads


def run_job(setup: WorkerSetup, job: Job, say: Callable[[str], None]) -> Ended:
    """Run a job in a worker; torch is loaded there and not in the driver."""
    from lstn_search.jobs import work

    return work.run_job(setup, job, say)
