"""An export's folder is the old one or the new one, whenever a process is killed, and others' files stay."""

import contextlib
import itertools
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hostile import snapshot

from lstn_search.errors import RunError
from lstn_search.shipping import place
from lstn_search.shipping.place import RECORD, check_place, put_files

NAMES = ("model.py", "weights.pt", "arch.json", "classifier.pt")


def files(mark: str, *names: str) -> dict[str, bytes]:
    return {name: f"{mark} {name}".encode() for name in names or NAMES}


def contents(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir() if file.name != RECORD}


def refusal(folder: Path, untouched: Path, *, force: bool = False) -> str:
    before = snapshot(untouched)
    with pytest.raises(RunError) as error:
        put_files(folder, files("new"), force=force)
    assert snapshot(untouched) == before
    return str(error.value)


@pytest.fixture(params=["in one step", "file by file"])
def however(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """As the system can, and as one does that cannot exchange two folders."""
    if "file" in request.param:
        monkeypatch.setattr(place, "_exchange", lambda one, other: False)
    return str(request.param)


# -- whole -------------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="exchanges folders, and forks")
@pytest.mark.parametrize("names", [NAMES, NAMES[:3]], ids=len)
def test_killed_at_any_instant_it_is_the_old_folder_or_the_new_one(
    tmp_path: Path, names: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "fsync", lambda file: None)  # the power stays on, and the disk is not waited for
    out, rng = tmp_path / "best", random.Random(0)
    number = 0
    put_files(out, files("0", *names))
    seen = set()
    for _ in range(40):
        done, tell = os.pipe()
        writer = os.fork()
        if writer == 0:
            with contextlib.suppress(BaseException):
                for following in itertools.count(number + 1):
                    put_files(out, files(str(following), *names))
                    os.write(tell, b".")
            os._exit(1)
        os.close(tell)
        for _ in range(rng.randrange(3)):  # however slow the machine is, some are written
            os.read(done, 1)
        time.sleep(rng.random() / 100)
        os.kill(writer, signal.SIGKILL)
        os.close(done)
        assert os.waitstatus_to_exitcode(os.waitpid(writer, 0)[1]) == -signal.SIGKILL, "it ended by itself"
        found = contents(out)
        number = max(number, int(found["model.py"].split()[0]))
        assert found == files(str(number), *names)
        seen.add(number)
        check_place(out)  # is still known as ours
    assert len(seen) > 3


def test_where_folders_cannot_change_places_what_is_not_complete_cannot_be_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed before each of its steps in turn."""
    monkeypatch.setattr(os, "fsync", lambda file: None)
    monkeypatch.setattr(place, "_exchange", lambda one, other: False)
    write, unlink = place.write_atomically, Path.unlink
    left = 0

    class Killed(BaseException):
        pass

    def step() -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise Killed

    def counted_write(path: Path, content: bytes) -> None:
        if path.parent == out:
            step()
        write(path, content)

    def counted_unlink(path: Path, missing_ok: bool = False) -> None:
        if path.parent == out:
            step()
        unlink(path, missing_ok=missing_ok)

    monkeypatch.setattr(place, "write_atomically", counted_write)
    monkeypatch.setattr(Path, "unlink", counted_unlink)
    kinds = []
    for steps in range(20):
        out, left = tmp_path / f"{steps}", 10**9
        put_files(out, files("old"))
        left = steps
        with contextlib.suppress(Killed):
            put_files(out, files("new", *NAMES[:3]))
        left = 10**9
        found = contents(out)
        kinds.append(
            "old" if found == files("old") else "new" if found == files("new", *NAMES[:3]) else "model.py" in found
        )
    assert set(kinds) == {"old", False, "new"}
    assert kinds == sorted(kinds, key=lambda kind: ("old", False, "new").index(kind))


def test_what_was_exported_before_is_replaced_whatever_its_files_were(tmp_path: Path, however: str) -> None:
    out = tmp_path / "a" / "out"
    put_files(out, files("eval", *NAMES, "report.json"))
    out.chmod(0o750)
    put_files(out, files("new", *NAMES[:3]))
    assert contents(out) == files("new", *NAMES[:3])
    assert out.stat().st_mode & 0o777 == 0o750
    assert list(out.parent.iterdir()) == [out]


def test_an_empty_folder_is_filled_and_a_link_is_followed_to_what_it_names(tmp_path: Path, however: str) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "out").symlink_to("real")
    for mark in ("one", "two"):
        put_files(tmp_path / "out", files(mark))
        assert (tmp_path / "out").is_symlink()
        assert contents(tmp_path / "real") == files(mark)
    assert {path.name for path in tmp_path.iterdir()} == {"real", "out"}


def test_who_works_in_the_folder_stays_in_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for mark in ("one", "two"):
        put_files(Path(), files(mark))
        assert contents(Path()) == files(mark)


# -- others' files -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "what",
    [
        *("thesis.tex", "a folder", "model.py", "weights.pt", "changed weights", "changed code", "a link", "a pipe"),
        *("a record of nothing", "a record of another", "no record", "a record too deep"),
    ],
)
def test_what_no_export_wrote_is_replaced_only_by_force(tmp_path: Path, however: str, what: str) -> None:
    out, outside = tmp_path / "out", tmp_path / "outside"
    outside.write_text("precious")
    put_files(out, files("old"))
    match what:
        case "a folder":
            (out / "notes").mkdir()
            (out / "notes" / "thesis.tex").write_text("mine")
        case "changed weights":
            (out / "weights.pt").write_text("mine")
        case "changed code":
            (out / "model.py").write_text("mine")
        case "a link":
            (out / "weights.pt").unlink()
            (out / "weights.pt").symlink_to(outside)
        case "a pipe":
            (out / "weights.pt").unlink()
            os.mkfifo(out / "weights.pt")
        case "a record of nothing":
            (out / RECORD).write_text("{}")
        case "a record of another":
            (out / RECORD).write_text('{"model.py": null, "weights.pt": ["x"], "../outside": 3}')
        case "a record too deep":
            (out / RECORD).write_text("[" * 100_000)
        case "no record":
            (out / RECORD).unlink()
        case _:
            for file in out.iterdir():
                file.unlink()
            (out / what).write_text("mine")
    message = refusal(out, tmp_path)
    assert "holds what no export wrote (" in message and "add --force" in message and "\n" not in message
    put_files(out, files("new"), force=True)
    found = snapshot(out)
    assert {name: (out / name).read_bytes() for name in NAMES} == files("new")
    assert set(found) - {*NAMES, RECORD} == (
        {"thesis.tex"} if what == "thesis.tex" else {"notes", "notes/thesis.tex"} if what == "a folder" else set()
    )
    assert outside.read_text() == "precious"
    assert {path.name for path in tmp_path.iterdir()} == {"out", "outside"}


def test_a_record_does_not_reach_out_of_the_folder(tmp_path: Path, however: str) -> None:
    """A stranger's record names a file elsewhere, and its right hash."""
    import hashlib
    import json

    (tmp_path / "outside").write_text("precious")
    put_files(tmp_path / "out", files("old"))
    record = json.loads((tmp_path / "out" / RECORD).read_text())
    record |= {"../outside": hashlib.sha256(b"precious").hexdigest()}
    (tmp_path / "out" / RECORD).write_text(json.dumps(record))
    put_files(tmp_path / "out", files("new"))
    assert contents(tmp_path / "out") == files("new")
    assert (tmp_path / "outside").read_text() == "precious"


def test_what_python_and_file_managers_leave_is_no_obstacle(tmp_path: Path, however: str) -> None:
    put_files(tmp_path / "out", files("old"))
    (tmp_path / "out" / "__pycache__").mkdir()
    (tmp_path / "out" / "__pycache__" / "model.pyc").touch()
    (tmp_path / "out" / ".DS_Store").touch()
    put_files(tmp_path / "out", files("new"))
    assert {name: (tmp_path / "out" / name).read_bytes() for name in NAMES} == files("new")
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize("force", [True, False])
@pytest.mark.parametrize("what", ["a file", "below a file", "model.py is a folder"])
def test_what_cannot_be_written_is_one_line_and_stays(tmp_path: Path, force: bool, what: str) -> None:
    out = tmp_path / "out"
    if what == "model.py is a folder":
        put_files(out, files("old"))
        (out / "model.py").unlink()
        (out / "model.py").mkdir()
    else:
        out.write_text("mine")
        out = out / "below" if "below" in what else out
    message = refusal(out, tmp_path, force=force)
    assert "\n" not in message
    assert "cannot be written (" in message or (not force and "no export wrote" in message)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="a mount point of Linux")
def test_a_mount_point_is_written_in_its_place(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "tmpfs", str(tmp_path / "out")], capture_output=True).returncode:
        pytest.skip("may not mount")
    try:
        for mark in ("one", "two"):
            put_files(tmp_path / "out", files(mark))
            assert contents(tmp_path / "out") == files(mark)
        assert [path.name for path in tmp_path.iterdir()] == ["out"]
    finally:
        subprocess.run(["umount", str(tmp_path / "out")], check=True)
