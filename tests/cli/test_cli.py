"""Bad input on the command line: one line on standard error, exit code 2, nothing lost. And what it prints else."""

import errno
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from image_trees import class_tree
from small_search import InlineEngine, options_of, write_space

import lstn_search as ls
from lstn_search.cli import main
from lstn_search.runs.folder import checkpoint_file
from lstn_search.runs.run import Run, open_run
from lstn_search.shipping.place import RECORD
from lstn_search.spec.space import load_space, space_folder

ROOT = Path(__file__).resolve().parents[2]
Refusal = Callable[..., str]


@pytest.fixture
def in_tmp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty working folder, in which bad input must leave nothing but perhaps an empty `runs`."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    yield folder
    assert [path.relative_to(folder) for path in folder.rglob("*")] in ([], [Path("runs")])


@pytest.fixture
def refusal(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, small_cache: Path) -> Refusal:
    """Runs the command line on bad input and returns the one line it says."""
    monkeypatch.setenv("LSTN_CACHE_DIR", str(small_cache))

    def run(*args: str | Path) -> str:
        monkeypatch.setattr(sys, "argv", ["cli.py", *map(str, args)])
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capsys.readouterr()
        assert ended.value.code == 2
        assert out == ""
        assert err.startswith("error: ") and err.endswith("\n")
        assert len(err.splitlines()) == 1
        return err.removeprefix("error: ").rstrip("\n")

    return run


def search(*args: str, dataset: str = "glyphs", budget: str = "0.03") -> list[str]:
    return ["search", "--dataset", dataset, "--budget-gflops", budget, *args]


# -- words that mean nothing -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (search(dataset="caltech11"), "unknown dataset 'caltech11'; did you mean 'caltech101'?"),
        (
            search(dataset="mnist"),
            "unknown dataset 'mnist'; known: caltech101, cifar10, clutter, folder:PATH, glyphs, gtsrb, tsrd",
        ),
        (search(dataset="folder:"), "dataset 'folder:' has no path"),
        (search("--space", "lsnt"), "search space 'lsnt' is unknown; did you mean 'lstn'?"),
        (search("--space", "nowhere.toml"), "nowhere.toml: cannot be read"),
        (search("--sampler", "nsga"), "unknown sampler 'nsga'; did you mean 'nsga2'?"),
        (search("--objectives", "accuracy,prams"), "unknown objective 'prams'; did you mean 'params'?"),
        (
            search("--objectives", "gflops"),
            "objectives 'gflops' are not accuracy and then one or more costs, each once",
        ),
        (search("--budget-scope", "all"), "unknown budget scope 'all'; known: localizer, stn"),
        (search("--view", "afine"), "'afine'; did you mean 'affine'?"),
        (search("--protocol", "papr"), "unknown protocol 'papr'; did you mean 'paper'?"),
        (search("--engine", "rey"), "unknown engine 'rey'; did you mean 'ray'?"),
        (search("--ladder", "2,x"), "the ladder '2,x' is not a list of epochs"),
        (search("--ladder", "6,2"), "the ladder's epochs must rise, got 6,2"),
        (search("--storage", "nonsense"), "storage 'nonsense' is not a database URL"),
        (search("--image-size", "0"), "image size must be a whole number of at least 1, got 0"),
        (search("--trial-size", "-3"), "trial size must be a whole number of at least 1, got -3"),
        (search("--trials", "0"), "trials must be at least 1, got 0"),
        (search("--minutes", "-1"), "minutes must be above 0, got -1"),
        (search("--minutes", "nan"), "minutes must be above 0, got nan"),
        (search("--workers", "0"), "workers must be a whole number of at least 1, got 0"),
        (search("--batch-size", "1"), "batch size must be a whole number of at least 2, got 1"),
        (search("--view-strength", "nan"), "view strength must be"),
        (["eval", "--arch", "lsnt", "--dataset", "glyphs"], "architecture 'lsnt' is unknown; did you mean 'lstn'?"),
        (["eval", "--arch", "lstn", "--dataset", "glyph"], "unknown dataset 'glyph'; did you mean 'glyphs'?"),
        (["eval", "--arch", "nowhere.json", "--dataset", "glyphs"], "nowhere.json: cannot be read"),
        (
            ["export", "nowhere", "--out", "x"],
            "nowhere holds no run (no manifest.json); give the folder a search wrote",
        ),
        (["export", "--out", "x"], "export takes a run, or --arch RUN:WHICH; for example: export runs/demo:best"),
        (["export", "--arch", "lstn", "--out", "x"], "lstn has no trained weights to export: name one of a run"),
        (["cost", "--arch", "none"], "--arch none has no localization net, so there is nothing to count"),
        (["cost", "--arch", "."], ". holds no run (no manifest.json)"),
        (search("--config", "nowhere.toml"), "nowhere.toml: cannot be read"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
@pytest.mark.usefixtures("in_tmp")
def test_a_word_or_number_without_meaning(refusal: Refusal, args: list[str], message: str) -> None:
    assert message in refusal(*args)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["search"], "Missing option"),
        (["search", "--dataset", "glyphs"], "Missing option '--budget-gflops'"),
        (search("--trails", "3"), "No such option: --trails"),
        (search(budget="much"), "Invalid value for '--budget-gflops'"),
        (search("--trials", "2.5"), "Invalid value for '--trials'"),
        (search("extra"), "unexpected extra argument"),
        (["serach"], "No such command 'serach'"),
        (["export", "run"], "Missing option '--out'"),
        (["eval"], "Missing option '--arch'"),
        (["space", "shwo"], "No such command 'shwo'"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
@pytest.mark.usefixtures("in_tmp")
def test_usage(refusal: Refusal, args: list[str], message: str) -> None:
    line = refusal(*args)
    assert message in line
    assert line.endswith("(see --help)")


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (search("--storage", ""), "--storage holds an empty value; leave it out or name something"),
        (search("--storage="), "--storage holds an empty value; leave it out or name something"),
        (search("--out", ""), "--out holds an empty value"),
        ([""], "the command line holds an empty value"),
        (search("--device", "cpu:99"), "there is no device 'cpu:99'; only GPUs have numbers, as in cuda:1"),
        (search("--engine", "ray", "--gpus-per-job", "0"), "gpus per job must be a number above 0, got 0.0"),
        (search("--workers", "100000"), "workers must be at most 1,024, got 100000"),
        (search("--image-size", "1" + "0" * 400), "image size must be at most 16,384, got 1000"),
        (search("--trials", "1" + "0" * 400), "trials must be at most 1,000,000, got 1000"),
        (search("--retries", "1001"), "retries must be at most 1,000, got 1001"),
        (search("--ladder", "9" * 5000), "is not a list of epochs"),
        (search("--space", "\x1b[31mred"), "search space '\\x1b[31mred' is unknown"),
        (["cost", "--arch", "lstn", "--image-size", "0"], "image size must be a whole number of at least 1, got 0"),
        (["report", "\x1b]0;title\x07"], "\\x1b]0;title\\x07 holds no run"),
    ],
    ids=str,
)
@pytest.mark.usefixtures("in_tmp")
def test_what_is_empty_beyond_all_sense_or_meant_for_the_terminal(
    refusal: Refusal, args: list[str], message: str
) -> None:
    line = refusal(*args)
    assert message in line
    assert line.isprintable() and len(line) < 400


@pytest.mark.parametrize(
    ("number", "cure"),
    [
        (errno.ENOLCK, "files cannot be locked there: name a folder on another disk"),
        (errno.ENAMETOOLONG, "use a shorter name"),
        (errno.ENOSPC, "choose another --out"),
    ],
)
def test_a_folder_that_cannot_be_locked_has_a_cure_of_its_own(
    refusal: Refusal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, cure: str
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("filelock.FileLock.acquire", fail)
    line = refusal(*search("--out", str(tmp_path / "run")))
    assert line == f"{tmp_path / 'run'} cannot be written ({os.strerror(number)}); {cure}"


# -- budgets -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("budget", ["-0.03", "0", "nan", "inf", "-inf"])
@pytest.mark.usefixtures("in_tmp")
def test_a_budget_is_a_positive_number(refusal: Refusal, budget: str) -> None:
    assert "the budget must be a positive number of GFLOPs, got" in refusal(*search(budget=budget))


def test_a_budget_nothing_meets_is_said_without_torch(tmp_path: Path) -> None:
    code = (
        "import sys; from lstn_search.cli import main\n"
        "try:\n    main()\n"
        "finally:\n    assert 'torch' not in sys.modules"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *search(budget="0.00001"), "--out", str(tmp_path / "run")],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert "the cheapest needs 0.000145: raise --budget-gflops" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "run").exists()


# -- data --------------------------------------------------------------------------------------------------------------


@pytest.fixture
def inline(monkeypatch: pytest.MonkeyPatch, cache_dir: Path) -> None:
    """What a worker would say is said in this process; that of a worker is in the test of an unknown backbone."""
    monkeypatch.setattr(ls.EngineOptions, "start", lambda options, *what: InlineEngine.make(cache_dir)(*what))


@pytest.mark.usefixtures("in_tmp", "inline")
def test_a_missing_data_folder_is_said_with_how_to_get_the_data(
    refusal: Refusal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = search("--backbone", "test_byobnet", "--workers", "1", dataset="caltech101")
    monkeypatch.delenv("LSTN_DATA_DIR", raising=False)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    for words in (command, ["eval", "--arch", "lstn"], ["show", "--arch", "lstn"]):
        said = refusal(*words)
        assert said.startswith(f"dataset 'caltech101' is not in {Path('data').absolute()} or {tmp_path / 'data'}")
        assert said.endswith("get it with `python cli.py download caltech101`, or name its folder with --data-dir")
    assert "nowhere" in refusal(*command, "--data-dir", "nowhere")


def test_missing_images_are_said_before_torch_is_loaded(tmp_path: Path) -> None:
    code = (
        "import sys; from lstn_search.cli import main\n"
        "search = ['search', '--budget-gflops', '1', '--dataset', 'folder:nowhere']\n"
        "for words in (search, ['eval', '--arch', 'lstn']):\n"
        "    sys.argv[1:] = words\n"
        "    try:\n        main()\n"
        "    except SystemExit as end:\n        assert end.code == 2\n"
        "    assert not {'torch', 'optuna'} & set(sys.modules)"
    )
    environment = os.environ | {"LSTN_DATA_DIR": str(tmp_path), "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0 and len(done.stderr.splitlines()) == 2, done.stderr
    assert f"dataset 'caltech101' is not in $LSTN_DATA_DIR ({tmp_path})" in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("in_tmp", "inline")
def test_an_empty_class_folder(refusal: Refusal, tmp_path: Path) -> None:
    class_tree(tmp_path / "images", {"cat": 3, "dog": 3})
    (tmp_path / "images" / "emu").mkdir()
    line = refusal(*search("--backbone", "test_byobnet", "--workers", "1", dataset=f"folder:{tmp_path / 'images'}"))
    assert "emu" in line


def test_an_unknown_backbone_is_refused_with_suggestions_before_images_are_decoded(
    refusal: Refusal, small_dataset: Path, in_tmp: Path, tmp_path: Path
) -> None:
    line = refusal(
        *search(
            "--backbone", "resnet81", "--workers", "1", "--cache-dir", tmp_path / "c", dataset=f"folder:{small_dataset}"
        )
    )
    assert "'resnet81'" in line and "did you mean" in line and "'resnet18'" in line
    assert not (tmp_path / "c" / "images").exists()


# -- run folders -------------------------------------------------------------------------------------------------------


@pytest.fixture
def copied(small_run: Run, tmp_path: Path) -> Path:
    return shutil.copytree(small_run.folder.path, tmp_path / "run")


def test_a_run_is_neither_overwritten_nor_mixed_up(
    refusal: Refusal, small_run: Run, small_space: object, copied: Path, tmp_path: Path
) -> None:
    before = {path: path.read_bytes() for path in copied.rglob("*") if path.is_file()}
    other = options_of(small_run.folder.settings.task, copied)
    same = [*other, "--space", str(write_space(tmp_path))]
    assert refusal(*same) == f"{copied} already holds this run; add --resume to go on with it, or choose another --out"
    for resume in ([], ["--resume"]):
        line = refusal(*same, *resume, "--batch-size", "20")
        assert f"{copied} was made with batch size 40, not 20; give the same settings to resume" in line
        assert "was made with space name 'small', not 'lstn'" in refusal(*other, *resume)
    assert {path: path.read_bytes() for path in copied.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize(
    "command", [search(), ["eval", "--arch", "lstn", "--dataset", "glyphs"]], ids=["search", "eval"]
)
@pytest.mark.usefixtures("in_tmp")
def test_a_folder_that_cannot_be_written(refusal: Refusal, tmp_path: Path, command: list[str]) -> None:
    (tmp_path / "file").touch()
    for place in (tmp_path / "file" / "run", Path("/proc/run")):
        line = refusal(*command, "--out", str(place))
        assert f"{place} cannot be written (" in line and line.endswith("; choose another --out")


def test_a_folder_that_holds_other_things(refusal: Refusal, tmp_path: Path) -> None:
    (tmp_path / "notes").touch()
    assert "is not empty and holds no run" in refusal(*search("--out", str(tmp_path)))
    assert f"{tmp_path} holds no run" in refusal("eval", "--arch", str(tmp_path))


# -- files -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("[stem]", "[stem"), "mine.toml: not valid TOML"),
        (("kernel = [3, 5, 7]", "kernal = [3, 5, 7]"), "mine.toml: unknown key 'stem.kernal'; did you mean 'kernel'?"),
        (("kernel = [3, 5, 7]", 'kernel = ["3"]'), "mine.toml: stem.kernel"),
    ],
)
@pytest.mark.usefixtures("in_tmp")
def test_a_space_file_with_a_mistake(refusal: Refusal, tmp_path: Path, change: tuple[str, str], message: str) -> None:
    path = tmp_path / "mine.toml"
    path.write_text((space_folder() / "lstn.toml").read_text().replace(*change, 1))
    line = refusal(*search("--space", path))
    assert message in line


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda arch: arch["layers"][0].update(dilation=2), "layers[0]: unknown field 'dilation'"),
        (lambda arch: arch["layers"].append({"out_channels": 4, "kernel": 99}), "shrinks its"),
        (lambda arch: arch.clear(), "field 'layers' is missing; add it"),
    ],
    ids=["unknown field", "below 1x1", "empty"],
)
@pytest.mark.usefixtures("in_tmp")
def test_an_arch_file_that_cannot_be(
    refusal: Refusal, tmp_path: Path, change: Callable[[dict[str, object]], None], message: str
) -> None:
    arch = load_space("lstn").seeds["stn"].to_dict()
    change(arch)
    (tmp_path / "net.json").write_text(json.dumps(arch))
    line = refusal("eval", "--arch", tmp_path / "net.json", "--dataset", "glyphs", "--out", "out")
    assert message in line


@pytest.mark.usefixtures("in_tmp")
def test_a_checkpoint_that_is_none(refusal: Refusal, copied: Path) -> None:
    run = open_run(copied)
    best = run.pick("best")
    checkpoint_file(copied, best.candidate.arch, best.rung).write_bytes(b"no weights")
    assert "not a checkpoint, or a damaged one" in refusal("export", copied, "--out", "out")


@pytest.mark.parametrize("pick", ["bset", "max-gflops=0", "max-gflops=1e-9", "t999", "999"])
@pytest.mark.usefixtures("in_tmp")
def test_a_pick_that_is_none(refusal: Refusal, copied: Path, pick: str) -> None:
    for command in (["export", copied, "--pick", pick, "--out", "out"], ["eval", "--arch", f"{copied}:{pick}"]):
        assert pick.partition("=")[0] in refusal(*command) or "no point of the front" in refusal(*command)


# -- what goes well ----------------------------------------------------------------------------------------------------


def test_damaged_images_are_named_and_counted_and_lines_are_never_cut(
    small_run: Run, small_dataset: Path, small_cache: Path, tmp_path: Path
) -> None:
    """Through a pipe, at the width of a small terminal: what a log file holds."""
    images = shutil.copytree(small_dataset, tmp_path / "images", ignore=shutil.ignore_patterns("[1-9][0-9].png"))
    damaged = next((images / "train").rglob("*.png"))
    damaged.write_bytes(damaged.read_bytes()[:100])
    out = tmp_path / "run"
    command = options_of(small_run.folder.settings.task, out)
    command[command.index("--dataset") + 1] = f"folder:{images}"
    command += ["--warm-epochs", "1", "--recover-steps", "5", "--ladder", "1", "--trials", "1"]
    command += ["--space", str(write_space(tmp_path))]
    environment = os.environ | {"LSTN_CACHE_DIR": str(tmp_path / "cache"), "COLUMNS": "40"}
    done = subprocess.run(
        [sys.executable, "cli.py", *command],
        cwd=ROOT, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (warning,) = done.stderr.splitlines()
    assert warning.startswith("warning: ")
    assert f"1 of 180 files damaged: {damaged.relative_to(images)}" in warning
    assert json.loads((out / "manifest.json").read_text())["data"]["skipped"] == 1
    assert "…" not in done.stdout
    for name in ("good", "costly", "outside"):
        assert any(line.split()[:1] == [name] for line in done.stdout.splitlines())
    assert f"run folder: {out}" in done.stdout.splitlines()
    data = json.loads((out / "manifest.json").read_text())["data"]
    named = ", ".join(data["class_names"])
    assert f"6 classes: {named}; train/val/test {data['train']}/{data['val']}/{data['test']}" in done.stdout


def test_export_says_what_it_wrote_and_that_it_was_proved(
    small_run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    monkeypatch.setattr(sys, "argv", ["cli.py", "export", str(small_run.folder.path), "--out", str(out)])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0
    printed, err = capsys.readouterr()
    assert err == ""
    assert "proved without lstn_search on 8 images of 24 px" in printed
    written = {path.name for path in out.iterdir()}
    assert written == {"model.py", "weights.pt", "arch.json", "classifier.pt", "classes.json", RECORD}
    names = json.loads((out / "classes.json").read_text())
    assert names == small_run.folder.manifest["data"]["class_names"] and len(names) == 6


def test_ctrl_c_in_a_destructor_comes_again() -> None:
    """Python swallows what a destructor raises; the search would go on as if nobody had asked it to stop."""
    script = (
        "import signal, sys, time; from lstn_search import cli; sys.unraisablehook = cli._interrupt_again\n"
        "class Late:\n"
        "    def __del__(self): signal.raise_signal(signal.SIGINT)\n"
        "late = Late()\n"
        "try:\n"
        "    del late\n"
        "    time.sleep(3600)\n"  # longer than any test may take
        "except KeyboardInterrupt:\n"
        "    print('interrupted')\n"
    )
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT)
    assert (ran.stdout, ran.stderr) == ("interrupted\n", "")
