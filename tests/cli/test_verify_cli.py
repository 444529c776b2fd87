"""The command `verify`, and the same from Python. Trainings are made up, in this process."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from small_search import make_folder, make_settings, write_space
from verify_jobs import pretend
from verify_runs import inline, make_run

import lstn_search as ls
from lstn_search.cli import main
from lstn_search.jobs.base import Ended, Job, WorkerSetup
from lstn_search.spec.space import load_space
from lstn_search.verification.result import read_verification

ROOT = Path(__file__).resolve().parents[2]
Command = Callable[..., tuple[int, str, str]]
RunJob = Callable[[WorkerSetup, Job, Callable[[str], None]], Ended]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("verify")
    return make_run(folder / "run", load_space(write_space(folder)))


@pytest.fixture
def run(made: Path, tmp_path: Path) -> Path:
    return shutil.copytree(made, tmp_path / "run")


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Command:
    """Runs `verify` with made-up trainings; returns its exit code and what it printed."""

    def call(*args: str | Path, job: RunJob = pretend) -> tuple[int, str, str]:
        make = inline(tmp_path, job)
        monkeypatch.setattr(ls.EngineOptions, "start", lambda options, *what: make(*what))
        monkeypatch.setattr(sys, "argv", ["cli.py", "verify", *map(str, args)])
        with pytest.raises(SystemExit) as ended:
            main()
        assert isinstance(ended.value.code, int)
        return ended.value.code, *capsys.readouterr()

    return call


def test_what_it_prints(command: Command, run: Path) -> None:
    code, out, err = command(run, "--seeds", "3")
    assert (code, err) == (0, "")
    found = read_verification(run)
    assert found and found.complete_seeds == (1000, 1001, 1002)
    lines = out.splitlines()
    trainings = [line.split()[1:3] for line in lines if line.strip()[:1].isdigit() and line.split()[2].isdigit()]
    assert len(trainings) == 3 * len(found.rows)
    assert all(sentence in lines for sentence in found.sentences)
    assert any(line.startswith("Verified with 3 fresh seeds") for line in lines)
    assert lines[-1] == f"written: {run / 'verify.json'}, {run / 'verify.csv'}"
    code, again, _ = command(run, "--seeds", "3")
    assert code == 0
    assert again.splitlines() == lines[lines.index(again.splitlines()[0]) :]


def test_json(command: Command, run: Path) -> None:
    code, out, _ = command(run, "--seeds", "2", "--json")
    assert code == 0
    assert json.loads(out) == json.loads((run / "verify.json").read_text())


def test_ctrl_c_ends_with_130_and_the_table_of_what_is_there(command: Command, run: Path) -> None:
    def job(setup: WorkerSetup, job: Job, say: Callable[[str], None]) -> Ended:
        if job.name == "good 1001":
            raise KeyboardInterrupt
        return pretend(setup, job, say)

    code, out, _ = command(run, "--seeds", "2", job=job)
    assert code == 130
    assert "Verified with 1 fresh seed: " in out
    assert "One seed gives no interval, so there is no verdict." in out
    assert f"to go on: python cli.py verify {run} --top 2 --seeds 2" in out
    code, out, _ = command(run, "--seeds", "2")
    assert code == 0 and "Verified with 2 fresh seeds: " in out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--top", "0"], "top must be at least 1, got 0"),
        (["--seeds", "1"], "seeds must be at least 2, since an interval needs two, got 1"),
        (["--minutes", "0"], "minutes must be above 0, got 0"),
        (["--epochs", "1"], "epochs must be at least 2, what the search trained, got 1"),
        (["--recover-steps", "5"], "recover steps must be at least 60, what the search trained, got 5"),
        (["--retries", "-1"], "retries must be at least 0, got -1"),
        (["--workers", "0"], "workers must be a whole number of at least 1, got 0"),
        (["--engine", "rey"], "unknown engine 'rey'; did you mean 'ray'?"),
        (["--sedes", "3"], "No such option: --sedes"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(
    command: Command, run: Path, options: list[str], message: str
) -> None:
    code, out, err = command(run, *options)
    assert (code, out) == (2, "")
    assert message in err and len(err.splitlines()) == 1
    assert not (run / "verify").exists()


def test_folders_that_hold_nothing_to_verify(command: Command, made: Path, tmp_path: Path) -> None:
    code, _, err = command(tmp_path)
    assert (code, err) == (2, f"error: {tmp_path} holds no run (no manifest.json); give the folder a search wrote\n")
    space = load_space(write_space(tmp_path))
    make_folder(tmp_path / "new", make_settings(space))
    code, _, err = command(tmp_path / "new")
    assert code == 2 and "ended before its first trial" in err
    nothing = make_folder(tmp_path / "nothing", make_settings(space))
    nothing.write_manifest(data={"val": 1, "test": 1, "fingerprint": ""})
    code, _, err = command(tmp_path / "nothing")
    assert code == 2 and "is empty: none of its 0 trained architectures is within the budget" in err
    assert len(err.splitlines()) == 1


def test_from_python(made: Path, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make = inline(tmp_path)
    monkeypatch.setattr(ls.EngineOptions, "start", lambda options, *what: make(*what))
    found = ls.verify(ls.open_run(run), top=1, seeds=2)
    assert read_verification(run) == found
    with pytest.raises(ls.LstnError, match="top must be at least 1"):
        ls.verify(ls.open_run(run), top=0)


def test_the_function_is_not_the_room_of_its_name_and_reading_needs_neither_torch_nor_numpy(run: Path) -> None:
    code = (
        "import sys, lstn_search.verification.result, lstn_search as ls\n"
        "from pathlib import Path\n"
        "assert callable(ls.verify)\n"
        "from lstn_search.verification.result import read_verification\n"
        "assert read_verification(Path(sys.argv[1])) is None\n"
        "assert not {'torch', 'numpy', 'scipy', 'pandas', 'optuna'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code, str(run)], cwd=ROOT, check=True)
