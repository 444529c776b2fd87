"""Code that users bring, by name: `module:function`, from the working directory or Python's path. No torch here.

A name is what a task can write down and what every worker can import anew. What the code was is told by a digest over
the source of its module: comments and layout do not count, and what that module imports is not looked at.
"""

import ast
import hashlib
import importlib
import inspect
import re
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from types import ModuleType
from typing import Any

from lstn_search.errors import SettingError, did_you_mean
from lstn_search.spec.reading import short

__all__ = ["check_code", "code_name", "is_code", "load_code", "module_of", "source_digest"]

_SHAPE = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*(\.[^\W\d]\w*)*")
"""Of `package.module:Class.method`."""


def is_code(text: object) -> bool:
    """Whether a text has the shape of `module:function`."""
    return isinstance(text, str) and _SHAPE.fullmatch(text) is not None


def check_code(value: Any) -> None:
    """Raise SettingError unless it is None or has the shape of `module:function`."""
    if value is not None and not is_code(value):
        raise SettingError(f"{short(value)} names no code of yours; write module:function, as in my_code:brighter")


def code_name(thing: Any) -> Any:
    """`module:function` of a function or class; anything that is no callable is given back as it is.

    A function of the script itself is named by the script's file. Raises SettingError where a worker, which is a fresh
    process, could not import it.
    """
    if not callable(thing):
        return thing
    module, name = getattr(thing, "__module__", None), getattr(thing, "__qualname__", "")
    if module == "__main__":
        main = sys.modules["__main__"]
        spec, file = getattr(main, "__spec__", None), getattr(main, "__file__", None)
        module = spec.name if spec else Path(file).stem if file else None
    found = f"{module}:{name}"
    if not is_code(found):
        what = name or type(thing).__name__
        raise SettingError(
            f"{short(what)} cannot be imported by workers; write it as a function in a .py file beside yours, and give "
            "that (a trained module: through lstn_search.backbone)"
        )
    return found


def load_code(name: str, what: str) -> Callable[..., Any]:
    """The callable of that name; the working directory is looked in last.

    Raises SettingError, saying `what` it was to be, when it cannot be imported or is no callable.
    """
    module_name, _, path = name.partition(":")
    here = str(Path.cwd())
    if here not in sys.path:  # for good: it may import its neighbours when it is called
        sys.path.append(here)
    said = f"{what} {name!r}"
    try:
        found: Any = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            raise SettingError(f"{said} cannot be imported (its module needs {error.name!r}); install that") from None
        raise SettingError(
            f"{said}: there is no module {module_name!r} in {here} or on Python's path; start where it lies, or add "
            "its folder to PYTHONPATH"
        ) from None
    except (Exception, SystemExit) as error:
        reason = " ".join(str(error).split())[:200]
        raise SettingError(
            f"{said} cannot be imported ({type(error).__name__}: {reason}); importing its module must do no more than "
            "define it"
        ) from None
    for part in path.split("."):
        known = [public for public in vars(found) if not public.startswith("_")] if hasattr(found, "__dict__") else []
        if not hasattr(found, part):
            raise SettingError(f"{said}: {module_name!r} has no {part!r}; {did_you_mean(part, known)}")
        found = getattr(found, part)
    if not callable(found):
        raise SettingError(f"{said} is {short(found)}, which cannot be called; name a function")
    called: Callable[..., Any] = found
    return called


def module_of(name: str) -> str:
    """The module in which the code of a name is to be found."""
    return name.partition(":")[0]


def source_digest(modules: Iterable[str], *facts: str) -> str:
    """SHA-256, in hex, over the source of imported modules, in the order of their names, and over `facts`."""
    digest = hashlib.sha256()
    for name in sorted(set(modules)):
        source = _source(sys.modules.get(name))
        digest.update(f"{name}\0{source}\0".encode("utf-8", "surrogateescape"))
    for fact in facts:
        digest.update(f"{fact}\0".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def _source(module: ModuleType | None) -> str:
    """Without comments and layout; empty where there is none."""
    try:
        return "" if module is None else ast.unparse(ast.parse(inspect.getsource(module)))
    except (OSError, TypeError, SyntaxError):
        return ""
