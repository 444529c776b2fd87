"""Find the best localization net for a Spatial Transformer Network under a FLOP budget.

    import lstn_search as ls
    space = ls.load_space("lstn")
    print(ls.cost(space.seeds["lstn"], image_size=224).gflops)
    run = ls.search(space, ls.Task(dataset="glyphs"), budget_gflops=0.03, trials=24, out="runs/demo")
    best = run.pick("best")                                # or "knee", or "max-gflops=0.01"
    ls.export(run, "best", out="out/")

Importing it costs next to nothing: each name is loaded when it is first asked for, and torch when a function needs it.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from lstn_search.program import VERSION

if TYPE_CHECKING:
    from lstn_search.api import (
        backbone,
        dataset,
        evaluate,
        export,
        fidelity,
        open_run,
        report,
        search,
        show,
        train,
        verify,
    )
    from lstn_search.errors import LstnError
    from lstn_search.jobs.launch import EngineOptions
    from lstn_search.pages.page import WrittenReport
    from lstn_search.pictures.sightings import BeforeAfterInfo
    from lstn_search.ranking.facts import FidelityInfo
    from lstn_search.runs.entries import Entry
    from lstn_search.runs.run import Run
    from lstn_search.shipping.proof import Proof
    from lstn_search.spec.arch import Arch, Head, Layer
    from lstn_search.spec.cost import Cost, cost
    from lstn_search.spec.ladder import Ladder
    from lstn_search.spec.results import TrialResult
    from lstn_search.spec.space import Space, load_space
    from lstn_search.spec.task import Task
    from lstn_search.training.evaluation import EvalReport
    from lstn_search.verification.result import Verification

__version__ = VERSION

__all__ = [
    "Arch",
    "BeforeAfterInfo",
    "Cost",
    "EngineOptions",
    "Entry",
    "EvalReport",
    "FidelityInfo",
    "Head",
    "Ladder",
    "Layer",
    "LstnError",
    "Proof",
    "Run",
    "Space",
    "Task",
    "TrialResult",
    "Verification",
    "WrittenReport",
    "backbone",
    "cost",
    "dataset",
    "evaluate",
    "export",
    "fidelity",
    "load_space",
    "open_run",
    "report",
    "search",
    "show",
    "train",
    "verify",
]

_HOMES = {
    **dict.fromkeys(
        (
            *("backbone", "dataset", "evaluate", "export", "fidelity", "open_run", "report", "search", "show", "train"),
            "verify",
        ),
        "api",
    ),
    "LstnError": "errors",
    "EngineOptions": "jobs.launch",
    "WrittenReport": "pages.page",
    "BeforeAfterInfo": "pictures.sightings",
    "FidelityInfo": "ranking.facts",
    "Entry": "runs.entries",
    "Run": "runs.run",
    "Proof": "shipping.proof",
    **dict.fromkeys(("Arch", "Head", "Layer"), "spec.arch"),
    **dict.fromkeys(("Cost", "cost"), "spec.cost"),
    "Ladder": "spec.ladder",
    "TrialResult": "spec.results",
    **dict.fromkeys(("Space", "load_space"), "spec.space"),
    "Task": "spec.task",
    "EvalReport": "training.evaluation",
    "Verification": "verification.result",
}
"""The module of each name."""


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f"lstn_search.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*__all__, *globals()]
