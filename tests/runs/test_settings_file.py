"""settings.toml: what is written makes the same search again, and what is read is said in the command line's words."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from small_search import make_folder, make_settings

from lstn_search.cli import main
from lstn_search.errors import SettingError
from lstn_search.runs.settings_file import SETTINGS, read_settings, write_settings
from lstn_search.spec.ladder import Ladder
from lstn_search.spec.settings import SearchSettings
from lstn_search.spec.space import Space, load_space
from lstn_search.spec.task import Task

TASKS = {
    "defaults": Task(dataset="glyphs"),
    "changed": Task(dataset="glyphs", lr=0.5, batch_size=20, view="none", poses="known", seed=3, split_seed=2),
    "paper": Task.paper(dataset="glyphs", epochs=3, max_epochs=9),
}


@pytest.mark.parametrize("changes", [{}, {"sampler": "random", "objectives": ("accuracy", "gflops", "params")}])
@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)
def test_a_search_is_repeated_by_its_file(
    task: Task, changes: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    named = load_space("lstn")
    space = dataclasses.replace(named, seeds={name: named.seeds[name] for name in ("lstn", "places")})
    settings = make_settings(space, task, seed=task.seed, ladder=Ladder(recover=(50,), epochs=(1,), eta=2), **changes)
    folder = make_folder(tmp_path / "run", settings)
    write_settings(folder, space, trials=7, minutes=1.5)
    asked: list[tuple[Space, SearchSettings, Path, dict[str, Any]]] = []

    def search(space: Space, settings: SearchSettings, out: Path, make_engine: object, **rest: Any) -> None:
        asked.append((space, settings, out, rest))
        raise KeyboardInterrupt

    monkeypatch.setattr("lstn_search.study.search.search", search)
    command = ["search", "--config", str(folder.path / SETTINGS), "--out", str(tmp_path / "again"), "--trials", "9"]
    monkeypatch.setattr("sys.argv", ["lstn-search", *command])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 130
    ((found, again, out, rest),) = asked
    assert again == settings
    assert (found.digest, out, rest["trials"], rest["minutes"]) == (space.digest, tmp_path / "again", 9, 1.5)


def test_a_named_space_goes_by_its_name(tmp_path: Path) -> None:
    space = load_space("lstn")
    folder = make_folder(tmp_path / "run", make_settings(space))
    write_settings(folder, space, trials=7, minutes=None)
    found = read_settings(folder.path / SETTINGS)
    assert (found["space"], found["trials"], found["dataset"]) == ("lstn", "7", "glyphs")
    assert not (folder.path / "space").exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("trails = 3", "unknown setting 'trails'; did you mean 'trials'"),
        ("trials = 2.5", "Invalid value for '--trials'"),
        ("trials = 0", "trials must be at least 1, got 0"),
        ("trials = ", "not valid TOML"),
        ("trials = {}", "trials = {} is no setting"),
        ('out = ""', "out = '' is no setting"),
        ('lr = "much"', "lr must be a float, got 'much'"),
        ("batch_size = 1", "batch size must be a whole number of at least 2, got 1"),
        ("[trials]", "trials = {} is no setting"),
        ("config = 'x'", "unknown setting 'config'"),
    ],
)
def test_a_mistake_is_one_line(
    text: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(f"budget-gflops = 0.03\ndataset = 'glyphs'\n{text}\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["lstn-search", "search", "--config", str(file)])
    with pytest.raises(SystemExit) as ended:
        main()
    out, err = capsys.readouterr()
    assert (ended.value.code, out, len(err.splitlines())) == (2, "", 1)
    assert message in err
    assert list(tmp_path.iterdir()) == [file]


def test_what_no_file_is_is_said(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match=r"cannot be read .*; give the path of a file of settings"):
        read_settings(tmp_path / "nowhere.toml")
