"""The joint stage: constant learning rate, averaged weights, epochs that can be done in parts, failures by name."""

import dataclasses
import io
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from small_training import ARCH, state_of
from torch import nn

from lstn_search.nets.transformer import warp
from lstn_search.training.averaging import DECAY
from lstn_search.training.health import examine
from lstn_search.training.joint import JointTraining
from lstn_search.training.recovery import Diverged, build_localizer
from lstn_search.training.warm import Warm
from lstn_search.training.workbench import Workbench

Start = Callable[..., JointTraining]


@pytest.fixture
def start(bench: Workbench, warm: Warm) -> Start:
    """A new training, always from the same weights; `arch=None` trains without a transformer."""

    def start(arch: Any = ARCH, *, on: Workbench = bench, **options: Any) -> JointTraining:
        localizer = None if arch is None else build_localizer(on, arch)
        return JointTraining(on, localizer, warm.backbone(on), view=on.view, **options)

    return start


@dataclasses.dataclass
class Diary:
    """What a training's weights and learning rates are after each step."""

    states: list[dict[str, torch.Tensor]] = dataclasses.field(default_factory=list)
    rates: list[list[float]] = dataclasses.field(default_factory=list)

    def keep(self, training: JointTraining) -> "Diary":
        def write(adam: torch.optim.Optimizer, *_: Any) -> None:  # Muon's step comes before Adam's
            self.states.append(state_of(training.model))
            self.rates.append([group["lr"] for group in adam.param_groups])
            assert self.rates[-1] == [group["lr"] for group in training.optimizer.muon.param_groups]

        training.optimizer.adam.register_step_post_hook(write)
        return self


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_the_rate_is_constant_after_a_warm_up_and_lower_for_the_localizer(
    bench: Workbench, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lstn_search.training.averaging.WARMUP_STEPS", 12)
    training = start()
    diary = Diary().keep(training)
    for _ in range(2):
        training.run_epoch()
    task = bench.task
    for step, (backbone, localizer) in enumerate(diary.rates, start=1):
        assert backbone == pytest.approx(task.lr * min(1, step / 12))
        assert localizer == pytest.approx(task.localizer_lr_scale * backbone)
    assert len(diary.rates) == 2 * bench.batches_per_epoch > 12


@pytest.mark.parametrize("average", [True, False])
def test_every_weight_is_trained_once(start: Start, average: bool) -> None:
    training = start(average=average)
    adam, muon = training.optimizer.adam.param_groups, training.optimizer.muon.param_groups
    assert all(group["betas"] == (0.9, 0.999) and group["weight_decay"] == 0 for group in adam)
    trained = [weight for group in (*adam, *muon) for weight in group["params"]]
    assert any(group["params"] for group in muon) == average
    assert {id(weight) for weight in trained} == {id(weight) for weight in training.model.parameters()}
    assert len(trained) == len(list(training.model.parameters()))


def test_what_is_evaluated_is_the_moving_average_of_weights_and_buffers(bench: Workbench, start: Start) -> None:
    training = start()
    diary = Diary().keep(training)
    for _ in range(2):
        training.run_epoch()
    average = {name: tensor.double() for name, tensor in diary.states[0].items()}
    for steps, state in enumerate(diary.states[1:], start=2):
        decay = min(DECAY, steps / (steps + 9))
        for name, tensor in state.items():
            average[name] = decay * average[name] + (1 - decay) * tensor.double()
    evaluated = state_of(training.evaluated)
    assert any("running_var" in name for name in evaluated)
    for name, tensor in evaluated.items():
        if tensor.is_floating_point():
            torch.testing.assert_close(tensor.double(), average[name], rtol=1e-4, atol=1e-5)
            moved = (diary.states[-1][name] - diary.states[0][name]).abs().max()
            assert moved == 0 or not torch.equal(tensor, diary.states[-1][name]), name
    measured = training.measure()
    by_hand, _ = bench.evaluate(training.evaluated, bench.dataset.val_I, view=bench.view)
    assert measured.val == by_hand
    assert measured.val_clean == bench.evaluate(training.evaluated, bench.dataset.val_I, view=None)[0]


def test_without_averaging_the_weights_themselves_count_and_the_rate_is_constant(
    bench: Workbench, start: Start
) -> None:
    training = start(average=False)
    diary = Diary().keep(training)
    training.run_epoch()
    assert training.evaluated is training.model
    assert diary.rates == [[bench.task.lr, bench.task.lr * bench.task.localizer_lr_scale]] * len(diary.rates)


def test_an_epoch_and_later_two_more_are_three(start: Start) -> None:
    """Also when the training is measured in between and other things are drawn."""
    whole, parts = start(), start()
    for _ in range(3):
        whole.run_epoch()
    parts.run_epoch()
    parts.measure()
    torch.manual_seed(123)
    for _ in range(2):
        parts.run_epoch()
    assert same(state_of(whole.model), state_of(parts.model))
    assert same(state_of(whole.evaluated), state_of(parts.evaluated))
    for one, other in zip(whole.epochs, parts.epochs, strict=True):
        assert dataclasses.replace(one, seconds=0) == dataclasses.replace(other, seconds=0)
    assert [epoch.number for epoch in parts.epochs] == [1, 2, 3]


@pytest.mark.parametrize("average", [True, False])
def test_a_training_goes_on_from_its_saved_state(start: Start, average: bool) -> None:
    """Read by another process: into modules that were built anew, from tensors and plain types."""
    whole = start(average=average)
    whole.run_epoch()
    file = io.BytesIO()
    torch.save(whole.state_dict(), file)
    whole.run_epoch()

    other = start(average=average)
    other.run_epoch()  # has been somewhere else meanwhile
    other.load_state_dict(torch.load(io.BytesIO(file.getvalue()), weights_only=True))
    assert other.epochs == whole.epochs[:1]
    other.run_epoch()
    assert same(state_of(whole.model), state_of(other.model))
    assert same(state_of(whole.evaluated), state_of(other.evaluated))
    assert dataclasses.replace(other.measure(), seconds=0, epochs=()) == dataclasses.replace(
        whole.measure(), seconds=0, epochs=()
    )
    assert other.num_steps == whole.num_steps


def test_training_lowers_the_loss_of_both_the_control_and_the_transformed(start: Start) -> None:
    for arch in (None, ARCH):
        training = start(arch)
        losses = [training.run_epoch().train_loss for _ in range(3)]
        assert losses[-1] < 0.8 * losses[0]
        assert (training.epochs[-1].health is None) is (arch is None)
        assert (training.measure().health is None) is (arch is None)


def test_the_loss_of_an_epoch_is_the_mean_over_its_batches(bench: Workbench, start: Start) -> None:
    training = start()
    seen: list[float] = []
    plain = training._step

    def step(*batch: Any) -> Any:
        loss, theta_B23 = plain(*batch)
        seen.append(loss.item())
        return loss, theta_B23

    training._step = step  # type: ignore[method-assign, assignment]
    assert training.run_epoch().train_loss == pytest.approx(sum(seen) / bench.batches_per_epoch, rel=1e-5)


def test_health_is_that_of_the_validation_images_under_the_view(bench: Workbench, start: Start) -> None:
    training = start()
    training.run_epoch()
    joint = training.measure()
    with torch.no_grad():
        (batch,) = bench.eval_batches(bench.dataset.val_I, bench.view)
        transformer = training.evaluated.eval().transformer
        assert transformer is not None
        warped_BCHW, theta_B23 = transformer(batch.x_BCHW)
    assert joint.health == examine(theta_B23)
    torch.testing.assert_close(warped_BCHW, warp(batch.x_BCHW, theta_B23))


def test_the_oracle_learns_more_than_the_control(start: Start) -> None:
    accuracies = []
    for undo in (False, True):
        training = start(None, undo=undo)
        training.run_epoch()
        accuracies.append(training.measure().val.top1)
    assert accuracies[1] > accuracies[0] + 10


def test_the_oracle_is_trained_on_images_whose_warp_was_undone(bench: Workbench, start: Start) -> None:
    training = start(None, undo=True)
    seen: list[torch.Tensor] = []
    training.model.backbone.register_forward_pre_hook(lambda _, args: seen.append(args[0].detach().clone()))
    training.run_epoch()
    for x_BCHW, batch in zip(seen, bench.train_batches("joint", 1, bench.view), strict=True):
        assert batch.target_B23 is not None
        assert torch.equal(x_BCHW, warp(batch.x_BCHW, batch.target_B23))


def test_an_epoch_that_is_evaluated_is_evaluated_by_the_weights_that_count(start: Start) -> None:
    training = start(None)
    assert training.run_epoch(evaluate=True).val == training.measure().val
    training.model.load_state_dict({name: 0 * tensor for name, tensor in state_of(training.model).items()})
    assert training.measure().val == training.epochs[0].val


def test_dropout_draws_the_same_whatever_was_drawn_before(bench: Workbench, small_cache: Path) -> None:
    task = dataclasses.replace(bench.task, backbone="torchvision:squeezenet1_1", batch_size=180)
    dropping = Workbench(task, cache_dir=small_cache, progress=False)
    losses = []
    for seed in (1, 2):
        training = JointTraining(dropping, None, dropping.build_backbone())
        torch.manual_seed(seed)
        losses.append(training.run_epoch().train_loss)
    assert losses[0] == losses[1]


def test_a_loss_that_is_not_finite_ends_the_training(bench: Workbench, start: Start, small_cache: Path) -> None:
    absurd = Workbench(dataclasses.replace(bench.task, lr=1e30), cache_dir=small_cache, progress=False)
    with pytest.raises(Diverged, match=r"the loss is (nan|inf) in joint epoch 1"):
        start(on=absurd).run_epoch()


def test_a_weight_that_is_not_finite_ends_the_training(start: Start) -> None:
    """As after a last step whose loss was finite and whose gradient was not."""
    training = start()

    def spoil(*_: Any) -> None:
        if training.num_steps == training.bench.batches_per_epoch - 1:
            next(training.model.backbone.parameters()).data.fill_(math.nan)

    training.optimizer.adam.register_step_post_hook(spoil)
    with pytest.raises(Diverged, match="the weights are not finite after joint epoch 1"):
        training.run_epoch()


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_theta_that_is_not_finite_is_not_measured(start: Start, value: float) -> None:
    training = start()
    training.run_epoch()
    transformer = training.evaluated.transformer
    assert transformer is not None
    transformer.localizer = Broken(value)
    with pytest.raises(Diverged, match="theta is not finite after joint epoch 1"):
        training.measure()


class Broken(nn.Module):
    """A localizer with one bad number in the last theta of a batch."""

    def __init__(self, value: float) -> None:
        super().__init__()
        self.value = value

    def forward(self, x_BCHW: torch.Tensor) -> torch.Tensor:
        theta_B23 = torch.eye(2, 3).repeat(len(x_BCHW), 1, 1)
        theta_B23[-1, 0, 2] = self.value
        return theta_B23
