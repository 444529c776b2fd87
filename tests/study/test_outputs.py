"""The files a search leaves for its user say what its study says."""

import dataclasses
import json
import math
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import optuna
import pandas as pd
import pytest
import torch
from small_search import BUDGET_GFLOPS

from lstn_search.errors import CheckpointError, RunError
from lstn_search.runs.checkpoints import load_localizer
from lstn_search.runs.folder import RunFolder, checkpoint_file
from lstn_search.runs.run import Run, open_run
from lstn_search.shipping.export import write_export
from lstn_search.spec.arch import Arch
from lstn_search.spec.cost import cost
from lstn_search.spec.results import References
from lstn_search.study.outputs import COLUMNS, write_outputs


@pytest.fixture(scope="module")
def path(small_run: Run) -> Path:
    return small_run.folder.path


def test_trials_csv_has_a_row_a_rung_as_the_study_has(small_run: Run, path: Path) -> None:
    table = pd.read_csv(path / "trials.csv")
    assert list(table.columns) == COLUMNS
    storage = small_run.folder.storage.open()
    told = optuna.load_study(study_name=small_run.folder.rungs_name, storage=storage).get_trials()
    assert len(table) == len(told)
    rows = table.set_index(["trial", "rung"])
    for trial in told:
        result = json.loads(trial.user_attrs["result"])
        row = rows.loc[(trial.user_attrs["trial"], trial.user_attrs["rung"])]
        for column in ("status", "val_top1", "frozen_top1", "corner_error_px", "spread", "epochs"):
            expected = math.nan if result[column] is None else result[column]
            assert (
                row[column] == pytest.approx(expected, nan_ok=True) if column != "status" else row[column] == expected
            )
        assert row["gflops"] == trial.values[1]


def test_trials_csv_says_who_is_on_the_front(small_run: Run, path: Path) -> None:
    table = pd.read_csv(path / "trials.csv")
    assert set(table[table.on_front].name) == {entry.candidate.name for entry in small_run.front}
    assert set(table[table.over_budget].name) == {"costly"}
    assert set(table[table.seed_point].name) == {"good", "costly", "outside"}


def test_the_share_of_the_gap_is_quoted_against_the_same_rung(small_run: Run, path: Path) -> None:
    for _, row in pd.read_csv(path / "trials.csv").iterrows():
        control, oracle = (rows[row.rung] for rows in (small_run.references.control, small_run.references.oracle))
        column = "frozen_top1" if row.rung == 0 else "val_top1"
        low, high = getattr(control, column), getattr(oracle, column)
        assert row.gap_closed == pytest.approx(100 * (row[column] - low) / (high - low))


def test_pareto_csv_and_json_are_the_front_cheapest_first(small_run: Run, path: Path) -> None:
    front = small_run.front
    table, content = pd.read_csv(path / "pareto.csv"), json.loads((path / "pareto.json").read_text())
    names = [entry.candidate.name for entry in front]
    assert list(table.name) == [row["name"] for row in content["front"]] == names
    assert list(table.gflops) == sorted(table.gflops)
    assert list(table.val_top1) == sorted(table.val_top1)
    assert max(table.gflops) <= content["budget_gflops"] == BUDGET_GFLOPS
    assert (content["image_size"], References.from_dict(content["references"])) == (48, small_run.references)
    for row, entry in zip(content["front"], front, strict=True):
        arch = Arch.from_dict(row["arch"])
        assert arch.digest == row["digest"] == entry.candidate.arch.digest
        assert row["gflops"] == cost(arch, 48).gflops
        assert row["val_top1"] == entry.accuracy


def test_best_is_the_pick_and_runs_without_this_package(small_run: Run, path: Path) -> None:
    best = small_run.pick("best")
    assert Arch.load(path / "best" / "arch.json") == best.candidate.arch
    localizer, _ = load_localizer(small_run, best)
    saved = torch.load(path / "best" / "weights.pt", weights_only=True)
    assert all(torch.equal(saved[name], tensor) for name, tensor in localizer.state_dict().items())
    text = (path / "best" / "model.py").read_text()
    assert f"{best.result.val_top1:.1f} %" in text
    assert "lstn_search" not in [line.split()[1] for line in text.splitlines() if line.startswith(("import", "from"))]


def test_weights_belong_to_their_results(small_run: Run, bench: Any) -> None:
    """The exported localizer and its classifier reach the accuracy that the run tells of them."""
    from lstn_search.nets.transformer import SpatialTransformer, TransformedClassifier

    best = small_run.pick("best")
    localizer, classifier = load_localizer(small_run, best)
    backbone = bench.build_backbone()
    backbone.load_state_dict(classifier)
    model = TransformedClassifier(SpatialTransformer(localizer), backbone)
    scores, _ = bench.evaluate(model, bench.dataset.val_I, view=bench.view)
    assert scores.top1 == pytest.approx(best.accuracy, abs=0.9)  # an image of 120: batches are of another size


def test_a_picture_is_a_picture(path: Path) -> None:
    from PIL import Image

    with Image.open(path / "pareto.png") as image:
        assert image.format == "PNG"
        assert image.width > 1000 and len(image.convert("RGB").getcolors(1 << 20) or []) > 10


@pytest.mark.usefixtures("unproved")
def test_writing_again_changes_nothing_but_the_picture(small_run: Run, path: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(path, tmp_path / "run")
    run = open_run(copy)
    write_outputs(run)
    for name in ("trials.csv", "pareto.csv", "pareto.json"):
        assert (copy / name).read_bytes() == (path / name).read_bytes()
    assert not list(copy.glob(".pareto*"))


def test_a_run_without_results_has_tables_without_rows(small_run: Run, tmp_path: Path) -> None:
    folder = RunFolder(tmp_path, small_run.folder.manifest)
    write_outputs(dataclasses.replace(small_run, folder=folder, entries=[]))
    assert pd.read_csv(tmp_path / "trials.csv").columns.tolist() == COLUMNS
    assert pd.read_csv(tmp_path / "pareto.csv").empty
    assert json.loads((tmp_path / "pareto.json").read_text())["front"] == []
    assert (tmp_path / "pareto.png").exists()
    assert not (tmp_path / "best").exists()


def test_a_folder_that_lost_its_place_is_one_line(small_run: Run, tmp_path: Path) -> None:
    folder = RunFolder(tmp_path, small_run.folder.manifest)
    (tmp_path / "pareto.png").mkdir()
    with pytest.raises(RunError, match=r"pareto\.png cannot be written \(Is a directory\)"):
        write_outputs(dataclasses.replace(small_run, folder=folder, entries=[]))


# -- weights that are not there ----------------------------------------------------------------------------------------


@pytest.fixture
def copied(path: Path, tmp_path: Path) -> Run:
    return open_run(shutil.copytree(path, tmp_path / "run"))


def best_file(run: Run) -> Path:
    best = run.pick("best")
    return checkpoint_file(run.folder.path, best.candidate.arch, best.rung)


def test_without_its_checkpoint_an_architecture_is_to_be_trained(copied: Run, tmp_path: Path) -> None:
    best_file(copied).unlink()
    number = copied.pick("best").candidate.number
    with pytest.raises(CheckpointError, match=f"train it with: eval --arch {copied.folder.path}:{number} --out DIR"):
        write_export(copied, copied.pick("best"), tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("content", [b"", b"no checkpoint", "half", "list", "other"])
def test_a_checkpoint_that_is_none_is_one_line(copied: Run, tmp_path: Path, content: bytes | str) -> None:
    file = best_file(copied)
    match content:
        case "half":
            file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
        case "list":
            torch.save([1, 2], file)
        case "other":
            other = copied.find("costly")
            file.write_bytes(checkpoint_file(copied.folder.path, other.candidate.arch, other.rung).read_bytes())
        case bytes():
            file.write_bytes(content)
    with pytest.raises(CheckpointError) as error:
        write_export(copied, copied.pick("best"), tmp_path / "out")
    assert str(file) in str(error.value)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "out").exists()


def test_a_damaged_best_costs_its_export_and_a_note(copied: Run) -> None:
    best_file(copied).write_bytes(b"torn")
    (copied.folder.path / "trials.csv").unlink()
    write_outputs(copied)
    assert (copied.folder.path / "trials.csv").exists()
    (note,) = copied.notes
    assert note.startswith("best/ was not written: ") and "eval --arch RUN:NAME" in note


def test_the_exported_file_is_a_program(path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(path / "best" / "model.py")], capture_output=True, text=True, check=True, cwd="/"
    )
    assert done.stderr == ""
