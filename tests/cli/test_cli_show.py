"""The command `show`: what it writes, what it says, and what it refuses."""

import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from image_trees import class_tree
from PIL import Image

from lstn_search.cli import main
from lstn_search.runs.folder import checkpoint_file
from lstn_search.runs.run import Run

Cli = Callable[..., tuple[int, str, str]]


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, small_cache: Path, tmp_path: Path) -> Cli:
    """Runs `show` in an empty folder: exit code, standard output, standard error."""
    monkeypatch.setenv("LSTN_CACHE_DIR", str(small_cache))
    monkeypatch.chdir(tmp_path)

    def run(*args: str | Path) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["cli.py", "show", *map(str, args)])
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capsys.readouterr()
        assert isinstance(ended.value.code, int)
        return ended.value.code, out, err

    return run


def test_the_best_of_a_run_is_drawn_into_a_file_of_its_name(cli: Cli, small_run: Run, tmp_path: Path) -> None:
    code, out, _ = cli(small_run.folder.path, "--num-images", "2", "--num-views", "1")
    name = small_run.pick("best").candidate.name
    assert code == 0
    assert out.startswith(f"show-{name}.png: {name} on ")
    assert out.splitlines()[1].startswith("2 images in 2 views; right in ") and len(out.splitlines()) == 2
    assert [path.name for path in tmp_path.iterdir()] == [f"show-{name}.png"]
    with Image.open(tmp_path / f"show-{name}.png") as picture:
        assert picture.format == "PNG"


def test_any_trained_entry_can_be_drawn_and_anybody_s_images(cli: Cli, small_run: Run, tmp_path: Path) -> None:
    trained = [entry for entry in small_run.entries if entry.rung > 0]
    folder = class_tree(tmp_path / "mine", {"holiday": 2})
    for entry in trained[:2]:
        which = f"{small_run.folder.path}:{entry.candidate.number}"
        code, out, _ = cli(which, "--images", folder, "--num-views", "0", "--out", "drawn/it.webp")
        assert code == 0
        assert out.startswith(f"drawn/it.webp: {entry.candidate.name} on ")
        assert out.splitlines()[1:] == ["2 images as it is"]
    with Image.open("drawn/it.webp") as picture:
        assert picture.format == "WEBP"


def test_a_gif_is_a_film_of_the_training(cli: Cli, small_run: Run) -> None:
    code, _, _ = cli(small_run.folder.path, "--out", "film.gif", "--num-images", "1", "--num-views", "0")
    assert code == 0
    with Image.open("film.gif") as film:
        assert film.n_frames > 10


def test_a_network_can_be_trained_for_it(cli: Cli, small_dataset: Path) -> None:
    code, out, _ = cli(
        *("--arch", "light", "--dataset", f"folder:{small_dataset}", "--image-size", "48", "--trial-size", "24"),
        *("--backbone", "test_byobnet", "--recover-steps", "5", "--epochs", "1", "--warm-epochs", "1"),
        *("--batch-size", "40", "--num-images", "1", "--precision", "fp32", "--seed", "3"),
    )
    assert code == 0
    assert out.startswith("show-light.png: light on folder:")


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ([], "show takes a run, or --arch with a network to train; for example: show runs/demo:best"),
        (["runs/demo", "--arch", "lstn"], "show takes a run, or --arch with a network to train"),
        (["nowhere"], "nowhere holds neither a run nor an evaluation; give the folder that search or eval --out wrote"),
        (["RUN", "--epochs", "3"], "--epochs goes with --arch: RUN brings its own"),
        (["RUN:t999"], "holds no trained architecture 't999'"),
        (["RUN:bset"], "'bset'"),
        (["RUN", "--out", "x.bmp"], "a picture is written as .png, .webp, .jpg, .jpeg, got 'x.bmp'"),
        (["RUN", "--out", "x.png", "--animate"], "an animation is written as .gif, .webp, got 'x.png'"),
        (["RUN", "--num-images", "0"], "the number of images must be at least 1, got 0"),
        (["RUN", "--num-views", "-1"], "the number of views must be at least 0, got -1"),
        (["RUN", "--images", "empty"], "empty holds no image file; give a folder of them to --images"),
        (["RUN", "--out", "/proc/nowhere/x.png"], "/proc/nowhere cannot be written"),
        (["--arch", "none", "--dataset", "glyphs"], "--arch none has no transformer, so there is nothing to show"),
        (
            ["--arch", "lstn", "--dataset", "glyphs", "--protocol", "paper", "--animate"],
            "the paper's training leaves no snapshots for a film; draw a .png, or use --protocol recover",
        ),
        (["--arch", "lsnt", "--dataset", "glyphs"], "architecture 'lsnt' is unknown; did you mean 'lstn'?"),
    ],
)
def test_what_makes_no_sense_is_one_line(
    args: list[str], message: str, cli: Cli, small_run: Run, tmp_path: Path
) -> None:
    path = str(small_run.folder.path)
    code, out, err = cli(*(arg.replace("RUN", path) for arg in args))
    assert (code, out) == (2, "")
    assert err.startswith("error: ") and len(err.splitlines()) == 1
    assert message.replace("RUN", path) in err
    assert list(tmp_path.iterdir()) == []


def test_a_checkpoint_without_snapshots_names_the_cure(cli: Cli, small_run: Run, tmp_path: Path) -> None:
    import torch

    run = tmp_path / "older"
    shutil.copytree(small_run.folder.path, run)
    best = small_run.pick("best")
    file = checkpoint_file(run, best.candidate.arch, best.rung)
    state = torch.load(file, weights_only=True)
    del state["snapshots"]
    torch.save(state, file)
    code, _, err = cli(run, "--animate")
    name = f"{run}:{best.candidate.name}"
    assert code == 2
    assert err == (
        f"error: {name} holds no snapshots of the training of {best.candidate.name}; "
        f"train it again with: show --arch {name} --animate\n"
    )
    assert cli(run)[0] == 0
