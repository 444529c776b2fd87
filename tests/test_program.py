"""The program's name is what the user typed, in every hint."""

import tomllib
from pathlib import Path

import pytest

import lstn_search
from lstn_search.cli import COMMANDS, app
from lstn_search.program import VERSION, program

ROOT = Path(__file__).resolve().parent.parent


@pytest.mark.parametrize(
    ("started", "words"),
    [
        ("cli.py", "python cli.py"),
        ("../my code/cli.py", "python '../my code/cli.py'"),
        ("bin/lstn-search", "bin/lstn-search"),
        ("/x/lstn_search/__main__.py", "python -m lstn_search"),
        ("notebook", "python -m lstn_search"),
    ],
)
def test_it_is_called_as_it_was_started(started: str, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", [started])
    assert program() == words


def test_one_that_is_on_the_path_goes_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr("sys.argv", ["/usr/bin/lstn-search"])
    assert program() == "lstn-search"


def test_the_version_is_the_package_s(capsys: pytest.CaptureFixture[str]) -> None:
    app(["--version"], standalone_mode=False)
    assert capsys.readouterr().out == f"lstn-search {VERSION}\n"
    assert (
        lstn_search.__version__ == VERSION == tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    )


def test_every_command_is_listed_and_is_there(capsys: pytest.CaptureFixture[str]) -> None:
    app(["--help"], standalone_mode=False)
    listed = capsys.readouterr().out
    for name, (_, panel, line) in COMMANDS.items():
        assert name in listed and panel in listed and line.split()[0] in listed
        app([name, "--help"], standalone_mode=False)
        assert f" {name} " in capsys.readouterr().out
