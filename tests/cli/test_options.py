"""Options come from the fields of settings: their help, their defaults, and what was given and what was not."""

import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lstn_search.cli import app, main
from lstn_search.cli.evaluate import full_schedule_task
from lstn_search.jobs.launch import EngineOptions
from lstn_search.runs.run import Run
from lstn_search.spec.fields import PANELS, described, option_name
from lstn_search.spec.settings import SearchSettings
from lstn_search.spec.task import FULL_SCHEDULE, Task

OF_TASK, OF_SEARCH, OF_ENGINE = (
    {option_name(field.name): (field, known) for field, known in described(cls) if known.is_option}
    for cls in (Task, SearchSettings, EngineOptions)
)


def help_of(command: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The help of each option, on one line, with its panel before it."""
    monkeypatch.setenv("COLUMNS", "200")
    app([command, "--help"], standalone_mode=False)
    found: dict[str, str] = {}
    panel = name = ""
    for line in capsys.readouterr().out.splitlines():
        if line.startswith("╭─ "):
            panel = line.strip("╭─╮ ")
        elif match := re.match(r"│ \*? +(--[\w-]+)", line) or re.match(r"│ (--[\w-]+)", line):
            name = match[1]
            found[name] = f"{panel}: {line.strip('│* ')}"
        elif name and line.startswith("│"):
            found[name] += " " + line.strip("│ ")
    return found


@pytest.mark.parametrize(
    ("command", "options"),
    [
        ("search", OF_TASK | OF_SEARCH | OF_ENGINE),
        ("eval", OF_TASK),
        ("show", OF_TASK),
        ("verify", OF_ENGINE),
    ],
)
def test_help_shows_every_setting_with_its_default_in_its_panel(
    command: str, options: dict[str, Any], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = help_of(command, capsys, monkeypatch)
    assert options.keys() <= found.keys()
    for name, (field, known) in options.items():
        assert found[name].startswith(f"{known.panel}: {name}")
        if (command, name) != ("show", "--seed"):
            assert known.help in found[name]
        is_full = command in ("eval", "show") and field.name in FULL_SCHEDULE
        default = FULL_SCHEDULE[field.name] if is_full else field.default
        if isinstance(default, str | int | float) and not isinstance(default, bool):  # a flag shows none
            assert f"[default: {default}]" in found[name] or f"[default: ({default}; paper: " in found[name]
        else:
            assert ("[required]" in found[name]) is (command == "search" and name in ("--dataset", "--budget-gflops"))
    panels = [line.partition(":")[0] for line in found.values()]
    assert list(dict.fromkeys(panels)) == sorted(set(panels), key=("Options", *PANELS).index)


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Task]:
    """The task that a command line comes to, when it is about to be prepared."""

    def ask(*args: str | Path) -> Task:
        asked: list[Task] = []

        def prepare(task: Task, *rest: Any) -> Any:
            asked.append(task)
            raise KeyboardInterrupt

        for user in ("jobs.work", "training.prepared"):
            monkeypatch.setattr(f"lstn_search.{user}.prepare", prepare)
        monkeypatch.setattr(sys, "argv", ["cli.py", *map(str, args)])
        with pytest.raises((SystemExit, KeyboardInterrupt)):
            main()
        (task,) = asked
        return task

    return ask


@pytest.mark.parametrize("command", [["eval"], ["show"]])
def test_what_is_not_given_is_the_run_s_or_the_default(
    command: list[str], trained: Callable[..., Task], small_run: Run
) -> None:
    run_task = small_run.task
    assert (run_task.precision, run_task.device) == ("fp32", "cpu")  # neither is the default
    assert trained(*command, "--arch", small_run.folder.path) == Task.of(**run_task.to_dict() | FULL_SCHEDULE)
    given = trained(
        *(
            *command,
            "--arch",
            small_run.folder.path,
            "--precision",
            "auto",
            "--device",
            "auto",
            "--view-strength",
            "1.0",
        ),
        *("--epochs", "3"),
    )
    assert (given.precision, given.device, given.view_strength, given.epochs) == ("auto", "auto", 1.0, 3)
    assert given.batch_size == run_task.batch_size
    assert trained(*command, "--arch", "lstn", "--dataset", "glyphs") == Task(dataset="glyphs", **FULL_SCHEDULE)
    paper = trained(*command, "--arch", "lstn", "--dataset", "glyphs", "--protocol", "paper", "--data-dir", "~/x")
    assert paper == Task.paper(dataset="glyphs", data_dir=str(Path("~/x").expanduser()))


def test_a_run_settled_on_a_precision_and_eval_keeps_it(trained: Callable[..., Task], small_run: Run) -> None:
    manifest = small_run.folder.manifest
    assert full_schedule_task({}, Task(dataset="glyphs", precision="bf16")).precision == "bf16"
    assert trained("eval", "--arch", small_run.folder.path).precision == manifest["precision"]


def test_another_protocol_brings_its_own_training() -> None:
    run_task = Task(
        dataset="glyphs", image_size=96, backbone="resnet18", seed=3, split_seed=2, device="cpu", precision="bf16",
        lr=0.5, batch_size=32, warm_epochs=1,
    )  # fmt: skip
    same = {"image_size": 96, "backbone": "resnet18", "seed": 3, "split_seed": 2, "device": "cpu"}
    assert full_schedule_task({"protocol": "paper"}, run_task) == Task.paper(dataset="glyphs", **same)
    paper = Task.paper(dataset="glyphs", epochs=9, max_epochs=10, **same)
    assert full_schedule_task({}, paper) == paper
    assert full_schedule_task({"protocol": "recover", "epochs": 7}, paper) == Task(
        dataset="glyphs", **same, **FULL_SCHEDULE | {"epochs": 7}
    )
