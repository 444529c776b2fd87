"""Find the best localization net for a Spatial Transformer Network under a FLOP budget.

    import lstn_search as ls
    space = ls.load_space("lstn")
    print(ls.cost(space.seeds["lstn"], image_size=224).gflops)
    run = ls.search(space, ls.Task(dataset="glyphs"), budget_gflops=0.03, trials=24, out="runs/demo")
    best = run.pick("best")                                # or "knee", or "max-gflops=0.01"
    ls.export(run, "best", out="out/")

Importing it costs no import of torch: `search`, `export`, `open_run` and `verify` load torch when they are called.
"""

from lstn_search.api import export, fidelity, open_run, report, search, show, verify
from lstn_search.errors import LstnError
from lstn_search.jobs.launch import EngineOptions
from lstn_search.spec.arch import Arch, Head, Layer
from lstn_search.spec.cost import Cost, cost
from lstn_search.spec.ladder import Ladder
from lstn_search.spec.space import Space, load_space
from lstn_search.spec.task import Task

__version__ = "0.1.0"

__all__ = [
    "Arch",
    "Cost",
    "EngineOptions",
    "Head",
    "Ladder",
    "Layer",
    "LstnError",
    "Space",
    "Task",
    "cost",
    "export",
    "fidelity",
    "load_space",
    "open_run",
    "report",
    "search",
    "show",
    "verify",
]
