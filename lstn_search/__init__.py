"""Find the best localization net for a Spatial Transformer Network under a FLOP budget.

    import lstn_search as ls
    space = ls.load_space("lstn")
    print(ls.cost(space.seeds["lstn"], image_size=224).gflops)
    run = ls.search(space, ls.Task(dataset="glyphs"), budget_gflops=0.03, trials=24, out="runs/demo")
    best = run.pick("best")                                # or "knee", or "max-gflops=0.01"
    ls.export(run, "best", out="out/")

Importing it costs no import of torch: the functions that need torch load it when they are called.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from lstn_search.api import backbone, dataset, evaluate, export, fidelity, open_run, report, search, show, train, verify
from lstn_search.errors import LstnError
from lstn_search.jobs.launch import EngineOptions
from lstn_search.spec.arch import Arch, Head, Layer
from lstn_search.spec.cost import Cost, cost
from lstn_search.spec.ladder import Ladder
from lstn_search.spec.results import TrialResult
from lstn_search.spec.space import Space, load_space
from lstn_search.spec.task import Task

if TYPE_CHECKING:
    from lstn_search.pages.page import WrittenReport
    from lstn_search.pictures.sightings import BeforeAfterInfo
    from lstn_search.ranking.facts import FidelityInfo
    from lstn_search.runs.entries import Entry
    from lstn_search.runs.run import Run
    from lstn_search.shipping.proof import Proof
    from lstn_search.training.evaluation import EvalReport
    from lstn_search.verification.result import Verification

__version__ = "0.1.0"

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

_RETURNED = {
    "BeforeAfterInfo": "pictures.sightings",
    "Entry": "runs.entries",
    "EvalReport": "training.evaluation",
    "FidelityInfo": "ranking.facts",
    "Proof": "shipping.proof",
    "Run": "runs.run",
    "Verification": "verification.result",
    "WrittenReport": "pages.page",
}
"""Types that functions return, and where they are: their rooms bring torch, Optuna or numpy."""


def __getattr__(name: str) -> Any:
    if name in _RETURNED:
        return getattr(import_module(f"lstn_search.{_RETURNED[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
