"""Find the best localization net for a Spatial Transformer Network under a FLOP budget.

    import lstn_search as ls
    space = ls.load_space("lstn")
    print(ls.cost(space.seeds["lstn"], image_size=224).gflops)
    run = ls.search(space, ls.Task(dataset="glyphs"), budget_gflops=0.03, trials=24, out="runs/demo")
    best = run.pick("best")                                # or "knee", or "max-gflops=0.01"
    ls.export(run, "best", out="out/")

Importing it costs no import of torch: `search`, `export`, `open_run` and `verify` load torch when they are called.
"""

# Some functions (search, export, fidelity, report, verify, cost) share their names with rooms of the package. A room is
# bound to its name when it is first loaded, so all of them are loaded before the functions take the names.
import lstn_search.cost
import lstn_search.export
import lstn_search.fidelity
import lstn_search.report
import lstn_search.search
import lstn_search.verify  # noqa: F401
from lstn_search.api import export, fidelity, open_run, report, search, show, verify
from lstn_search.arch import Arch, Head, Layer
from lstn_search.cost import Cost, cost
from lstn_search.errors import LstnError
from lstn_search.search.ladder import Ladder
from lstn_search.search.launch import EngineOptions
from lstn_search.space import Space, load_space
from lstn_search.task import Task

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
