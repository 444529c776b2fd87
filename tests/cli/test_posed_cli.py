"""The commands on images that were never upright, with their poses and without, in this process."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from small_search import BUDGET_GFLOPS, InlineEngine, write_space

import lstn_search as ls
from lstn_search.cli import main
from lstn_search.data import clutter
from lstn_search.runs.run import open_run

pytestmark = pytest.mark.usefixtures("unproved")

Cli = Callable[..., str]


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, cache_dir: Path) -> Cli:
    """Runs a command on a small `clutter`; returns what it printed."""
    monkeypatch.setattr(clutter, "SIZES", (96, 32, 32))
    monkeypatch.setattr(ls.EngineOptions, "start", lambda options, *what: InlineEngine.make(cache_dir)(*what))
    monkeypatch.setenv("COLUMNS", "200")

    def run(*args: str | Path) -> str:
        monkeypatch.setattr(sys, "argv", ["cli.py", *map(str, args)])
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capsys.readouterr()
        assert ended.value.code == 0, err
        return out

    return run


def tiny(tmp_path: Path) -> tuple[str, ...]:
    return (
        *("--dataset", "clutter", "--view", "none", "--image-size", "48", "--trial-size", "32", "--batch-size", "32"),
        *("--backbone", "test_byobnet", "--recover-steps", "40", "--epochs", "1", "--warm-epochs", "1"),
        *("--precision", "fp32", "--device", "cpu", "--space", str(write_space(tmp_path))),
    )


def test_search_and_verify_with_poses(cli: Cli, tmp_path: Path) -> None:
    out = tmp_path / "run"
    search = ("search", *tiny(tmp_path), "--budget-gflops", str(BUDGET_GFLOPS), "--ladder", "1", "--trials", "1")
    lines = cli(*search, "--out", out, "--poses", "known").splitlines()
    assert any(line.split()[:1] == ["oracle"] for line in lines)
    assert any("gap" in line for line in lines)
    run = open_run(out)
    assert run.references.oracle[-1].val_top1 is not None
    assert run.folder.manifest["data"]["poses_fingerprint"]
    assert all(entry.result.corner_error_px is not None for entry in run.entries)
    if run.front:
        said = cli("verify", out, "--seeds", "2", "--top", "1", "--against", "good")
        assert "oracle" in said and "control" in said


@pytest.mark.parametrize("poses", [("--poses", "known"), ()])
def test_eval_quotes_the_oracle_with_poses_and_says_what_inert_means_without(
    cli: Cli, tmp_path: Path, poses: tuple[str, ...]
) -> None:
    short = ("--recover-steps", "1")  # theta stays near the identity
    out = cli("eval", "--arch", "light", *tiny(tmp_path)[:-2], *poses, *short)
    assert any(line.split()[:1] == ["oracle"] for line in out.splitlines()) is bool(poses)
    assert "theta is inert" in out
    assert ("train under a view (--view affine), or say where the objects are (--poses)" in out) is not bool(poses)


def test_search_says_what_inert_means(cli: Cli, tmp_path: Path) -> None:
    search = ("search", *tiny(tmp_path), "--budget-gflops", str(BUDGET_GFLOPS), "--ladder", "1", "--trials", "1")
    out = cli(*search, "--recover-steps", "1", "--out", tmp_path / "run")
    assert "inert: theta is the same for every image" in out and "(--view affine)" in out and "(--poses)" in out
