"""A hundred hostile artefacts, and what the commands make of them: python benchmarks/artefacts.py [--out FILE]

A stranger's run folder, checkpoint, study, weights or data set: pickles that would run something, links that lead
elsewhere, files that never end, databases with triggers, manifests that name what is not theirs. Each is opened in a
process of its own (a fork), beside a folder that is none of the run's. What must not happen:

ran        the file that each piece of code would make
changed    anything outside of the run folder, or in it by a command that only reads
signal     a process that dies of one
traceback  anything but one line of ours, or a right answer
"""

import argparse
import contextlib
import dataclasses
import itertools
import json
import os
import pickle
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import abuse
import numpy as np
import torch

from lstn_search.data import cifar10
from lstn_search.data.cache import cached_images
from lstn_search.data.pickles import read_pickle
from lstn_search.errors import LstnError
from lstn_search.jobs.loop import Watcher
from lstn_search.nets.weights import load_weights
from lstn_search.runs.folder import MANIFEST, RunFolder, checkpoint_file
from lstn_search.runs.links import OURS
from lstn_search.spec.space import load_space
from lstn_search.study.search import Search

OUTSIDE = "outside"
"""The folder beside the run that is not the run's."""
RAN = "ran"
"""What each piece of code would make, there."""
EXPORT = ("export", "run", "--pick", "light", "--out", "out")
READERS: dict[str, tuple[str, ...]] = {
    "export": EXPORT,
    "report": ("report", "run", "--out", "out"),
    "verify": ("verify", "run", "--against", "nobody"),
}
_DOC = (__doc__ or "").splitlines()[2:]


class Made:
    """What unpickles by calling something."""

    def __init__(self, function: Any, *args: Any, state: Any = None) -> None:
        self.made = (function, args) if state is None else (function, args, state)

    def __reduce__(self) -> Any:
        return self.made


def gadgets(folder: Path) -> dict[str, Any]:
    """Objects that do something when they are unpickled by whoever believes them."""
    file = folder / OUTSIDE / RAN
    code = f"open({str(file)!r}, 'w').close()"
    array = (np.zeros(1).__reduce__()[0], np.zeros(1).__reduce__()[1])
    return {
        "os.system": Made(os.system, f"touch {file}"),
        "eval": Made(eval, code),
        "exec": Made(exec, code),
        "subprocess": Made(subprocess.check_call, ["touch", str(file)]),
        "Path.touch": Made(Path.touch, file),
        "getattr": Made(getattr, Made(__import__, "os"), "abort"),
        "a pointer as an array": Made(np.ndarray, (1,), np.dtype("O"), b"A" * 8),
        "an array whose state is one": Made(array[0], *array[1], state=(1, (1,), np.dtype("O"), False, b"A" * 8)),
        "torch.load": Made(torch.load, str(file)),
    }


def write_pickle(path: Path, value: Any) -> None:
    """As pickles are."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(pickle.dumps(value, 2))


def write_torch(path: Path, value: Any) -> None:
    """As torch.save writes it today."""
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(value, path)


def write_legacy(path: Path, value: Any) -> None:
    """As torch.save wrote it before."""
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(value, path, _use_new_zipfile_serialization=False)


def write_npy(path: Path, value: Any) -> None:
    """As numpy keeps arrays of objects."""
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, np.array([value, value], dtype=object), allow_pickle=True)


def read_cifar(folder: Path) -> None:
    """A data set of batches."""
    listing = cifar10.read(folder / "data", split_seed=0, cache_dir=folder / "cache")
    list(listing.decode(32))


def read_any(folder: Path) -> None:
    """Any pickle, as a reader of data sets takes it; its callers name the file."""
    try:
        read_pickle((folder / "a.pkl").read_bytes())
    except ValueError as error:
        raise LstnError(str(error)) from None


def read_cache(folder: Path) -> None:
    """An entry of the cache: what is no such thing is made again."""
    rows = [np.zeros((8, 8, 3), np.uint8)] * 2
    for cached in range(2):  # the first time to see where it lies
        entry = cached_images("x", name="x", num_images=2, image_size=8, decode=lambda: iter(rows), cache_dir=folder)
        assert entry.images_NHWC.tolist() == np.stack(rows).tolist()
        (made,) = (folder / "images").glob("x-*px-????????????????????????")
        if not cached:
            shutil.copy(folder / "evil.npy", made / "images.npy")


def resume(folder: Path) -> None:
    """All of a resumed search but the training."""
    run = RunFolder.open(folder / "run")
    run = RunFolder.create(folder / "run", run.settings, resume=True)
    try:
        run.write_manifest(checkpoints_in=None)
        search = Search(run, load_space("lstn"), trials=1, watcher=Watcher())
        search.next_job()
        search.finish(0.0)
    finally:
        run.release()


def of_pickles(run: Path) -> Iterator[abuse.Case]:
    """Code in each file that holds pickles, or might."""
    arch = load_space("lstn").seeds["light"]

    def as_checkpoint(folder: Path, name: str, write: Callable[[Path, Any], None]) -> None:
        shutil.copytree(run, folder / "run")
        for rung in range(5):
            value = gadgets(folder)[name]
            write(checkpoint_file(folder / "run", arch, rung), {"arch": arch.to_json(), "trained": value})

    def beside(folder: Path, file: str, name: str, write: Callable[[Path, Any], None]) -> None:
        write(folder / file, {"label_names": ["a"], "labels": gadgets(folder)[name], "data": gadgets(folder)[name]})

    for name in gadgets(Path()):
        for write in (write_pickle, write_torch, write_legacy):
            what = f"{name} by {write.__name__} as a checkpoint"
            yield abuse.Case(kind="pickles", what=what, args=EXPORT,
                             prepare=lambda f, n=name, w=write: as_checkpoint(f, n, w))  # fmt: skip
        calls: dict[str, tuple[str, Callable[[Path, Any], None], Callable[[Path], object]]] = {
            "CIFAR-10's names": ("data/cifar-10-batches-py/batches.meta", write_pickle, read_cifar),
            "any pickle": ("a.pkl", write_pickle, read_any),
            "weights": ("w.safetensors", write_torch, lambda folder: load_weights(folder / "w.safetensors")),
            "images of the cache": ("evil.npy", write_npy, read_cache),
        }
        for place, (file, write, call) in calls.items():
            yield abuse.Case(kind="pickles", what=f"{name} as {place}", call=call, may_pass=True,
                             prepare=lambda f, n=name, w=write, a=file: beside(f, a, n, w))  # fmt: skip


def of_links(run: Path) -> Iterator[abuse.Case]:
    """Each of our names as a link to a folder or a file elsewhere, and back."""

    def prepare(folder: Path, name: str, target: str) -> None:
        shutil.copytree(run, folder / "run")
        path = folder / "run" / name
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        path.symlink_to(folder / OUTSIDE / target if target else path)

    for name, target in itertools.product(OURS, ("a folder", "a file", "nothing", "")):
        what = f"{name} -> {target or 'itself'}"
        yield abuse.Case(kind="links", what=what, call=resume, prepare=lambda f, n=name, t=target: prepare(f, n, t))


def of_files(run: Path) -> Iterator[abuse.Case]:
    """Files without end, cut files, and archives of many zeros, in each place."""

    def endless(path: Path) -> None:
        with path.open("wb") as file:
            file.truncate(2**42)

    def bomb(path: Path) -> None:
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("archive/data.pkl", bytes(2**26))

    def whole(path: Path) -> bytes:
        return path.read_bytes() if path.exists() else b"PK\x03\x04" + bytes(100)

    writers: dict[str, Callable[[Path], object]] = {
        "4 TB of zeros": endless,
        "an archive of zeros": bomb,
        "the first half": lambda path: path.write_bytes(whole(path)[: len(whole(path)) // 2]),
        "the second half": lambda path: path.write_bytes(whole(path)[len(whole(path)) // 2 :]),
        "nested": lambda path: path.write_bytes(b"[" * 10**6),
        "a pipe": lambda path: (path.unlink(missing_ok=True), os.mkfifo(path)),
    }
    arch = load_space("lstn").seeds["light"]
    places = {
        MANIFEST: READERS["report"],
        "study.db": READERS["export"],
        "verify.json": READERS["report"],
        "checkpoints/light": EXPORT,
    }
    for (place, args), (what, write) in itertools.product(places.items(), writers.items()):

        def prepare(folder: Path, place: str = place, write: Callable[[Path], object] = write) -> None:
            shutil.copytree(run, folder / "run")
            paths = [folder / "run" / place]
            if place.startswith("checkpoints"):
                paths = [checkpoint_file(folder / "run", arch, rung) for rung in range(5)]
            for path in paths:
                path.parent.mkdir(exist_ok=True)
                write(path)

        yield abuse.Case(kind="files", what=f"{what} as {place}", args=args, prepare=prepare, may_pass=True)


def of_studies(run: Path) -> Iterator[abuse.Case]:
    """Databases that do something when they are read or written, and such of others."""
    scripts = {
        "a trigger": "CREATE TRIGGER t AFTER INSERT ON trials BEGIN DELETE FROM trial_user_attributes; END",
        "a trigger that recurses": "CREATE TRIGGER t AFTER UPDATE ON trials BEGIN UPDATE trials SET number = 1; END",
        "a view for a table": "ALTER TABLE studies RENAME TO s; CREATE VIEW studies AS SELECT * FROM s",
        "a view without end": "ALTER TABLE studies RENAME TO s; CREATE VIEW studies AS WITH RECURSIVE r(study_id, "
        "study_name) AS (SELECT 1, 'lstn-search' UNION ALL SELECT study_id + 1, study_name FROM r LIMIT 100000) "
        "SELECT * FROM r",
        "no columns": "DROP TABLE trials; CREATE TABLE trials (x)",
        "no table": "DROP TABLE trial_user_attributes",
        "another version": "UPDATE alembic_version SET version_num = 'v9.0.0'",
        "another schema": "UPDATE version_info SET schema_version = 99",
        "a number for a name": "UPDATE studies SET study_name = study_id",
        "bytes for a value": "UPDATE trial_user_attributes SET value_json = x'ff00'",
        "a value without end": "UPDATE trial_user_attributes SET value_json = zeroblob(30000000) WHERE rowid = 1",
        "a state of none": "UPDATE trials SET state = 'DONE'",
        "a date of none": "UPDATE trials SET datetime_start = 'soon'",
        "other settings": "PRAGMA journal_mode = WAL; PRAGMA user_version = 9",
        "a function for a default": "CREATE TABLE x (y DEFAULT (load_extension('x')))",
        "somebody else's": "DROP TABLE studies; CREATE TABLE studies (id, text)",
    }

    def prepare(folder: Path, script: str) -> None:
        shutil.copytree(run, folder / "run")
        with contextlib.closing(sqlite3.connect(folder / "run" / "study.db")) as database:
            database.executescript("PRAGMA legacy_alter_table = ON; " + script)

    for what, script in scripts.items():
        yield abuse.Case(kind="studies", what=f"{what}, read", args=EXPORT, prepare=lambda f, s=script: prepare(f, s))
        yield abuse.Case(kind="studies", what=f"{what}, resumed", call=resume, may_pass=True,
                         prepare=lambda f, s=script: prepare(f, s))  # fmt: skip


def of_manifests(run: Path) -> Iterator[abuse.Case]:
    """Manifests that name what is not the run's."""

    def prepare(folder: Path, changes: dict[str, Any]) -> None:
        shutil.copytree(run, folder / "run")
        text = json.dumps(json.loads((run / MANIFEST).read_text()) | changes)
        (folder / "run" / MANIFEST).write_text(text.replace("OUTSIDE", str(folder / OUTSIDE)))

    changes: list[dict[str, Any]] = [
        *({"storage": f"sqlite:///{path}"} for path in ("/OUTSIDE/a.db", "../outside/a.db", "manifest.json", "best/x")),
        *({"storage": f"{name}://me@127.0.0.1:1/x"} for name in ("postgresql", "mysql", "mssql", "oracle", "nothing")),
        *({"storage": text} for text in ("sqlite://", "sqlite:///file:/OUTSIDE/a.db?uri=true", "", "x" * 5000, "\x1b")),
        *({"checkpoints_in": path} for path in ("OUTSIDE", "/dev", "/proc/self", "../outside", "\0", "//host/share")),
        {"id": "../../outside/a file"},
        {"id": "\x1b[31m"},
    ]
    for change in changes:
        for name in ("export", "verify"):
            yield abuse.Case(kind="manifests", what=f"{name} {str(change)[:60]}", args=READERS[name], may_pass=True,
                             prepare=lambda f, c=change: prepare(f, c))  # fmt: skip


def all_cases(run: Path) -> list[abuse.Case]:
    """Every artefact there is."""
    return [*of_pickles(run), *of_links(run), *of_files(run), *of_studies(run), *of_manifests(run)]


# -- opening them ------------------------------------------------------------------------------------------------------


def open_case(case: abuse.Case, base: Path) -> list[str]:
    """What went wrong when a process of its own opened one; a line each."""
    folder, outside = base / "case", base / "case" / OUTSIDE
    (outside / "a folder").mkdir(parents=True)
    for file in ("a file", "a folder/a1b2-0.pt", "a folder/.manifest.json.01234567"):
        (outside / file).write_text("not the run's")
    shutil.copy(base / "made-up" / "study.db", outside / "a.db")
    before = abuse._files(outside)
    process = os.fork()
    if process == 0:
        try:
            wrong = abuse.attempt(dataclasses.replace(case, may_pass=True), folder)
        except BaseException as error:
            wrong = [f"traceback: of this script: {error!r}"]
        (base / "said").write_text("\n".join(line for line in wrong if not _is_its_work(case, line)))
        os._exit(0)
    _, status = os.waitpid(process, 0)
    said = (base / "said").read_text().splitlines() if (base / "said").exists() else []
    if os.WIFSIGNALED(status):
        said.append(f"signal: {os.WTERMSIG(status)}")
    if (outside / RAN).exists():
        said.append("ran: its code")
    if abuse._files(outside) != before:
        said.append(f"changed: {sorted(set(abuse._files(outside)) ^ set(before))[:3]} outside of the run")
    (base / "said").unlink(missing_ok=True)
    shutil.rmtree(folder)
    return said


def _is_its_work(case: abuse.Case, line: str) -> bool:
    """Whether a file is new or another one because that is what a command is there for."""
    writes = case.call is not None or "--out" in case.args
    return writes and line.startswith("touched: ")


def run_cases(cases: list[abuse.Case], base: Path) -> tuple[dict[str, int], list[str]]:
    """How many artefacts there were of each kind, and what went wrong, with its artefact."""
    wrong = []
    for case in cases:
        lines = [f"{line} | {case.kind}: {case.what}" for line in open_case(case, base)]
        print(*(line.encode("unicode_escape").decode() for line in lines), sep="\n", end="\n" * bool(lines), flush=True)
        wrong += lines
    return dict(Counter(case.kind for case in cases)), wrong


def _main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="kinds and artefacts that hold this text")
    parser.add_argument("--out", type=Path, help="also write it down in this file")
    given = parser.parse_args()
    torch.set_num_threads(1)  # a fork has no other threads
    with tempfile.TemporaryDirectory(prefix="lstn-artefacts-") as folder:
        base = Path(folder).resolve()
        os.environ["LSTN_CACHE_DIR"] = str(base / "cache")
        cases = [
            case for case in all_cases(abuse.make_run(base / "made-up")) if given.only in f"{case.kind}: {case.what}"
        ]
        kinds, wrong = run_cases(cases, base)
    counted = Counter(line.partition(":")[0] for line in wrong)
    names = ("ran", "changed", "signal", "traceback", "hang", "obeyed", "touched")
    rows = [f"| {name} | {num} |" for name, num in kinds.items()] + [
        f"| *{name}* | {counted[name]} |" for name in names
    ]
    page = "\n".join(["# Hostile artefacts", "", "    python benchmarks/artefacts.py", "", *_DOC, "",
                      "| kind or outcome | number |", "|---|---|", *rows, ""])  # fmt: skip
    print(page)
    if given.out is not None:
        given.out.write_text(page)
    sys.exit(bool(wrong))


if __name__ == "__main__":
    _main()
