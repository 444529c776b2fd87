"""Trials and references: the same numbers every time, failures by name, the paper's protocol as the paper has it."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from small_training import ARCH, OTHER_ARCH, climb, run_trial, same_numbers, small_task, state_of

from lstn_search.errors import ArchError, SettingError
from lstn_search.nets.transformer import TransformedClassifier
from lstn_search.runs.checkpoints import load_checkpoint, save_checkpoint
from lstn_search.spec.arch import Arch, Layer
from lstn_search.spec.names import SCORED_FILLS
from lstn_search.spec.results import References, TrialResult, gap_closed
from lstn_search.training.joint import Epoch, JointTraining
from lstn_search.training.prepared import Prepared
from lstn_search.training.references import fair_epochs, reference_key
from lstn_search.training.trial import PaperTrial, Trial, start_trial
from lstn_search.training.warm import Warm
from lstn_search.training.workbench import Workbench

Make = Callable[..., Workbench]
Trained = tuple[TrialResult, TransformedClassifier]


@pytest.fixture
def make(bench: Workbench, small_cache: Path) -> Make:
    """The small task's workbench with other settings, anew."""

    def make(**settings: Any) -> Workbench:
        return Workbench(dataclasses.replace(bench.task, **settings), cache_dir=small_cache, progress=False)

    return make


@pytest.fixture(scope="module")
def trained(bench: Workbench, warm: Warm) -> Trained:
    result, model = run_trial(bench, ARCH, warm)
    assert model is not None
    return result, model


# -- the recover protocol ----------------------------------------------------------------------------------------------


def test_a_trial_beats_the_control_before_and_after_joint_training(trained: Trained, references: References) -> None:
    result = trained[0]
    assert result.status == "ok" and result.reason == ""
    for rung, column in enumerate(("frozen_top1", "val_top1")):
        control, oracle = references.control[rung], references.oracle[rung].accuracy
        control = control.equal_epochs_top1 if rung else control.accuracy
        assert control is not None and oracle is not None
        assert control + 10 < getattr(result, column)
        assert control + 10 < oracle
    assert result.epochs == len(result.history) == 2
    assert result.alignment_mse is not None and result.alignment_mse < 0.02
    assert [name for name, value in dataclasses.asdict(result).items() if value is None] == ["equal_epochs_top1"]


def test_the_model_that_comes_back_is_the_one_that_was_measured(bench: Workbench, trained: Trained) -> None:
    result, model = trained
    under_view, _ = bench.evaluate(model, bench.dataset.val_I, view=bench.view)
    upright, _ = bench.evaluate(model, bench.dataset.val_I, view=None)
    assert (under_view.top1, under_view.top5) == (result.val_top1, result.val_top5)
    assert (upright.top1, upright.top5) == (result.val_clean_top1, result.val_clean_top5)


def test_the_same_trial_gives_the_same_numbers(bench: Workbench, warm: Warm, trained: Trained) -> None:
    run_trial(bench, OTHER_ARCH, warm)  # another one in between changes nothing
    again, model = run_trial(bench, ARCH, warm)
    assert same_numbers(again) == same_numbers(trained[0])
    assert model is not None
    weights = state_of(trained[1])
    assert all(torch.equal(tensor, weights[name]) for name, tensor in state_of(model).items())


def test_another_seed_gives_other_numbers(make: Make, warm: Warm, trained: Trained) -> None:
    other, _ = run_trial(make(seed=1), ARCH, warm)
    assert same_numbers(other) != same_numbers(trained[0])


def test_a_result_is_written_as_json_and_read_back(trained: Trained) -> None:
    text = json.dumps(trained[0].to_dict(), allow_nan=False)
    assert TrialResult.from_dict(json.loads(text)) == trained[0]


def test_stages_are_told_in_order(make: Make, warm: Warm) -> None:
    stages: list[str] = []
    run_trial(make(recover_steps=2), OTHER_ARCH, warm, on_stage=stages.append)
    assert stages == ["recover", "joint 1/2", "joint 2/2"]


@pytest.mark.parametrize(
    ("settings", "reason"), [({"recover_lr": 1e30}, "recover loss is"), ({"lr": 1e30, "recover_steps": 10}, "the loss")]
)
def test_what_diverges_is_a_recorded_failure(settings: dict[str, Any], reason: str, make: Make, warm: Warm) -> None:
    result, model = run_trial(make(**settings), ARCH, warm)
    assert model is None
    assert result.status == "failed"
    assert reason in result.reason and "\n" not in result.reason
    assert result.val_top1 is None
    assert (result.frozen_top1 is None) is ("recover_lr" in settings)  # what was measured before is kept
    json.dumps(result.to_dict(), allow_nan=False)


def test_a_localizer_that_learns_nothing_is_named(make: Make, warm: Warm) -> None:
    result, model = run_trial(make(recover_lr=1e-12, localizer_lr_scale=1e-9, epochs=1), ARCH, warm)
    assert model is not None
    assert result.status == "inert"
    assert result.spread is not None and result.spread < 1e-3


def test_a_localizer_that_runs_away_is_named(make: Make, warm: Warm) -> None:
    """Its loss stays finite: the sampler shows zeros and the classifier guesses."""
    result, _ = run_trial(make(recover_steps=5, localizer_lr_scale=3e4, epochs=1), OTHER_ARCH, warm)
    assert result.status == "collapsed"
    json.dumps(result.to_dict(), allow_nan=False)


def test_an_architecture_too_large_for_the_image_is_refused(bench: Workbench, warm: Warm) -> None:
    with pytest.raises(ArchError, match="image size 24"):
        run_trial(bench, Arch(layers=(Layer(out_channels=2, kernel=5, stride=4),) * 3), warm)


# -- put aside and taken up again --------------------------------------------------------------------------------------


@pytest.mark.parametrize("stops", [{"begin"}, {"train_to"}, {"begin", "train_to"}])
def test_a_trial_put_aside_ends_like_one_that_was_never_interrupted(
    stops: set[str], bench: Workbench, warm: Warm, trained: Trained, tmp_path: Path
) -> None:
    """Digit for digit, through a file and in a trial that knows nothing else."""
    prepared = Prepared(bench, warm)

    def put_aside(trial: Trial) -> Trial:
        save_checkpoint(tmp_path / "state.pt", trial.state_dict())
        start_trial(prepared, OTHER_ARCH)  # draws its own random numbers
        fresh = start_trial(prepared, ARCH)
        fresh.load_state_dict(load_checkpoint(tmp_path / "state.pt"))
        return fresh

    trial = start_trial(prepared, ARCH)
    first = trial.begin()
    trial = put_aside(trial) if "begin" in stops else trial
    between = trial.train_to(1)
    trial = put_aside(trial) if "train_to" in stops else trial
    last = trial.train_to(2)

    whole, model = trained
    assert (first.val_top1, between.epochs, last.epochs) == (None, 1, 2)
    assert [same_epoch(row) for row in between.history] == [same_epoch(row) for row in whole.history[:1]]
    recovered, joint, expected = same_numbers(first), same_numbers(last), same_numbers(whole)
    of_recover = {"recover_steps", "alignment_mse", "corner_error_px", "frozen_top1"} | {
        f"frozen_{fill}" for fill in SCORED_FILLS
    }
    assert {name: recovered[name] for name in of_recover} == {name: expected[name] for name in of_recover}
    assert {**joint, **dict.fromkeys(of_recover)} == {**expected, **dict.fromkeys(of_recover)}
    assert joint["frozen_top1"] is None
    weights = state_of(model)
    assert all(torch.equal(tensor, weights[name]) for name, tensor in state_of(trial.model).items())
    assert [(row["stage"], row["at"]) for row in trial.snapshots] == [
        *(("recover", steps) for steps in (6, 16, 32, 80, 160)),
        *(("joint", epochs) for epochs in (1, 2)),
    ]
    last_snapshot, localizer = trial.snapshots[-1]["localizer"], trial.model.transformer.localizer  # type: ignore[union-attr]
    assert all(torch.equal(t, last_snapshot[name]) for name, t in localizer.half().state_dict().items())


def same_epoch(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name != "seconds"}


def test_from_the_top_nobody_goes_on(make: Make, warm: Warm) -> None:
    """What is kept there is what was trained, without what only going on needs."""
    prepared = Prepared(make(recover_steps=2, epochs=1), warm)
    trial = start_trial(prepared, OTHER_ARCH)
    trial.begin()
    assert set(trial.state_dict()) == set(trial.state_dict(resumable=False)) == {"arch", "snapshots", "localizer"}
    trial.train_to(1)
    whole, top = trial.state_dict(), trial.state_dict(resumable=False)
    assert set(whole) - set(top) == {"training"}
    assert top["arch"] == OTHER_ARCH.to_json()
    assert all(torch.equal(top["trained"][name], tensor) for name, tensor in state_of(trial.model).items())
    with pytest.raises(AssertionError, match="nobody goes on from the top"):
        start_trial(prepared, OTHER_ARCH).load_state_dict(top)


# -- references --------------------------------------------------------------------------------------------------------


def test_references_start_from_the_frozen_backbone(bench: Workbench, warm: Warm, references: References) -> None:
    model = TransformedClassifier(None, warm.backbone(bench))
    for (rung0, rung1), undo in ((references.control, False), (references.oracle, True)):
        frozen, _ = bench.evaluate(model, bench.dataset.val_I, view=bench.view, undo=undo)
        assert rung0.frozen_top1 == rung0.accuracy == frozen.top1
        assert rung0.epochs is None and rung1.epochs in ((2,) if undo else (2, fair_epochs(bench, 2)))
        assert rung0.status == rung1.status == "ok"
        assert rung1.spread is None


@pytest.mark.parametrize("name", ["control", "oracle"])
def test_a_reference_is_a_trial_without_an_architecture(
    name: str, bench: Workbench, warm: Warm, references: References
) -> None:
    is_oracle = name == "oracle"
    trial = start_trial(Prepared(bench, warm), None, oracle=is_oracle)
    first, second = getattr(references, name)
    rungs = (trial.begin(), trial.train_to(2 if is_oracle else second.epochs))
    compared = same_numbers(second) | {"equal_epochs_top1": None}
    assert [same_numbers(rung) for rung in rungs] == [same_numbers(first), compared]
    assert trial.model.transformer is None and trial.snapshots == []
    scores, _ = bench.evaluate(trial.model, bench.dataset.val_I, view=bench.view, undo=is_oracle)
    assert (scores.top1, scores.top5) == (rungs[1].val_top1, rungs[1].val_top5)
    if is_oracle:
        whole, _ = run_trial(bench, None, warm, oracle=True)
        assert same_numbers(whole) == same_numbers(rungs[1]) | {"frozen_top1": rungs[0].frozen_top1}


def test_the_control_is_the_better_one_of_as_many_epochs_and_of_as_many_steps(
    bench: Workbench, warm: Warm, references: References
) -> None:
    trial = start_trial(Prepared(bench, warm), None)
    shorter, longer = trial.train_to(2), trial.train_to(fair_epochs(bench, 2))
    assert longer.epochs is not None
    assert (longer.epochs - 1) * bench.batches_per_epoch < 2 * bench.batches_per_epoch + bench.task.recover_steps
    assert longer.epochs * bench.batches_per_epoch >= 2 * bench.batches_per_epoch + bench.task.recover_steps
    control = references.control[1]
    assert control.equal_epochs_top1 == shorter.val_top1
    assert control.val_top1 == max(shorter.val_top1 or 0, longer.val_top1 or 0)
    assert shorter.val_top1 != longer.val_top1
    assert references.oracle[1].epochs == 2  # nothing is better for the oracle than to be compared


def test_references_are_trained_once(
    bench: Workbench, warm: Warm, references: References, small_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(JointTraining, "run_epoch", lambda *args: pytest.fail("trained again"))
    assert climb(bench, warm, small_cache) == references


def test_their_key_is_another_for_what_they_depend_on_and_the_same_for_the_rest(
    bench: Workbench, make: Make, warm: Warm
) -> None:
    key = reference_key(bench, warm)
    for same in ({"recover_lr": 0.1}, {"localizer_lr_scale": 1.0}, {"image_size": 99}):
        assert reference_key(make(**same), warm) == key, same
    for other in (
        {"seed": 1},
        {"epochs": 3},
        {"recover_steps": 9},  # the control trains for as many steps
        {"view_strength": 0.5},
        {"warm_epochs": 7},
        {"lr": 0.1},
        {"split_seed": 1},
    ):
        assert reference_key(make(**other), warm) != key, other
    half = make()
    half.use_autocast = True
    assert reference_key(half, warm) != key
    scratch, elsewhere, other_images = make(), make(), make()
    elsewhere.device = torch.device("meta")
    other_images.dataset = dataclasses.replace(bench.dataset, fingerprint="another")
    assert len({reference_key(one, None) for one in (scratch, elsewhere, other_images)} | {key}) == 4


def test_without_a_view_there_is_no_gap(make: Make, warm: Warm, tmp_path: Path) -> None:
    upright = make(view="none", epochs=1)
    references = climb(upright, warm, tmp_path)
    assert references.oracle == references.control
    assert references.gap_closed(TrialResult(status="ok", val_top1=99.0), 1) is None


def test_the_gap_closed_is_a_share_in_percent() -> None:
    cases = {40.0: 0, 50.0: 25, 80.0: 100, 90.0: 125, 30.0: -25, None: None}
    assert {accuracy: gap_closed(accuracy, 40.0, 80.0) for accuracy in cases} == cases
    assert gap_closed(60.0, 80.0, 40.0) is None
    assert gap_closed(60.0, 40.0, None) is None


def test_each_rung_is_quoted_against_its_own_references() -> None:
    frozen = TrialResult(status="ok", frozen_top1=30.0)
    joint = dataclasses.replace(frozen, val_top1=50.0)  # from here on the frozen score does not count
    control = (TrialResult(status="ok", frozen_top1=20.0), TrialResult(status="ok", val_top1=40.0))
    oracle = (TrialResult(status="ok", frozen_top1=60.0), TrialResult(status="ok", val_top1=80.0))
    references = References(control=control, oracle=oracle)
    assert (references.gap_closed(frozen, 0), references.gap_closed(joint, 1)) == (25.0, 25.0)
    assert references.gap_closed(joint, 2) is None
    assert References().gap_closed(joint, 0) is None
    assert References.from_dict(json.loads(json.dumps(references.to_dict()))) == references


def test_a_control_that_diverges_is_one_line(make: Make, warm: Warm, tmp_path: Path) -> None:
    with pytest.raises(SettingError, match=r"'test_byobnet' diverged without a localizer .*choose another --backbone"):
        run_trial(make(lr=1e30), None, warm)
    with pytest.raises(SettingError, match=r"'test_byobnet' diverged without a localizer .*choose another --backbone"):
        climb(make(lr=1e30), warm, tmp_path)


# -- the paper's protocol ----------------------------------------------------------------------------------------------


@pytest.fixture
def paper(small_dataset: Path, small_cache: Path) -> Workbench:
    settings = {"view": "none", "lr": 1e-3, "localizer_lr_scale": 1.0, "epochs": 1, "max_epochs": 3, "batch_size": 20}
    return Workbench(small_task(small_dataset, protocol="paper", **settings), cache_dir=small_cache, progress=False)


def test_the_paper_trains_from_scratch_at_a_constant_rate_without_averaging(
    paper: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainings: list[JointTraining] = []
    rates: set[float] = set()
    plain = JointTraining.run_epoch

    def run_epoch(self: JointTraining, **options: Any) -> Epoch:
        if not self.epochs:
            trainings.append(self)
            start = state_of(self.model.backbone)
            assert all(torch.equal(start[name], tensor) for name, tensor in state_of(paper.build_backbone()).items())
            self.optimizer.adam.register_step_post_hook(
                lambda adam, *_: rates.update(g["lr"] for g in adam.param_groups)
            )
        return plain(self, **options)

    monkeypatch.setattr(JointTraining, "run_epoch", run_epoch)
    result, _ = run_trial(paper, ARCH, None)
    (training,) = trainings
    assert training.evaluated is training.model
    assert not any(group["params"] for group in training.optimizer.muon.param_groups)
    assert all(group["betas"] == (0.9, 0.999) for group in training.optimizer.adam.param_groups)
    assert rates == {1e-3}
    assert training.num_steps == result.epochs * 360 // 20  # type: ignore[operator]
    assert (result.recover_steps, result.alignment_mse, result.frozen_top1) == (None, None, None)
    assert result.val_clean_top1 == result.val_top1


@pytest.mark.parametrize(
    ("accuracies", "floor", "num_epochs", "best"),
    [
        ([30.0, 60.0, 50.0], 1, 3, 2),  # max_epochs ends it; the second was best
        ([60.0, 60.0, 50.0], 1, 3, 1),  # of equal ones the first
        ([50.0, 70.0, *[60.0] * 18], 1, 12, 2),  # ten level epochs
        ([50.0, 70.0, *[60.0] * 18], 15, 15, 2),  # not before the floor
    ],
)
def test_the_paper_stops_early_and_keeps_the_best_epoch(
    accuracies: list[float], floor: int, num_epochs: int, best: int, paper: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The epochs are played; everything that decides is real."""
    task = dataclasses.replace(paper.task, epochs=floor, max_epochs=len(accuracies))
    monkeypatch.setattr(paper, "task", task)

    def play(self: JointTraining, *, evaluate: bool) -> Epoch:
        assert evaluate
        number = len(self.epochs) + 1
        with torch.no_grad():
            next(self.model.backbone.parameters()).fill_(number)
        scores, _ = paper.evaluate(self.model, paper.dataset.val_I, view=None)
        val = dataclasses.replace(scores, top1=accuracies[number - 1])
        self.epochs.append(Epoch(number=number, seconds=0.0, train_loss=1.0, health=None, val=val))
        return self.epochs[-1]

    monkeypatch.setattr(JointTraining, "run_epoch", play)
    result, model = run_trial(paper, ARCH, None)
    assert model is not None
    assert result.epochs == num_epochs
    assert [row["val_top1"] for row in result.history] == accuracies[:num_epochs]
    assert next(model.backbone.parameters()).unique().tolist() == [best]


def test_the_papers_control_is_trained_the_same_way(paper: Workbench) -> None:
    result, model = run_trial(paper, None, None)
    assert model is not None and model.transformer is None
    assert result.val_top1 == max(row["val_top1"] for row in result.history)
    assert result.frozen_top1 is None


def test_the_papers_protocol_has_one_rung(paper: Workbench) -> None:
    prepared = Prepared(paper, None)
    trial = start_trial(prepared, ARCH)
    begun = trial.begin()
    assert (type(trial), type(start_trial(Prepared(paper, None), None))) == (PaperTrial, PaperTrial)
    assert same_numbers(begun) == same_numbers(run_trial(paper, ARCH, None)[0])
    state = trial.state_dict()
    assert set(state) == {"arch", "trained"} and trial.snapshots == []
    assert all(torch.equal(state["trained"][name], tensor) for name, tensor in state_of(trial.model).items())
    with pytest.raises(NotImplementedError):
        trial.train_to(2)
    with pytest.raises(NotImplementedError):
        start_trial(prepared, ARCH).load_state_dict(state)
