"""Bad input by the thousand, and what the commands make of it: python benchmarks/abuse.py [--seed 0] [--num N]

A case is a command line, perhaps beside files that no version of this package wrote, or one reader of such a file. It
runs in this process, in a folder of its own. What must not happen:

traceback   anything but one line of ours, `error: ...`, and exit code 2
hang        more than 60 seconds
obeyed      a control character of the input on the terminal
touched     a file that is new, gone or another one afterwards

Nothing is trained: every command line holds, beside what is tried, a mistake that ends it. Prints a line a failure and
a table of how many cases there were of each kind.
"""

import argparse
import contextlib
import copy
import dataclasses
import inspect
import io
import itertools
import json
import os
import random
import shutil
import signal
import sqlite3
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any, get_args

import torch
import torchvision  # noqa: F401  (before a clock is set: it takes seconds)
from typer.models import OptionInfo

from lstn_search.cli import app, main
from lstn_search.errors import LstnError
from lstn_search.nets.localizer import Localizer
from lstn_search.nets.weights import load_weights
from lstn_search.runs.folder import MANIFEST, RunFolder, checkpoint_file
from lstn_search.spec.fields import option_name
from lstn_search.spec.reading import read_as
from lstn_search.spec.results import References, TrialResult
from lstn_search.spec.settings import SearchSettings
from lstn_search.spec.space import load_space, space_folder
from lstn_search.spec.space_file import read_toml
from lstn_search.spec.task import Task
from lstn_search.study.study import Study
from lstn_search.training.evaluation import Evaluation
from lstn_search.training.memo import remembered
from lstn_search.verification.result import read_verification

SECONDS = 60
MANY = 400
ESCAPE = "\x1b[31mred"
NUMBERS = ("0", "-1", "1.5", "x", "nan", "-inf", "9" * 400, "9" * 5000, "1e400", ESCAPE, "", "0x10", "1,2")
TEXTS = ("", "x", ESCAPE, "=1+1", "../../x", "a" * 300, "a" * 5000, "\u202eabc", "[/red]", "%s{0}", "\udce9", "a\nb")
VALUES = (None, True, -1, 0.5, 10**400, "x", ESCAPE, "../../x", [], {}, [[]], float("nan"), float("inf"))
NAMES = (
    *("t7", "7", "best", "knee", "none", "control", "oracle", "max-gflops=1", "BEST", "T7", "../../x", "/etc/x", "a/b"),
    *("=1+1", "+1", "-1", "@x", "\uff1d1", ".hidden", "~x", " x", "x ", "x.", "", "a\\b", "a:b", "a*b", "a?b", "a|b"),
    *(ESCAPE, "a\tb", "a\nb", "a\x00b", "\u202eabc", "a\u200bb", "a\u2028b", "a" * 101, "é" * 51, "$x$", "a<b", '"'),
)
CONTENTS: dict[str, bytes] = {
    "empty": b"",
    "zeros": bytes(1000),
    "no text": b"\xff\xfe\x00",
    "deep lists": b"[" * 100_000,
    "deep tables": b'{"a":' * 100_000,
    "deep TOML": b"a = " + b"[" * 100_000,
    "a long key": b".".join([b"a"] * 100_000) + b" = 1",
    "a number": b"9" * 5000,
    "NaN": b"NaN",
    "half": b'{"version": 1, "lay',
    "a list": b"[1, 2]",
    "a mark": b"\xef\xbb\xbf{}",
}

Prepare = Callable[[Path], object]


@dataclasses.dataclass(kw_only=True, frozen=True)
class Case:
    """One thing that is tried; `args` in a folder that was prepared, or `call` on it."""

    kind: str
    what: str
    args: tuple[str, ...] = ()
    prepare: Prepare = lambda folder: None
    call: Prepare | None = None
    may_pass: bool = False
    """Whether some of its kind are right: then exit code 0, or no error at all, is fine too."""


class Hang(BaseException):
    """Raised by the clock."""


# -- the cases ---------------------------------------------------------------------------------------------------------

BASES: dict[str, tuple[str, ...]] = {
    "search": ("--dataset", "glyphs", "--budget-gflops", "0.00001"),
    "eval": ("--arch", "lstn", "--dataset", "glyphs", "--trial-size", "1"),
    "show": ("--arch", "lstn", "--dataset", "glyphs", "--trial-size", "1"),
    "verify": ("nowhere",),
    "fidelity": ("nowhere",),
    "report": ("nowhere",),
    "export": ("nowhere", "--out", "x"),
    "cost": ("--arch", "nowhere"),
    "download": ("nowhere", "--data-dir", "x"),
}
"""A mistake of each command that ends it after its options were checked."""


def of_options() -> Iterator[Case]:
    """Every option of every command, with what it cannot be."""
    for command in app.registered_commands:
        assert command.name is not None and command.callback is not None
        for name, parameter in inspect.signature(command.callback).parameters.items():
            kind, *known = get_args(parameter.annotation) or (None,)
            if not known or not isinstance(known[0], OptionInfo) or kind is bool:
                continue
            word = (known[0].param_decls or (option_name(name),))[0]
            is_number = bool({int, float} & {kind, *get_args(kind)})
            for value in NUMBERS if is_number else TEXTS:
                if (word, value) == ("--budget-gflops", "1.5"):
                    continue  # that is one
                what = f"{command.name} {word} {value[:40]!r}"
                yield Case(kind="options", what=what, args=(command.name, *BASES[command.name], word, value))
    for name, value in itertools.product(("cost", "check", "show"), NUMBERS):
        args = ("cost", "--arch", "lstn") if name == "cost" else ("space", name, "lstn")
        yield Case(kind="options", what=f"{name} --image-size {value[:40]!r}", args=(*args, "--image-size", value))
    for text in TEXTS:
        for args in (("cost", "--arch", text), ("space", "check", text), ("space", "show", text), (text,)):
            yield Case(kind="options", what=repr(args)[:60], args=args)
        yield Case(
            kind="options", what=f"dataset {text[:40]!r}", args=("search", "--dataset", text, *BASES["search"][2:])
        )


def mutations(data: Any, values: tuple[Any, ...] = VALUES) -> Iterator[tuple[str, Any]]:
    """The data with one of its parts taken out, or something else in its place."""

    def places(part: Any, path: tuple[Any, ...]) -> Iterator[tuple[Any, ...]]:
        for key in part if isinstance(part, dict) else range(len(part)) if isinstance(part, list) else ():
            yield (*path, key)
            yield from places(part[key], (*path, key))

    for path in places(data, ()):
        for value in ("gone", *values):
            changed = copy.deepcopy(data)
            *above, last = path
            part = changed
            for key in above:
                part = part[key]
            if value == "gone":
                del part[last]
            else:
                part[last] = value
            yield f"{'.'.join(map(str, path))} = {repr(value)[:30]}", changed


def toml(value: Any) -> str:
    """A value as TOML writes it, on one line."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key)} = {toml(inside)}" for key, inside in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",\n".join(map(toml, value)) + "]"
    return json.dumps(value) if isinstance(value, str | bool) else str(value)


def write_toml(path: Path, tables: dict[str, Any]) -> None:
    """Tables as a TOML file."""
    path.write_text("".join(f"{json.dumps(key)} = {toml(value)}\n" for key, value in tables.items()))


def of_spaces() -> Iterator[Case]:
    """Space files: a list, a table or a seed point with a mistake, and names."""
    tables = read_toml(space_folder() / "lstn.toml")
    values = tuple(value for value in VALUES if value is not None)
    for what, changed in mutations(tables, values):
        yield Case(kind="spaces", what=what, args=("space", "check", "mine.toml"), may_pass=True,
                   prepare=lambda folder, t=changed: write_toml(folder / "mine.toml", t))  # fmt: skip
    for name in NAMES:
        seeds = tables["seeds"] | {name: tables["seeds"]["light"]}
        yield Case(kind="names", what=f"seed {name[:40]!r}", args=("space", "check", "mine.toml"),
                   prepare=lambda folder, s=seeds: write_toml(folder / "mine.toml", tables | {"seeds": s}))  # fmt: skip
        if name and not set(name) & set("/\x00") and len(name.encode()) < 250 and name.strip(".t7") not in ("", "best"):
            args = ("space", "check", f"./{name}.toml")
            yield Case(kind="names", what=f"space {name[:40]!r}", args=args, may_pass=True,
                       prepare=lambda folder, n=name: write_toml(folder / f"{n}.toml", tables))  # fmt: skip


def of_archs() -> Iterator[Case]:
    """Architectures in JSON."""
    for what, changed in mutations(load_space("lstn").seeds["places"].to_dict()):
        yield Case(kind="archs", what=what, args=("cost", "--arch", "a.json"), may_pass=True,
                   prepare=lambda folder, c=changed: (folder / "a.json").write_text(json.dumps(c)))  # fmt: skip


def of_manifests(run: Path) -> Iterator[Case]:
    """Manifests, asked for an architecture that is not there."""
    manifest = json.loads((run / MANIFEST).read_text())
    manifest["references"] = {name: rows[:1] for name, rows in manifest["references"].items()}
    for what, changed in mutations(manifest):
        yield Case(kind="manifests", what=what, args=("export", "run", "--pick", "t999", "--out", "out"),
                   prepare=lambda folder, c=changed: _with_manifest(run, folder, c))  # fmt: skip
    newer = [{"recipe": 99}, {"versions": manifest["versions"] | {"lstn-search": "99.0.0"}}]
    for change in newer:
        yield Case(kind="manifests", what=f"newer {change}", args=("report", "run"),
                   prepare=lambda folder, c=manifest | change: _with_manifest(run, folder, c))  # fmt: skip


def _with_manifest(run: Path, folder: Path, manifest: Any) -> None:
    shutil.copytree(run, folder / "run")
    (folder / "run" / MANIFEST).write_text(json.dumps(manifest))


def of_studies(run: Path) -> Iterator[Case]:
    """What a study says of its trials and rungs."""
    with contextlib.closing(sqlite3.connect(run / "study.db")) as database:
        rows = database.execute(
            "SELECT trial_id, key, value_json FROM trial_user_attributes GROUP BY key HAVING min(trial_id)"
        ).fetchall()
        (result,) = database.execute("SELECT value_json FROM trial_user_attributes WHERE key = 'result'").fetchone()
    for (trial, key, _), value in itertools.product(rows, VALUES):
        yield _study_case(run, trial, key, json.dumps(value))
    (trial,) = [trial for trial, key, _ in rows if key == "result"]
    for _, changed in mutations(json.loads(json.loads(result))):
        yield _study_case(run, trial, "result", json.dumps(json.dumps(changed)))


def _study_case(run: Path, trial: int, key: str, text: str) -> Case:
    def prepare(folder: Path) -> None:
        shutil.copytree(run, folder / "run")
        with contextlib.closing(sqlite3.connect(folder / "run" / "study.db")) as database, database:
            database.execute(
                "UPDATE trial_user_attributes SET value_json = ? WHERE trial_id = ? AND key = ?", (text, trial, key)
            )

    args = ("export", "run", "--pick", "t999", "--out", "out")
    return Case(kind="studies", what=f"{key} of {trial} = {text[:60]}", args=args, prepare=prepare)


def of_contents(run: Path) -> Iterator[Case]:
    """Bytes that are no file of ours, under each name of one; a folder, a FIFO and a link to itself."""
    commands = {
        "a.json": ("cost", "--arch", "a.json"),
        "mine.toml": ("space", "check", "mine.toml"),
        f"run/{MANIFEST}": ("report", "run"),
        "run/study.db": ("export", "run", "--pick", "t999", "--out", "out"),
    }
    for name, args in commands.items():
        kinds: dict[str, Callable[[Path], object]] = {
            **{what: (lambda path, c=content: path.write_bytes(c)) for what, content in CONTENTS.items()},
            "a folder": lambda path: path.mkdir(),
            "a FIFO": lambda path: os.mkfifo(path),
            "a circle": lambda path: path.symlink_to(path.name),
            "endless": lambda path: path.symlink_to("/dev/zero"),
        }
        for what, write in kinds.items():
            if name == "run/study.db" and what in ("empty", "a FIFO", "endless"):
                continue  # benchmarks/chaos.py and the tests of resume have these

            def prepare(folder: Path, name: str = name, write: Callable[[Path], object] = write) -> None:
                if name.startswith("run/"):
                    shutil.copytree(run, folder / "run")
                    (folder / name).unlink()
                write(folder / name)

            yield Case(kind="contents", what=f"{what} as {name}", args=args, prepare=prepare)


def of_checkpoints(run: Path) -> Iterator[Case]:
    """Checkpoints that hold something else."""
    arch = load_space("lstn").seeds["light"]
    weights = {f"transformer.localizer.{name}": tensor for name, tensor in Localizer(arch, 64).state_dict().items()}
    first = next(iter(weights))
    state: dict[str, Any] = {"arch": arch.to_json(), "trained": weights, "snapshots": []}
    odd: dict[str, Any] = {
        "nothing": {},
        "a list": [1],
        "a number": 3,
        "another arch": state | {"arch": "{}"},
        "no weights": state | {"trained": {}},
        "weights that are none": state | {"trained": [1, 2]},
        "a word": state | {"trained": weights | {first: "x"}},
        "a shape": state | {"trained": weights | {first: torch.zeros(3)}},
        "a scalar": state | {"trained": weights | {first: torch.tensor(1.0)}},
        "complex": state | {"trained": weights | {first: weights[first].to(torch.complex64)}},
        "whole": state | {"trained": weights | {first: weights[first].long()}},
        "not finite": state | {"trained": weights | {first: weights[first] * float("nan")}},
        "sparse": state | {"trained": weights | {first: weights[first].to_sparse()}},
        "elsewhere": state | {"trained": weights | {"elsewhere": torch.zeros(1)}},
        "a number as a name": state | {"trained": weights | {7: torch.zeros(1)}},
        "one more": state | {"trained": weights | {"transformer.localizer.more": torch.zeros(1)}},
        "code": os.system,
    }

    def prepare(folder: Path, write: Callable[[Path], object]) -> None:
        shutil.copytree(run, folder / "run")
        for rung in range(8):
            file = checkpoint_file(folder / "run", arch, rung)
            file.parent.mkdir(exist_ok=True)
            write(file)

    args = ("export", "run", "--pick", "light", "--out", "out")
    for what, content in odd.items():
        yield Case(kind="checkpoints", what=what, args=args,
                   prepare=lambda f, c=content: prepare(f, lambda path: torch.save(c, path)))  # fmt: skip
    for what, text in CONTENTS.items():
        yield Case(kind="checkpoints", what=what, args=args,
                   prepare=lambda f, c=text: prepare(f, lambda path: path.write_bytes(c)))  # fmt: skip


def of_entries() -> Iterator[Case]:
    """Entries of the cache, which are made again, and what `verify` and `eval` left."""

    def write(folder: Path, name: str, content: bytes) -> None:
        (folder / name).write_bytes(content)

    def remember(folder: Path) -> None:
        for made in (7, 8):  # the second time the first one's, or what was there already
            remembered(
                folder, "k" * 64, lambda n=made: n, write=lambda n: {"n": n}, read=lambda d: read_as(int, d["n"])
            )
        assert json.loads((folder / f"{'k' * 32}.json").read_text())["n"] in (7, True, -1)

    contents = CONTENTS | {f"{{'n': {value!r}}}"[:30]: json.dumps({"n": value}).encode() for value in VALUES}
    for what, content in contents.items():
        yield Case(kind="entries", what=f"cache {what}", call=remember, may_pass=True,
                   prepare=lambda f, c=content: write(f, f"{'k' * 32}.json", c))  # fmt: skip
        yield Case(kind="entries", what=f"verify.json {what}", call=read_verification,
                   prepare=lambda f, c=content: write(f, "verify.json", c))  # fmt: skip
        yield Case(kind="entries", what=f"weights {what}", call=lambda f: load_weights(f / "w.safetensors"),
                   prepare=lambda f, c=content: write(f, "w.safetensors", c))  # fmt: skip
    row = {"name": "x", "params": 1, "gflops": 1.0, "test": {"top1": 1.0, "top5": 1.0, "num": 3}, "test_clean": None,
           "result": {"status": "ok", "history": [{"epoch": 1}]}}  # fmt: skip
    for what, changed in mutations(row):
        yield Case(kind="entries", what=f"evaluation {what}", may_pass=True, call=lambda f, c=changed: _as_ours(c))


def _as_ours(row: Any) -> None:
    try:
        read_as(Evaluation, row)
    except ValueError as error:
        raise LstnError(str(error)) from None


def all_cases(run: Path, seed: int = 0) -> list[Case]:
    """Every case there is; of a kind with thousands of them a random choice."""
    parts = (of_options(), of_spaces(), of_archs(), of_manifests(run), of_studies(run), of_contents(run),
             of_checkpoints(run), of_entries())  # fmt: skip
    by_kind: dict[str, list[Case]] = {}
    for case in itertools.chain(*parts):
        by_kind.setdefault(case.kind, []).append(case)
    rng = random.Random(seed)
    chosen = (cases if len(cases) <= MANY else rng.sample(cases, MANY) for cases in by_kind.values())
    return list(itertools.chain(*chosen))


# -- trying them -------------------------------------------------------------------------------------------------------


def attempt(case: Case, folder: Path) -> list[str]:
    """What went wrong, a line each; nothing went wrong where there is none."""
    case.prepare(folder)
    before, output, errors = _files(folder), io.StringIO(), io.StringIO()
    argv, cwd, interrupt, hook = sys.argv, Path.cwd(), signal.getsignal(signal.SIGINT), sys.unraisablehook
    clock = signal.signal(signal.SIGALRM, _ring)
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    wrong: list[str] = []
    code: object = 0
    try:
        os.chdir(folder)
        sys.argv = ["cli.py", *case.args]
        with contextlib.redirect_stdout(output), contextlib.redirect_stderr(errors):
            if case.call is None:
                main()
            else:
                case.call(folder)
    except SystemExit as ended:
        code = ended.code
    except LstnError as error:
        code = 2
        errors.write(f"error: {error}\n")
    except Hang:
        return [f"hang: {SECONDS} s"]
    except BaseException as error:
        last = traceback.extract_tb(error.__traceback__)[-1]
        return [f"traceback: {type(error).__name__}: {str(error)[:200]} ({Path(last.filename).name}:{last.lineno})"]
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, clock)
        signal.signal(signal.SIGINT, interrupt)
        sys.argv, sys.unraisablehook = argv, hook
        os.chdir(cwd)
    said = errors.getvalue()
    is_refused = code == 2 and said.startswith("error: ") and len(said.splitlines()) == 1 and not output.getvalue()
    if not is_refused and not (case.may_pass and code == 0):
        wrong.append(f"traceback: exit code {code}, said {said[:200]!r} and printed {output.getvalue()[:100]!r}")
    if any(not c.isprintable() and c != "\n" for c in said + output.getvalue()):
        wrong.append(f"obeyed: {said[:200]!r}")
    after = _files(folder)
    if case.call is None and before != after:
        wrong.append(f"touched: {sorted(set(before.items()) ^ set(after.items()))[:3]}")
    return wrong


def _ring(number: int, frame: FrameType | None) -> None:
    raise Hang


def _files(folder: Path) -> dict[str, tuple[int, int]]:
    """Size and time of everything in a folder."""
    found = sorted(path for path in folder.rglob("*") if not path.is_dir())
    return {str(path.relative_to(folder)): (path.lstat().st_size, path.lstat().st_mtime_ns) for path in found}


def run_cases(cases: list[Case], base: Path) -> tuple[dict[str, int], list[str]]:
    """How many cases there were of each kind, and what went wrong, with its case."""
    wrong = []
    for number, case in enumerate(cases):
        folder = base / f"{number:05}"
        folder.mkdir()
        wrong += [f"{line} | {case.kind}: {case.what}" for line in attempt(case, folder)]
        shutil.rmtree(folder)
    return dict(Counter(case.kind for case in cases)), wrong


def make_run(path: Path) -> Path:
    """A run of the seed points and a trial, whose results are made up."""
    space = load_space("lstn")
    settings = SearchSettings(
        task=Task(dataset="glyphs"), budget_gflops=0.03, space_name=space.name, space_digest=space.digest
    )
    folder = RunFolder.create(path, settings, resume=False)
    try:
        study = Study(folder, space)
        while (candidate := study.ask_seed() or (study.ask() if study.num_trials < 1 else None)) is not None:
            for rung in range(settings.ladder.top + 1):
                epochs = settings.ladder.joint_epochs(rung)
                result = TrialResult(
                    status="ok", seconds=1.0, corner_error_px=3.0, frozen_top1=50.0, epochs=epochs,
                    val_top1=60.0 + rung if epochs else None, history=({"epoch": 1, "loss": 1.0},)[: epochs],
                )  # fmt: skip
                study.record(candidate, rung, result)
        rows = (TrialResult(status="ok", frozen_top1=40.0, val_top1=55.0),) * (settings.ladder.top + 1)
        folder.write_manifest(
            data={"name": "glyphs", "fingerprint": "none", "poses_fingerprint": "", "classes": 6, "train": 9, "val": 9,
                  "test": 9, "damage": "", "mean": [0.5] * 3, "std": [0.5] * 3},
            references=References(control=rows, oracle=rows).to_dict(), seconds=60.0, device="cpu", precision="fp32",
            counts={"trained": 6, "trials": 1, "rejected": 0, "duplicates": 0}, checkpoints_in=None,
            backbone={"val_clean_top1": 80.0, "seconds": 1.0, "key": "none"},
        )  # fmt: skip
    finally:
        folder.release()
    return path


def _main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--num", type=int, default=None, help="a random choice of so many; all by default")
    given = parser.parse_args()
    start = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="lstn-abuse-") as folder:
        base = Path(folder).resolve()
        os.environ["LSTN_CACHE_DIR"] = str(base / "cache")
        cases = all_cases(make_run(base / "made-up"), given.seed)
        if given.num is not None:
            cases = random.Random(given.seed).sample(cases, given.num)
        kinds, wrong = run_cases(cases, base)
    for line in wrong:
        print(line.encode("unicode_escape").decode())
    counted = Counter(line.partition(":")[0] for line in wrong)
    names = ("traceback", "hang", "obeyed", "touched")
    print(json.dumps({"cases": sum(kinds.values()), **{name: counted[name] for name in names}, "kinds": kinds,
                      "seconds": round(time.monotonic() - start)}))  # fmt: skip
    sys.exit(bool(wrong))


if __name__ == "__main__":
    _main()
