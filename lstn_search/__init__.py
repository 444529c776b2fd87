"""Find the best localization net for a Spatial Transformer Network under a FLOP budget.

import lstn_search as ls
space = ls.load_space("lstn")
print(ls.cost(space.seeds["lstn"], image_size=224).gflops)
run = ls.search(space, ls.Task(dataset="glyphs"), budget_gflops=0.03, trials=24, out="runs/demo")
best = run.pick("best")                                # or "knee", or "max-gflops=0.01"
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lstn_search.api import export, search
    from lstn_search.arch import Arch, Head, Layer
    from lstn_search.cost import Cost, cost
    from lstn_search.errors import LstnError
    from lstn_search.search.driver import Run, open_run
    from lstn_search.space import Space, load_space
    from lstn_search.task import Task

__version__ = "0.1.0"

__all__ = [
    "Arch",
    "Cost",
    "Head",
    "Layer",
    "LstnError",
    "Run",
    "Space",
    "Task",
    "cost",
    "export",
    "load_space",
    "open_run",
    "search",
]

_HOMES = {
    "Arch": "lstn_search.arch",
    "Cost": "lstn_search.cost",
    "Head": "lstn_search.arch",
    "Layer": "lstn_search.arch",
    "LstnError": "lstn_search.errors",
    "Run": "lstn_search.search.driver",
    "Space": "lstn_search.space",
    "Task": "lstn_search.task",
    "cost": "lstn_search.cost",
    "export": "lstn_search.api",
    "load_space": "lstn_search.space",
    "open_run": "lstn_search.search.driver",
    "search": "lstn_search.api",
}


def __getattr__(name: str) -> Any:
    # Loaded when first asked for: importing the package must not cost an import of torch.
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
