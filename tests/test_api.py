"""The library's door: its names, what importing costs, and the example in its docstring."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest
from small_search import BUDGET_GFLOPS, LADDER, NUM_SEEDS, InlineEngine

import lstn_search as ls
from lstn_search.runs.run import Run

ROOT = Path(__file__).resolve().parent.parent


def test_all_is_sorted_and_true() -> None:
    assert ls.__all__ == sorted(ls.__all__)
    seen = {name for name, value in vars(ls).items() if not name.startswith("_") and not isinstance(value, type(ast))}
    assert seen <= {"Any", "TYPE_CHECKING", "import_module", "VERSION"}
    assert set(ls.__all__) == set(ls._HOMES) <= set(dir(ls))
    assert all(getattr(ls, name).__name__ == name for name in ls.__all__)


@pytest.mark.parametrize("name", ls.__all__)
def test_every_name_has_a_docstring(name: str) -> None:
    assert getattr(ls, name).__doc__


def test_functions_are_not_the_rooms_of_their_names() -> None:
    """Whatever is imported before, and in whatever order."""
    code = (
        "import lstn_search.spec.cost, lstn_search.shipping.folder, lstn_search.study.search, lstn_search as ls\n"
        "from lstn_search.shipping.proof import prove; from lstn_search.study import study\n"
        "assert all(callable(f) for f in (ls.cost, ls.export, ls.search)), (ls.cost, ls.export, ls.search)"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


def test_importing_brings_no_torch() -> None:
    """Nor anything else of this package: each name is loaded when it is asked for."""
    code = (
        "import sys, lstn_search as ls\n"
        "assert {name for name in sys.modules if name.startswith('lstn_')} == {'lstn_search', 'lstn_search.program'}\n"
        "assert ls.search and ls.Task and not {'torch', 'optuna', 'pandas', 'matplotlib', 'ray'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


def test_the_example_calls_what_there_is() -> None:
    """Every call of the docstring's example binds to the signature of the function it names."""
    import inspect
    import textwrap

    assert ls.__doc__ is not None
    example = textwrap.dedent("\n".join(line for line in ls.__doc__.splitlines() if line.startswith("    ")))
    calls = [node for node in ast.walk(ast.parse(example)) if isinstance(node, ast.Call)]
    doors = {node.func.attr: node for node in calls if isinstance(node.func, ast.Attribute)}
    assert {"load_space", "cost", "search", "Task", "pick", "export"} <= set(doors)
    for name, node in doors.items():
        function = Run.pick if name == "pick" else getattr(ls, name)
        arguments = ["self"] * (name == "pick") + [ast.unparse(argument) for argument in node.args]
        inspect.signature(function).bind(*arguments, **{str(keyword.arg): 0 for keyword in node.keywords})


@pytest.mark.usefixtures("unproved")
def test_search_open_export(
    small_run: Run,
    small_space: ls.Space,
    small_cache: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In this process; with workers of its own in examples/. The proof of an export: shipping/test_export.py."""
    monkeypatch.setattr(ls.EngineOptions, "start", lambda options, *what: InlineEngine.make(small_cache)(*what))
    task = small_run.folder.settings.task
    run = ls.search(
        small_space, task, budget_gflops=BUDGET_GFLOPS, out=tmp_path / "run", trials=1, ladder=LADDER,
    )  # fmt: skip
    assert [e.candidate for e in run.entries] == [e.candidate for e in small_run.entries][: NUM_SEEDS + 1]
    opened = ls.open_run(str(tmp_path / "run"))
    assert opened.front == run.front
    proof = ls.export(opened, "best", tmp_path / "out")
    assert (proof.num_images, proof.image_size) == (8, task.trial_size)
    assert ls.Arch.load(tmp_path / "out" / "arch.json") == run.pick("best").candidate.arch
    assert capsys.readouterr() == ("", "")  # a library does not print


def test_bad_input_is_a_value_error_before_anything_is_trained(small_space: ls.Space, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="the budget must be a positive number"):
        ls.search(small_space, ls.Task(dataset="glyphs"), budget_gflops=-1, out=tmp_path / "run")
    with pytest.raises(ls.LstnError, match="unknown dataset 'glyfs'; did you mean 'glyphs'"):
        ls.Task(dataset="glyfs")
    with pytest.raises(ls.LstnError, match="holds no run"):
        ls.open_run(tmp_path)
