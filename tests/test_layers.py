"""Arrows between rooms point downward, no two modules need each other, and no name is both a room and a function."""

import ast
import functools
import importlib
import pkgutil
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path
from types import ModuleType

import pytest

import lstn_search

ROOT = Path(__file__).resolve().parent.parent
ORDER = (
    {"cli"},
    {"api"},
    {"watch"},
    {"pages"},
    {"verification", "ranking"},
    {"study"},
    {"pictures", "shipping"},
    {"jobs"},
    {"paper"},
    {"runs"},
    {"training"},
    {"data"},
    {"nets"},
    {"spec"},
    {"atomic", "errors", "program"},
)
"""Rooms, top first. What stands beside each other is independent."""
FRONT_DOOR = {"lstn_search.program", *(f"lstn_search.{module}" for module in lstn_search._HOMES.values())}
"""What `lstn_search/__init__.py` imports: for type checkers, and each when it is asked for."""

OUTSIDE = {"lstn_search", "lstn_search.__main__"}
"""In no room."""
LEVEL = {room: level for level, rooms in enumerate(ORDER) for room in rooms}
MODULES = {
    ".".join((file.parent if file.stem == "__init__" else file.with_suffix("")).relative_to(ROOT).parts): file
    for file in sorted((ROOT / "lstn_search").rglob("*.py"))
}


def room_of(module: str) -> str:
    return module.split(".")[1]


@functools.cache
def imports_of(module: str) -> frozenset[str]:
    """The modules of this package that a file imports: anywhere in it, also in functions and for types only."""
    found = set()
    for node in ast.walk(ast.parse(MODULES[module].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0 and node.module is not None, f"{module}: a relative import"
            found |= {f"{node.module}.{alias.name}" if f"{node.module}.{alias.name}" in MODULES else node.module
                      for alias in node.names}  # fmt: skip
    return frozenset(name for name in found if name.split(".")[0] == "lstn_search")


def test_every_room_has_its_place() -> None:
    assert {room_of(module) for module in MODULES if module not in OUTSIDE} == set(LEVEL)
    assert all(imported in MODULES for module in MODULES for imported in imports_of(module))
    assert sum(len(imports_of(module)) for module in MODULES) > 300  # or this file would test nothing


def test_arrows_between_rooms_point_downward() -> None:
    upward = [
        f"{module} -> {imported}"
        for module in MODULES
        if module not in OUTSIDE
        for imported in imports_of(module)
        if imported == "lstn_search"
        or (room_of(imported) != room_of(module) and LEVEL[room_of(imported)] <= LEVEL[room_of(module)])
    ]
    assert upward == []


def test_the_front_door_imports_what_it_names() -> None:
    assert imports_of("lstn_search") == FRONT_DOOR


def test_no_modules_need_each_other() -> None:
    """Raises CycleError with the circle. A room's __init__ is a module like any other."""
    order = list(TopologicalSorter({module: imports_of(module) for module in MODULES}).static_order())
    assert set(order) == set(MODULES)


@pytest.mark.parametrize("module", [module for module in MODULES if module not in OUTSIDE])
def test_no_name_is_both_a_module_and_something_else(module: str) -> None:
    """`import lstn_search.a.b as m` is the module, whatever the rooms' __init__ define."""
    imported = importlib.import_module(module)
    assert isinstance(imported, ModuleType)
    assert functools.reduce(getattr, module.split(".")[1:], lstn_search) is imported


def test_what_describes_needs_no_torch() -> None:
    modules = [module for module in MODULES if module.startswith("lstn_search.spec")]
    assert len(modules) > 10
    code = f"import sys, {', '.join(modules)}\nassert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


def test_all_is_sorted_and_every_name_is_there() -> None:
    assert lstn_search.__all__ == sorted(lstn_search.__all__)
    assert all(hasattr(lstn_search, name) for name in lstn_search.__all__)
    rooms = {module.name for module in pkgutil.iter_modules(lstn_search.__path__)}
    assert not rooms & set(lstn_search.__all__)
