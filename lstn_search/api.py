"""The library's door: search and export from Python, with plain arguments."""

from pathlib import Path

from lstn_search.search.driver import Run, Watcher
from lstn_search.search.driver import search as run_search
from lstn_search.search.outputs import write_export
from lstn_search.search.settings import BudgetScope, SamplerName, SearchSettings
from lstn_search.space import Space
from lstn_search.task import Task

__all__ = ["export", "search"]


def search(
    space: Space,
    task: Task,
    *,
    budget_gflops: float,
    out: str | Path,
    trials: int = 24,
    minutes: float | None = None,
    sampler: SamplerName = "tpe",
    budget_scope: BudgetScope = "localizer",
    resume: bool = False,
    cache_dir: Path | None = None,
    watcher: Watcher | None = None,
) -> Run:
    """Search `space` for the best localization nets within `budget_gflops` (at `task.image_size`); see `Run`.

    Raises LstnError on bad input, before anything is trained.
    """
    settings = SearchSettings(
        task=task,
        budget_gflops=budget_gflops,
        space_name=space.name,
        space_digest=space.digest,
        sampler=sampler,
        budget_scope=budget_scope,
        seed=task.seed,
    )
    return run_search(
        space, settings, Path(out), trials=trials, minutes=minutes, resume=resume, cache_dir=cache_dir, watcher=watcher
    )


def export(run: Run, pick: str, out: str | Path) -> None:
    """Write one architecture of a run's front as code that needs only torch, with its weights; it proves itself."""
    write_export(run, run.pick(pick), Path(out))
