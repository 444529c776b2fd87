"""Verification with real training: it is the search's training, it alone sees test images, and it names the dead."""

import dataclasses
import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from small_search import InlineEngine, make_folder, make_settings
from small_training import ARCH, OTHER_ARCH, small_task
from torch import nn
from verify_runs import contender, inline, plan_of, verify

from lstn_search.data import glyphs, load_dataset
from lstn_search.jobs.work import run_job
from lstn_search.runs.run import Run
from lstn_search.spec.arch import Arch
from lstn_search.spec.ladder import Ladder
from lstn_search.spec.space import Space
from lstn_search.spec.task import Task
from lstn_search.study.search import search
from lstn_search.training.recovery import build_localizer
from lstn_search.training.workbench import Workbench
from lstn_search.verification.plan import make_plan
from lstn_search.verification.result import Verification

pytestmark = pytest.mark.usefixtures("unproved")

SHORT: dict[str, Any] = {"recover_steps": 60, "precision": "fp32"}


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> Iterator[set[int]]:
    """Every image that has been on a workbench."""
    seen: set[int] = set()
    plain = Workbench._batch

    def batch(self: Workbench, indices_B: torch.Tensor, *drawn: Any, **options: Any) -> Any:
        seen.update(indices_B.tolist())
        return plain(self, indices_B, *drawn, **options)

    monkeypatch.setattr(Workbench, "_batch", batch)
    yield seen


# -- the same training, and the only one that is tested -----------------------------------------------------------


def test_a_search_sees_no_test_image_and_its_seed_verified_gives_its_own_numbers(
    small_space: Space, small_dataset: Path, tmp_path: Path, seen: set[int]
) -> None:
    task, cache = small_task(small_dataset, **SHORT), tmp_path / "cache"
    settings = make_settings(small_space, task, ladder=Ladder(epochs=(1, 2), eta=1))
    run = search(small_space, settings, tmp_path / "run", InlineEngine.make(cache), trials=1)
    dataset = Workbench(task, cache_dir=cache, progress=False).dataset
    train, val, test = (set(part.tolist()) for part in (dataset.train_I, dataset.val_I, dataset.test_I))
    assert seen == train | val
    assert_nothing_is_said_of_test(run.folder.path)

    plan = dataclasses.replace(make_plan(run, top=1, seeds=2, against=["good"]), seeds=(task.seed, 1000))
    found = verify(plan, run.folder.path, inline(cache, run_job))
    assert seen == train | val | test
    assert_is_what_the_search_measured(run, found)
    for row in found.rows:
        assert row.seeds[0].val_top1 != row.seeds[1].val_top1 or row.seeds[0].test_top1 != row.seeds[1].test_top1
    warm = {file.stem for file in (cache / "backbones").glob("*.safetensors")}
    assert len(warm) == 2  # one a seed, whoever trained


def assert_nothing_is_said_of_test(folder: Path) -> None:
    """No key, column or table of a run names the test images, but for how many there are."""
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["data"].pop("test") > 0
    texts = {"manifest.json": json.dumps(manifest)}
    texts |= {path.name: path.read_text() for path in folder.glob("*") if path.suffix in (".csv", ".json")}
    texts["manifest.json"] = json.dumps(manifest)
    with sqlite3.connect(folder / "study.db") as study:
        texts["study.db"] = "\n".join(study.iterdump())
    assert {"trials.csv", "pareto.csv", "pareto.json"} < set(texts)
    for name, text in texts.items():
        for harmless in ("test_byobnet", "test_resnet", str(folder), folder.parent.name):
            text = text.replace(harmless, "")
        words = [word for word in ("test_top1", "test_acc", '"test"', ",test", "test_clean", "tested") if word in text]
        assert words == [], name
    for file in (folder / "checkpoints").glob("*.pt"):
        state = torch.load(file, weights_only=True)
        assert not [key for key in state if "test" in key]


def assert_is_what_the_search_measured(run: Run, found: Verification) -> None:
    """Digit for digit: architectures by their entries, control and oracle by the references of the top rung."""
    expected = {entry.candidate.name: entry.result for entry in run.entries if entry.result.epochs == 2}
    expected |= {"control": run.references.control[-1], "oracle": run.references.oracle[-1]}
    assert len(expected) >= 4
    for row in found.rows:
        assert row.seeds[0].val_top1 == expected[row.name].val_top1
        assert row.seeds[0].spread == expected[row.name].spread
    for finalist in found.finalists:
        assert finalist.searched_top1 == expected[finalist.name].val_top1
        assert finalist.optimism == pytest.approx(finalist.searched_top1 - (finalist.mean_val or 0))


# -- planted on glyphs ------------------------------------------------------------------------------------------------

INERT, COLLAPSED = ARCH, OTHER_ARCH
GLYPHS = Task(dataset="glyphs", image_size=32, trial_size=16, backbone="test_byobnet", recover_steps=5, epochs=1,
              warm_epochs=1, batch_size=250, precision="fp32", device="cpu")  # fmt: skip


def plant(bench: Workbench, arch: Arch) -> nn.Module:
    """The localizer; a planted one never learns its last layer: it stays the identity, or looks 8 times too far."""
    localizer = build_localizer(bench, arch)
    localizer.last.requires_grad_(arch not in (INERT, COLLAPSED))
    if arch == COLLAPSED:
        localizer.last.bias.mul_(8)
    return localizer


def test_a_planted_inert_localizer_has_no_benefit_and_a_planted_collapsed_one_is_named(
    small_space: Space, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lstn_search.training.trial.build_localizer", plant)
    monkeypatch.setattr(glyphs, "SIZES", (500, 600, 600))
    contenders = (
        dataclasses.replace(contender("t1", 4, gflops=0.001), arch=INERT),
        dataclasses.replace(contender("t2", 5, gflops=0.002), arch=COLLAPSED),
    )
    cache = tmp_path / "cache"
    dataset = load_dataset("glyphs", image_size=GLYPHS.trial_size, cache_dir=cache, progress=False)
    folder = make_folder(tmp_path / "run", make_settings(small_space, GLYPHS))
    folder.write_manifest(data={"fingerprint": dataset.fingerprint})
    plan = dataclasses.replace(plan_of(*contenders, seeds=(1000, 1001), num_images=600), task=GLYPHS)
    found = verify(plan, folder.path, inline(cache, run_job))
    inert, collapsed = found.finalists
    assert inert.verdicts == ("inert in 2 of 2 seeds", "no benefit over no STN")
    assert collapsed.verdicts == ("collapsed in 2 of 2 seeds", "no benefit over no STN")
    assert found.pick is None
    assert inert.versus_control and abs(inert.versus_control.mean) < 2
    assert all(row.spread == 0 for row in inert.seeds)
    assert any(sentence.startswith("t2: collapsed in 2 of 2 seeds; no benefit") for sentence in found.sentences)
