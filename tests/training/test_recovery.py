"""The recover stage: a localizer learns to undo warps; its errors are those of explicit arithmetic."""

import dataclasses
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from small_training import ARCH, SIZE_PX, recover, state_of
from tiny_spaces import with_warp
from torch import nn

from lstn_search.nets.transformer import SpatialTransformer, TransformedClassifier
from lstn_search.nets.warps import to_matrix
from lstn_search.spec.warp_families import WARP_FAMILIES
from lstn_search.training.health import examine
from lstn_search.training.recovery import Diverged, RecoverTraining, Recovery, alignment, build_localizer
from lstn_search.training.warm import Warm
from lstn_search.training.workbench import Workbench

Change = Callable[..., Workbench]


@pytest.fixture(scope="module")
def recovered(bench: Workbench) -> tuple[nn.Module, Recovery]:
    return recover(bench, build_localizer(bench, ARCH))


@pytest.fixture
def change(bench: Workbench, small_cache: Path) -> Change:
    def change(**settings: Any) -> Workbench:
        return Workbench(dataclasses.replace(bench.task, **settings), cache_dir=small_cache, progress=False)

    return change


def test_the_error_of_a_fresh_localizer_is_that_of_the_identity(bench: Workbench) -> None:
    mse, error_px = alignment(bench, build_localizer(bench, ARCH))
    (batch,) = bench.eval_batches(bench.dataset.val_I, bench.recover_view)
    assert batch.target_B23 is not None
    squares, distances = [], []
    for target in batch.target_B23.tolist():
        gap = [[target[i][j] - float(i == j) for j in range(3)] for i in range(2)]
        squares += [value**2 for row in gap for value in row]
        for x, y in [(-1, -1), (1, -1), (-1, 1), (1, 1)]:
            distances.append(math.hypot(*(row[0] * x + row[1] * y + row[2] for row in gap)) / 2 * 2 * SIZE_PX)
    assert mse == pytest.approx(sum(squares) / len(squares), rel=1e-4)
    assert error_px == pytest.approx(sum(distances) / len(distances), rel=1e-4)  # deployed at 2 x SIZE_PX pixels


def test_recover_learns(bench: Workbench, warm: Warm, recovered: tuple[nn.Module, Recovery]) -> None:
    localizer, recovery = recovered
    mse, error_px = alignment(bench, build_localizer(bench, ARCH))
    assert recovery.alignment_mse < mse / 8
    assert recovery.corner_error_px < error_px / 3
    assert (recovery.alignment_mse, recovery.corner_error_px) == alignment(bench, localizer)
    assert recovery.steps == bench.task.recover_steps

    val_I = bench.dataset.val_I
    control, _ = bench.evaluate(TransformedClassifier(None, warm.backbone(bench)), val_I, view=bench.view)
    model = TransformedClassifier(SpatialTransformer(localizer), warm.backbone(bench))
    frozen, theta_N23 = bench.evaluate(model, val_I, view=bench.view)
    assert frozen.top1 > control.top1 + 15
    assert theta_N23 is not None
    assert examine(theta_N23).verdict == "alive"


@pytest.mark.parametrize("warp", WARP_FAMILIES)
def test_every_family_of_warps_comes_alive(warp: str, change: Change) -> None:
    short = change(recover_steps=60)
    localizer = build_localizer(short, with_warp(ARCH, warp))
    mse, _ = alignment(short, localizer)
    (batch,) = short.eval_batches(short.dataset.val_I, short.recover_view)
    assert batch.target_B23 is not None
    target_6B = batch.target_B23.flatten(1).T
    basis_6P = to_matrix(torch.eye(localizer.last.out_features), localizer.family).flatten(1).T
    nearest_6B = basis_6P @ torch.linalg.lstsq(basis_6P, target_6B).solution  # the best that the family can say
    least = torch.nn.functional.mse_loss(nearest_6B, target_6B).item()
    localizer, recovery = recover(short, localizer)
    assert least <= recovery.alignment_mse < least + (mse - least) / 2
    _, theta_N23 = short.evaluate(
        TransformedClassifier(SpatialTransformer(localizer), nn.Flatten()), short.dataset.val_I, view=short.view
    )
    assert theta_N23 is not None
    health = examine(theta_N23)
    assert health.verdict == "alive"
    assert health.determinant > 0
    moving = [entry != "0" for entry in WARP_FAMILIES[warp].entries]
    assert (theta_N23.std(dim=0) > 0).flatten().tolist() == moving


def test_it_gives_the_same_weights_every_time(bench: Workbench, recovered: tuple[nn.Module, Recovery]) -> None:
    fresh = build_localizer(bench, ARCH)
    torch.rand(5)
    again, recovery = recover(bench, fresh)
    assert recovery.alignment_mse == recovered[1].alignment_mse
    weights = state_of(recovered[0])
    assert all(torch.equal(tensor, weights[name]) for name, tensor in state_of(again).items())


@pytest.mark.parametrize("stop", [1, 7, 41])  # in the first epoch, and beyond it
def test_it_stops_and_goes_on_as_if_it_had_not(stop: int, change: Change) -> None:
    bench = change(recover_steps=60)
    whole, first, second = (RecoverTraining(bench, build_localizer(bench, ARCH)) for _ in range(3))
    whole.run_to(60)
    first.run_to(stop)
    assert first.measure().steps == stop
    second.load_state_dict(first.state_dict())
    second.run_to(60)
    assert second.measure().alignment_mse == whole.measure().alignment_mse
    weights = state_of(whole.evaluated)
    assert all(torch.equal(tensor, weights[name]) for name, tensor in state_of(second.evaluated).items())


def test_what_counts_is_the_moving_average_of_the_weights(change: Change) -> None:
    bench = change(recover_steps=3)
    training = RecoverTraining(bench, build_localizer(bench, ARCH))
    averaged: torch.Tensor | None = None
    for steps in range(1, 4):
        training.run_to(steps)
        bias = training.localizer.last.bias.detach().double()
        averaged = bias if averaged is None else (steps * averaged + 9 * bias) / (steps + 9)
    assert averaged is not None
    torch.testing.assert_close(training.evaluated.last.bias.double(), averaged, rtol=0, atol=1e-7)
    assert not torch.equal(training.evaluated.last.bias, training.localizer.last.bias)


def test_more_steps_undo_better(change: Change, recovered: tuple[nn.Module, Recovery]) -> None:
    short = change(recover_steps=20)
    assert recover(short, build_localizer(short, ARCH))[1].alignment_mse > 2 * recovered[1].alignment_mse


def test_it_learns_warps_where_the_task_has_none(change: Change) -> None:
    upright = change(view="none", recover_steps=60)
    mse, _ = alignment(upright, build_localizer(upright, ARCH))
    assert recover(upright, build_localizer(upright, ARCH))[1].alignment_mse < mse / 2


def test_the_distance_of_the_corners_can_be_what_it_learns(
    change: Change, recovered: tuple[nn.Module, Recovery], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its first loss is that of the identity, corner by corner; the other loss learns another thing, as good or not."""
    bench = change(recover_loss="corner")
    losses: list[float] = []
    backward = torch.Tensor.backward
    monkeypatch.setattr(torch.Tensor, "backward", lambda loss: losses.append(loss.item()) or backward(loss))
    localizer, recovery = recover(bench, build_localizer(bench, ARCH))
    first = next(bench.train_batches("recover", 0, bench.recover_view))
    assert first.target_B23 is not None
    distances = [
        math.hypot(*(row[0] * x + row[1] * y + row[2] - corner for row, corner in zip(target, (x, y), strict=True)))
        for target in first.target_B23.tolist()
        for x, y in [(-1, -1), (1, -1), (-1, 1), (1, 1)]
    ]
    assert losses[0] == pytest.approx(sum(distances) / len(distances), rel=1e-4)
    assert len(losses) == recovery.steps
    assert (recovery.alignment_mse, recovery.corner_error_px) == alignment(bench, localizer)
    assert recovery.alignment_mse == recovered[1].alignment_mse  # it is the default
    squares = change(recover_loss="mse")
    _, other = recover(squares, build_localizer(squares, ARCH))
    assert other.alignment_mse != recovery.alignment_mse
    assert other.corner_error_px < 1.5 * recovery.corner_error_px


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_the_shortest_schedules_run(change: Change, steps: int) -> None:
    bench = change(recover_steps=steps)
    assert recover(bench, build_localizer(bench, ARCH))[1].steps == steps


def test_a_loss_that_is_not_finite_ends_it(change: Change) -> None:
    absurd = change(recover_lr=1e30)
    with pytest.raises(Diverged, match=r"recover loss is (nan|inf) at step 50"):
        recover(absurd, build_localizer(absurd, ARCH))
    short = change(recover_lr=1e30, recover_steps=10)
    with pytest.raises(Diverged, match=r"alignment error is (nan|inf) after 10 recover steps"):
        recover(short, build_localizer(short, ARCH))
