"""Eval: the test images are looked at here and only here; control and oracle are trained once."""

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from small_training import ARCH, IMAGES, run_trial, same_numbers

from lstn_search.errors import RunError
from lstn_search.nets.transformer import TransformedClassifier
from lstn_search.shipping.export import write_evaluation
from lstn_search.spec.arch import Arch
from lstn_search.spec.cost import cost
from lstn_search.spec.reading import read_as
from lstn_search.spec.results import References
from lstn_search.training.evaluation import EvalReport, Evaluation, evaluate
from lstn_search.training.prepared import Prepared
from lstn_search.training.warm import Warm
from lstn_search.training.workbench import Batch, Workbench

Evaluated = tuple[EvalReport, TransformedClassifier]


def quiet(stage: str) -> None:
    """Nobody watches."""


@pytest.fixture(scope="module")
def evaluated(bench: Workbench, warm: Warm, small_cache: Path) -> Evaluated:
    report, model = evaluate(Prepared(bench, warm), ARCH, name="dots", cache_dir=small_cache, on_stage=quiet)
    assert model is not None
    return report, model


def test_the_architecture_stands_between_control_and_oracle(bench: Workbench, evaluated: Evaluated) -> None:
    report, _ = evaluated
    assert report.arch and report.oracle
    rows = [report.control, report.arch, report.oracle]
    assert [row.name for row in rows] == ["control", "dots", "oracle"]
    control, arch, oracle = (row.test for row in rows)
    assert control and arch and oracle
    assert control.num == arch.num == oracle.num == 6 * IMAGES["test"]
    at_equal_epochs = report.control.result.equal_epochs_top1
    assert at_equal_epochs is not None and report.arch.result.val_top1 and report.oracle.result.val_top1
    assert at_equal_epochs + 10 < min(report.arch.result.val_top1, report.oracle.result.val_top1)
    facts = cost(ARCH, bench.task.image_size)
    assert (report.arch.params, report.arch.gflops) == (facts.params, facts.gflops)
    assert (report.control.params, report.control.gflops) == (None, None)


def test_the_test_scores_are_those_of_the_model_that_comes_back(bench: Workbench, evaluated: Evaluated) -> None:
    report, model = evaluated
    assert report.arch
    test_I = bench.dataset.test_I
    assert report.arch.test == bench.evaluate(model, test_I, view=bench.view)[0]
    assert report.arch.test_clean == bench.evaluate(model, test_I, view=None)[0]


def test_the_result_is_that_of_the_trial(bench: Workbench, warm: Warm, evaluated: Evaluated) -> None:
    assert evaluated[0].arch
    result, _ = run_trial(bench, ARCH, warm)
    assert same_numbers(result) == same_numbers(evaluated[0].arch.result)


def test_the_references_are_those_of_the_search(evaluated: Evaluated, references: References) -> None:
    report, _ = evaluated
    assert report.oracle
    for row, (frozen, joint) in ((report.control, references.control), (report.oracle, references.oracle)):
        assert same_numbers(row.result) == same_numbers(joint) | {"frozen_top1": frozen.frozen_top1}


def test_the_second_time_nothing_is_trained(
    bench: Workbench, warm: Warm, small_cache: Path, evaluated: Evaluated, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "lstn_search.training.evaluation.start_trial", lambda *args, **options: pytest.fail("trained again")
    )
    report, model = evaluate(Prepared(bench, warm), None, name="none", cache_dir=small_cache, on_stage=quiet)
    assert model is None and report.arch is None
    assert (report.control, report.oracle) == (evaluated[0].control, evaluated[0].oracle)


def test_a_trial_never_sees_a_test_image(
    bench: Workbench, warm: Warm, small_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: set[int] = set()
    plain = Workbench._batch

    def batch(self: Workbench, indices_B: torch.Tensor, *drawn: Any, **options: Any) -> Batch:
        seen.update(indices_B.tolist())
        return plain(self, indices_B, *drawn, **options)

    monkeypatch.setattr(Workbench, "_batch", batch)
    short = Workbench(dataclasses.replace(bench.task, epochs=1, recover_steps=9), cache_dir=small_cache, progress=False)
    run_trial(short, ARCH, warm)
    train, val, test = (
        set(part.tolist()) for part in (bench.dataset.train_I, bench.dataset.val_I, bench.dataset.test_I)
    )
    assert seen == train | val
    evaluate(Prepared(short, warm), None, name="none", cache_dir=tmp_path, on_stage=quiet)
    assert seen == train | val | test


def test_a_failure_has_no_test_scores(bench: Workbench, warm: Warm, small_cache: Path) -> None:
    absurd = Workbench(dataclasses.replace(bench.task, recover_lr=1e30), cache_dir=small_cache, progress=False)
    report, model = evaluate(Prepared(absurd, warm), ARCH, name="dots", cache_dir=small_cache, on_stage=quiet)
    assert report.arch
    assert model is None
    assert (report.arch.result.status, report.arch.test, report.arch.test_clean) == ("failed", None, None)
    assert read_as(Evaluation, json.loads(json.dumps(report.arch.to_dict()))) == report.arch


def test_without_a_view_there_is_no_oracle(bench: Workbench, warm: Warm, small_cache: Path, tmp_path: Path) -> None:
    upright = Workbench(dataclasses.replace(bench.task, view="none", epochs=1), cache_dir=small_cache, progress=False)
    report, _ = evaluate(Prepared(upright, warm), None, name="none", cache_dir=tmp_path, on_stage=quiet)
    assert report.oracle is None
    assert report.control.test == report.control.test_clean


@pytest.mark.usefixtures("unproved")
def test_everything_is_written_and_read_back(evaluated: Evaluated, bench: Workbench, tmp_path: Path) -> None:
    report, model = evaluated
    write_evaluation(tmp_path / "out", report, model, bench)
    written = json.loads((tmp_path / "out" / "report.json").read_text())
    assert read_as(Evaluation, written["arch"]) == report.arch
    assert read_as(Evaluation, written["oracle"]) == report.oracle
    assert written["task"] == bench.task.to_dict()
    assert Arch.load(tmp_path / "out" / "arch.json") == ARCH
    assert (tmp_path / "out" / "weights.pt").exists()


def test_a_folder_that_cannot_be_written_is_one_line(evaluated: Evaluated, bench: Workbench, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match=r"file/out: cannot be written \(.+\); choose another folder"):
        write_evaluation(tmp_path / "file" / "out", *evaluated, bench)


@pytest.fixture(autouse=True)
def as_it_was(bench: Workbench) -> Iterator[None]:
    """No test may change the session's workbench."""
    before = dict(vars(bench))
    yield
    assert vars(bench).keys() == before.keys()
    assert all(value is before[name] for name, value in vars(bench).items())
