"""Where the study is: which URLs are taken, what is written down of them, and that nobody trains or reads another."""

import contextlib
import json
import re
import shutil
import sqlite3
import sys
from collections.abc import Callable
from pathlib import Path

import optuna
import pytest
from hostile import snapshot
from small_search import make_folder, make_settings, play

from lstn_search.cli import main
from lstn_search.errors import RunError, SettingError
from lstn_search.runs.folder import RunFolder
from lstn_search.runs.run import open_run
from lstn_search.runs.storage import Storage
from lstn_search.spec.space import Space
from lstn_search.study.study import Study

TRIALS = 2
ODD_NAMES = ["a?b", "a%3Fb", "50%", "a#b", "two words", "ü 日本", "{x}", "a&b=c;d", "a:b@c", "'q\"", "a\\b"]


def make_run(path: Path, space: Space, *, storage: str | None = None, seed: int = 0, trials: int = TRIALS) -> RunFolder:
    """A search with made-up results that has come to its end and let its folder go."""
    settings = make_settings(space, seed=seed)
    folder = RunFolder.create(path, settings, resume=False, storage=storage)
    study = Study(folder, space)
    entries = play(study, trials)
    folder.write_manifest(data={"fingerprint": "none"}, counts={"trained": len(entries)})
    (path / "checkpoints").mkdir()
    for entry in entries:
        (path / "checkpoints" / f"{entry.candidate.arch.digest[:16]}-0.pt").write_text(entry.candidate.name)
    (path / "trials.csv").write_text("trial\n")
    folder.release()
    return folder


def resume(path: Path, space: Space, *, storage: str | None = None, seed: int = 0) -> RunFolder:
    folder = RunFolder.create(path, make_settings(space, seed=seed), resume=True, storage=storage)
    folder.release()
    return folder


def refusal(ask: Callable[[], object], untouched: Path) -> str:
    """The line that says why, after which a folder is what it was, to the last byte."""
    before = snapshot(untouched)
    with pytest.raises((RunError, SettingError)) as error:
        ask()
    assert snapshot(untouched) == before
    assert "\n" not in str(error.value)
    return str(error.value)


def studies(file: Path) -> list[str]:
    with contextlib.closing(sqlite3.connect(file)) as database:
        return sorted(name for (name,) in database.execute("SELECT study_name FROM studies"))


# -- the study that a run has trained ----------------------------------------------------------------------------------


@pytest.mark.parametrize("lock", [True, False])
@pytest.mark.parametrize("killed", [True, False])
@pytest.mark.parametrize("what", ["missing", "empty", "no tables", "no studies", "of another run", "of another tool"])
def test_without_its_study_a_run_is_not_touched(
    small_space: Space, tmp_path: Path, what: str, killed: bool, lock: bool
) -> None:
    """Neither when it was killed before it could count what it had trained."""
    path, file = tmp_path / "run", tmp_path / "run" / "study.db"
    folder = make_run(path, small_space)
    if killed:
        del folder.manifest["counts"]
        folder.write_manifest()
    if not lock:  # as in a copy
        (path / ".lock").unlink()
    file.unlink()
    with contextlib.closing(sqlite3.connect(file)) as database, database:
        match what:
            case "missing":
                file.unlink()
            case "empty":
                assert file.stat().st_size == 0
            case "no tables":
                database.execute("CREATE TABLE bookmarks (url TEXT)")
            case "no studies":
                optuna.storages.RDBStorage(f"sqlite:///{file}")
            case "of another run":
                shutil.copy(make_run(tmp_path / "other", small_space, seed=1).path / "study.db", file)
            case "of another tool":
                optuna.create_study(study_name="lstn-search", storage=f"sqlite:///{file}")
                optuna.create_study(study_name="lstn-search rungs", storage=f"sqlite:///{file}")
    message = refusal(lambda: resume(path, small_space), tmp_path)
    assert message == refusal(lambda: open_run(path), tmp_path)
    assert ("is of another run" if "of another" in what else "holds no study of it") in message
    assert message.endswith("; put the run's own back, or search anew with another --out")


def test_an_older_copy_of_the_study_is_not_gone_on_from(small_space: Space, tmp_path: Path) -> None:
    path = tmp_path / "run"
    folder = make_run(path, small_space, trials=1)
    shutil.copy(path / "study.db", tmp_path / "backup.db")
    study = Study(folder, small_space)
    trained = len(play(study, 2))
    folder.write_manifest(counts={"trained": trained})
    shutil.copy(tmp_path / "backup.db", path / "study.db")
    for ask in (lambda: resume(path, small_space), lambda: open_run(path)):
        assert f"holds {trained - 1} of the {trained} architectures" in refusal(ask, tmp_path)


def test_a_study_of_an_earlier_release_goes_on_and_is_marked(small_space: Space, tmp_path: Path) -> None:
    """Neither its manifest nor the study itself said whose it is."""
    folder = make_run(tmp_path, small_space)
    del folder.manifest["study_begun"]
    folder.write_manifest()
    with contextlib.closing(sqlite3.connect(tmp_path / "study.db")) as database, database:
        assert database.execute("DELETE FROM study_user_attributes WHERE key = 'run'").rowcount == 1
    before = open_run(tmp_path).entries
    resumed = resume(tmp_path, small_space)
    assert Study(resumed, small_space).entries == before
    assert resumed.manifest["study_begun"]
    assert studies(tmp_path / "study.db") == ["lstn-search", "lstn-search rungs"]
    (tmp_path / "study.db").unlink()
    assert "holds no study of it" in refusal(lambda: open_run(tmp_path), tmp_path)


def test_before_anything_was_trained_there_is_no_study_to_miss(small_space: Space, tmp_path: Path) -> None:
    make_folder(tmp_path, make_settings(small_space)).write_manifest(data={"fingerprint": "none"})
    before = snapshot(tmp_path)
    assert open_run(tmp_path).entries == []
    assert snapshot(tmp_path) == before
    assert Study(resume(tmp_path, small_space), small_space).entries == []


def test_reading_changes_nothing(small_space: Space, tmp_path: Path) -> None:
    make_run(tmp_path, small_space)
    before = snapshot(tmp_path)
    assert len(open_run(tmp_path).entries) == TRIALS + len(small_space.seeds)
    assert snapshot(tmp_path) == before


# -- other databases ---------------------------------------------------------------------------------------------------


def test_values_that_no_search_wrote_are_one_line(small_space: Space, tmp_path: Path) -> None:
    make_run(tmp_path / "run", small_space)
    for number, change in enumerate(
        (
            "trial_user_attributes SET value_json = 'no JSON'",
            "trial_user_attributes SET value_json = x'ff00'",
            "trials SET state = 'DONE'",
            "trials SET datetime_start = 'soon'",
        )
    ):
        run = shutil.copytree(tmp_path / "run", tmp_path / str(number))
        with contextlib.closing(sqlite3.connect(run / "study.db")) as database, database:
            database.execute(f"UPDATE {change}")
        said = r"^the study in .+study.db holds what no search wrote \(\w+\); restore it$"
        assert re.match(said, refusal(lambda run=run: open_run(run), run)), change  # type: ignore[misc]


def test_the_storage_is_part_of_what_a_resume_compares(small_space: Space, tmp_path: Path) -> None:
    own, path, elsewhere = tmp_path / "own", tmp_path / "run", tmp_path / "db" / "runs.db"
    elsewhere.parent.mkdir()
    make_run(own, small_space)
    make_run(path, small_space, storage=f"sqlite:///{elsewhere}")
    shutil.copy(elsewhere, tmp_path / "db" / "copy.db")
    message = refusal(lambda: resume(own, small_space, storage=f"sqlite:///{elsewhere}"), tmp_path)
    assert message == f"{own} was made with its study in {own / 'study.db'}, not {elsewhere}; leave --storage out"
    for ask in (resume, lambda path, space, **given: open_run(path, **given)):
        for storage in (f"sqlite:///{tmp_path / 'db' / 'copy.db'}", "sqlite:///study.db", "postgresql://host/db"):
            message = refusal(lambda ask=ask, storage=storage: ask(path, small_space, storage=storage), tmp_path)
            assert f"was made with its study in {elsewhere}, not " in message
            assert message.endswith(f"; give --storage sqlite:///{elsewhere}")
        message = refusal(lambda ask=ask: ask(path, small_space), tmp_path)
        assert message.endswith(f"if you trust it with that, add --storage sqlite:///{elsewhere}")
        ask(path, small_space, storage=f"sqlite:///{elsewhere}")
    elsewhere.unlink()
    assert "holds no study of it" in refusal(
        lambda: resume(path, small_space, storage=f"sqlite:///{elsewhere}"), tmp_path
    )


def test_the_default_by_its_name_is_the_default(small_space: Space, tmp_path: Path) -> None:
    assert make_run(tmp_path / "run", small_space, storage="sqlite:///study.db").manifest["storage"] is None
    for storage in (None, "sqlite:///study.db", f"sqlite:///{tmp_path / 'run' / 'study.db'}"):
        resume(tmp_path / "run", small_space, storage=storage)


def test_a_relative_path_is_below_the_run_folder_from_anywhere(
    small_space: Space, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "there").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    make_run(Path("run"), small_space, storage="sqlite:///my studies.db")
    assert json.loads(Path("run/manifest.json").read_text())["storage"] == "sqlite:///my studies.db"
    monkeypatch.chdir(tmp_path / "there")
    shutil.move(tmp_path / "here" / "run", tmp_path / "moved")
    entries = open_run(tmp_path / "moved").entries
    assert len(entries) == TRIALS + len(small_space.seeds)
    assert Study(resume(tmp_path / "moved", small_space), small_space).entries == entries
    assert open_run(Path("../moved"), storage="sqlite:///my studies.db").entries == entries
    assert list((tmp_path / "here").iterdir()) == list((tmp_path / "there").iterdir()) == []


@pytest.mark.parametrize("name", ODD_NAMES)
def test_a_folder_may_have_any_name(small_space: Space, tmp_path: Path, name: str) -> None:
    """Two runs whose names begin alike have a study each, in the folder; beside it nothing is left."""
    one, other, outside = tmp_path / name, tmp_path / f"{name}2", tmp_path / f"db {name}"
    make_run(one, small_space)
    make_run(other, small_space, seed=1, storage="sqlite:///study%3F2.db" if name == "a?b" else None)
    url = Storage.parse(f"sqlite:///{tmp_path}/x", one).url.set(database=str(outside)).render_as_string()
    make_run(tmp_path / "third", small_space, storage=url)
    assert {path.name for path in tmp_path.iterdir()} == {name, f"{name}2", "third", outside.name}
    expected = [open_run(other).entries, open_run(tmp_path / "third", storage=url).entries]
    assert open_run(one).entries == expected[1] != expected[0]
    assert Study(resume(one, small_space), small_space).entries == expected[1]
    assert (one / "study.db").stat().st_size > 0
    assert (other / "study?2.db").exists() == (name == "a?b")


@pytest.mark.parametrize("name", [b"run \xff", "run ü".encode("latin-1")])
def test_a_folder_may_have_a_name_that_is_no_text(small_space: Space, tmp_path: Path, name: bytes) -> None:
    path = tmp_path / name.decode(errors="surrogateescape")
    make_run(path, small_space)
    assert len(open_run(path).entries) == TRIALS + len(small_space.seeds)
    assert (path / "study.db").exists()


@pytest.mark.parametrize(
    "url",
    [
        *("sqlite://", "sqlite:///", "sqlite:///:memory:", "sqlite:///file::memory:", "sqlite+pysqlite://"),
        *("sqlite:///file:x?mode=memory&uri=true", "sqlite:///x?mode=memory", "sqlite:///file:x?vfs=memdb&uri=true"),
        *("sqlite:///%3Amemory%3A", "sqlite:///x%00y", "sqlite+aiosqlite:///x.db", "sqlite://host/x.db"),
        *("", " ", "study.db", "/tmp/study.db", "nodb://host/x", "postgresql://host:port/x", "postgresql:/host"),
        *("postgresql://me:sec@ret@host/x", "postgresql://me%3Asecret@host/x", "sqlite:///manifest.json"),
        *("sqlite:///pareto.csv", "sqlite:///checkpoints/x.db", "sqlite:///.lock", "sqlite:///./trials.csv"),
    ],
)
def test_what_is_no_database_that_lasts_is_refused_and_nothing_made(
    small_space: Space, tmp_path: Path, url: str
) -> None:
    for resume in (False, True):
        message = refusal(
            lambda resume=resume: RunFolder.create(
                tmp_path / "run", make_settings(small_space), resume=resume, storage=url
            ),
            tmp_path,
        )
        assert message.startswith("--storage")
        assert "secret" not in message and "sec@ret" not in message
    assert list(tmp_path.iterdir()) == []


# -- passwords ---------------------------------------------------------------------------------------------------------

SECRET = "pa/ss wörd%&"
SPELLINGS = [SECRET, "pa%2Fss%20w%C3%B6rd%25%26", "pa/ss w%C3%B6rd%25%26", "pa%2Fss+w%C3%B6rd%25%26"]
URLS = [
    f"postgresql+psycopg2://me:{SPELLINGS[1]}@nowhere.invalid:5432/lstn",
    f"postgresql+psycopg2://nowhere.invalid/lstn?user=me&password={SPELLINGS[1]}",
    f"postgresql+psycopg2://me@nowhere.invalid/lstn?PassWord={SPELLINGS[3]}&sslmode=disable",
    f"mysql+pymysql://me@nowhere.invalid/lstn?passwd={SPELLINGS[1]}",
    f"mssql+pyodbc:///?odbc_connect=SERVER%3Dnowhere.invalid%3BPWD%3D{SPELLINGS[1]}",
]


@pytest.mark.parametrize("url", URLS)
def test_a_password_is_used_and_not_written_down_or_said(small_space: Space, tmp_path: Path, url: str) -> None:
    folder = RunFolder.create(tmp_path / "run", make_settings(small_space), resume=False, storage=url)
    used = folder.storage.url
    assert any(SECRET in str(value) for value in (used.password, *used.query.values()))
    with pytest.raises((RunError, SettingError)) as error:
        Study(folder, small_space)
    folder.release()
    with pytest.raises(RunError, match="add --storage") as reading:
        RunFolder.open(tmp_path / "run").read_study()
    with pytest.raises(RunError) as other:
        RunFolder.open(tmp_path / "run", storage="sqlite:///other.db").read_study()
    words = [str(error.value), str(reading.value), str(other.value), (tmp_path / "run" / "manifest.json").read_text()]
    assert [spelling for spelling in SPELLINGS for text in words if spelling in text] == []
    assert not any("ss w" in text or "rd%" in text for text in words)


@pytest.mark.parametrize("url", URLS)
def test_what_a_driver_says_is_freed_of_passwords(tmp_path: Path, url: str) -> None:
    storage = Storage.parse(url, tmp_path)
    for spelling in SPELLINGS:
        assert storage._without_secrets(f"no: {spelling}, try again") == "no: ***, try again"


def test_the_query_of_an_earlier_manifest_is_not_written_again(small_space: Space, tmp_path: Path) -> None:
    folder = make_run(tmp_path, small_space)
    folder.write_manifest(storage="postgresql://me@host/db?password=secret")
    assert RunFolder.open(tmp_path).manifest["storage"] == "postgresql://me@host/db"


# -- strangers ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["absolute", "upward", "link", "link to a folder", "server"])
def test_a_manifest_alone_opens_no_database_outside_of_its_folder(
    small_space: Space, tmp_path: Path, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    victim, path = tmp_path / "victim", tmp_path / "run"
    victim.mkdir()
    optuna.storages.RDBStorage(f"sqlite:///{victim / 'x.db'}")
    make_run(path, small_space)
    match how:
        case "absolute":
            storage = f"sqlite:///{victim / 'x.db'}"
        case "upward":
            storage = "sqlite:///../victim/x.db"
        case "link":
            storage = "sqlite:///mine.db"
            (path / "mine.db").symlink_to(victim / "x.db")
        case "link to a folder":
            storage = "sqlite:///mine/x.db"
            (path / "mine").symlink_to(victim)
        case _:
            storage = "postgresql+psycopg2://root@127.0.0.1:1/lstn"
    manifest = json.loads((path / "manifest.json").read_text()) | {"storage": storage}
    (path / "manifest.json").write_text(json.dumps(manifest))
    monkeypatch.setattr(Storage, "read", lambda *given: pytest.fail("opened"))
    for ask in (lambda: open_run(path), lambda: resume(path, small_space)):
        message = refusal(ask, tmp_path)
        assert "keeps its study outside of the folder; if you trust it with that, add --storage" in message


@pytest.mark.parametrize(
    "change",
    [
        {"id": 3},
        {"id": None},
        {"counts": []},
        {"counts": {"trained": "7"}},
        {"storage": 7},
        {"checkpoints_in": 3},
        {"storage": "x"},
    ],
    ids=str,
)
def test_a_manifest_of_another_kind_is_one_line(small_space: Space, tmp_path: Path, change: dict[str, object]) -> None:
    make_run(tmp_path, small_space)
    manifest = json.loads((tmp_path / "manifest.json").read_text()) | change
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    assert "it is not a search's manifest" in refusal(lambda: open_run(tmp_path), tmp_path)


# -- the commands ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "words",
    [
        *(["report", "RUN"], ["export", "RUN", "--out", "OUT"], ["verify", "RUN"], ["fidelity", "RUN"]),
        *(["show", "RUN"], ["show", "RUN:best"], ["eval", "--arch", "RUN:best"]),
    ],
    ids=" ".join,
)
def test_every_command_that_opens_a_run_looks_first_and_asks_for_the_storage(
    small_space: Space,
    tmp_path: Path,
    words: list[str],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = tmp_path / "run"
    make_run(path, small_space, storage=f"sqlite:///{tmp_path / 'x.db'}")
    words = [word.replace("RUN", str(path)).replace("OUT", str(tmp_path / "out")) for word in words]

    def line(*more: str) -> str:
        before = snapshot(tmp_path)
        monkeypatch.setattr(sys, "argv", ["cli.py", *words, *more])
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capsys.readouterr()
        assert (ended.value.code, out) == (2, "")
        assert snapshot(tmp_path) == before
        assert err.startswith("error: ") and len(err.splitlines()) == 1
        return err

    assert f"add --storage sqlite:///{tmp_path / 'x.db'}" in line()
    assert f"was made with its study in {tmp_path / 'x.db'}, not" in line("--storage", "sqlite:///y.db")
    (tmp_path / "x.db").unlink()
    assert "holds no study of it" in line("--storage", f"sqlite:///{tmp_path / 'x.db'}")
