"""The workbench: batches and warps that are the same for every architecture, accuracy counted twice, devices."""

import dataclasses
import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import torch
from small_training import ARCH, IMAGES, OTHER_ARCH, SIZE_PX, recover, run_trial, small_task, state_of
from torch import nn

from lstn_search.data.views import View
from lstn_search.errors import BackboneError, SettingError
from lstn_search.nets.transformer import SpatialTransformer, TransformedClassifier, warp
from lstn_search.nets.warps import corner_error_px, invert
from lstn_search.spec.seeding import seed_of
from lstn_search.spec.task import Task
from lstn_search.training.recovery import build_localizer
from lstn_search.training.warm import Warm
from lstn_search.training.workbench import Batch, Scores, Workbench, pick_device, seeded


def digest(batches: Iterable[Batch]) -> str:
    """Of everything a model is shown."""
    sha = hashlib.sha256()
    for batch in batches:
        for tensor in batch:
            sha.update(b"none" if tensor is None else tensor.contiguous().numpy().tobytes())
    return sha.hexdigest()


def with_task(bench: Workbench, cache_dir: Path, **changes: object) -> Workbench:
    return Workbench(dataclasses.replace(bench.task, **changes), cache_dir=cache_dir, progress=False)  # type: ignore[arg-type]


# -- common random numbers ---------------------------------------------------------------------------------------------


def test_an_epoch_shows_full_batches_of_different_training_images(bench: Workbench) -> None:
    batches = list(bench.train_batches("joint", 1, None))
    assert len(batches) == bench.batches_per_epoch == 6 * IMAGES["train"] // 40
    x_NCHW = torch.cat([batch.x_BCHW for batch in batches])
    shown = {image.contiguous().numpy().tobytes() for image in x_NCHW}
    train_NCHW = (bench.dataset.images_NHWC[bench.dataset.train_I].permute(0, 3, 1, 2) / 255 - 0.5) / 0.5
    torch.testing.assert_close(x_NCHW.sum(), train_NCHW.sum(), rtol=1e-4, atol=1e-2)  # each image once
    assert len(shown) == len(bench.dataset.train_I)
    assert x_NCHW.dtype == torch.float32
    assert batches[0].x_BCHW.is_contiguous(memory_format=torch.channels_last)


def test_two_architectures_see_the_same_batches_and_warps(
    bench: Workbench, warm: Warm, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever they draw themselves in between."""
    seen: dict[str, list[str]] = {}

    def listen(name: str) -> None:
        plain, seen[name] = type(bench)._batch, []

        def batch(self: Workbench, indices_B: torch.Tensor, *drawn: Any, **options: Any) -> Batch:
            made = plain(self, indices_B, *drawn, **options)
            seen[name].append(digest([made]))
            return made

        with monkeypatch.context() as patch:
            patch.setattr(type(bench), "_batch", batch)
            torch.rand(len(name))
            run_trial(bench, {"one": ARCH, "another": OTHER_ARCH}[name], warm)

    listen("one")
    listen("another")
    assert seen["one"] == seen["another"]
    recover_and_joint = bench.task.recover_steps + bench.task.epochs * bench.batches_per_epoch
    assert len(set(seen["one"])) >= recover_and_joint  # none of the training batches comes twice


def test_another_stage_epoch_or_seed_is_another_order_and_other_warps(bench: Workbench, small_cache: Path) -> None:
    other_seed = with_task(bench, small_cache, seed=1)
    draws = [
        digest(bench.train_batches("joint", 1, bench.view)),
        digest(bench.train_batches("joint", 2, bench.view)),
        digest(bench.train_batches("recover", 1, bench.view)),
        digest(other_seed.train_batches("joint", 1, bench.view)),
    ]
    assert len(set(draws)) == 4
    assert draws[0] == digest(bench.train_batches("joint", 1, bench.view))


def test_the_validation_view_is_one_for_all_seeds(bench: Workbench, small_cache: Path) -> None:
    val_I = bench.dataset.val_I
    fixed = digest(bench.eval_batches(val_I, bench.view))
    assert digest(with_task(bench, small_cache, seed=1).eval_batches(val_I, bench.view)) == fixed
    assert digest(with_task(bench, small_cache, split_seed=1).eval_batches(val_I, bench.view)) != fixed


def test_seeds_of_different_uses_are_different() -> None:
    uses = [(0, "a"), (0, "b"), (1, "a"), (0, "a", 1), (0, "a", "1"), (0, "a1")]
    assert len({seed_of(*use) for use in uses}) == len(uses)  # type: ignore[arg-type]
    assert all(0 <= seed_of(*use) < 2**63 for use in uses)  # type: ignore[arg-type]
    assert torch.equal(torch.rand(3, generator=seeded(0, "a")), torch.rand(3, generator=seeded(0, "a")))


# -- what a batch is ---------------------------------------------------------------------------------------------------


def test_a_batch_is_the_normalised_images_warped_as_drawn(bench: Workbench) -> None:
    val_I = bench.dataset.val_I
    upright, warped = (next(bench.eval_batches(val_I, view, fill="zeros")) for view in (None, bench.view))
    pixels = bench.dataset.images_NHWC[val_I].permute(0, 3, 1, 2).double() / 255
    torch.testing.assert_close(upright.x_BCHW.double(), (pixels - 0.5) / 0.5, rtol=0, atol=1e-5)
    assert upright.target_B23 is None
    assert warped.target_B23 is not None
    assert torch.equal(warped.labels_B, bench.dataset.labels_N[val_I])
    torch.testing.assert_close(warped.x_BCHW, warp(upright.x_BCHW, invert(warped.target_B23)), rtol=0, atol=2e-5)


def test_without_a_view_recover_still_has_warps_to_undo(bench: Workbench, small_cache: Path) -> None:
    upright = with_task(bench, small_cache, view="none")
    assert upright.view is None
    assert upright.recover_view == View()
    assert bench.recover_view is bench.view


# -- models and accuracy -----------------------------------------------------------------------------------------------


def test_a_backbone_and_a_localizer_have_one_start_for_each_seed(bench: Workbench, small_cache: Path) -> None:
    first, again = state_of(bench.build_backbone()), state_of(bench.build_backbone())
    other = state_of(with_task(bench, small_cache, seed=1).build_backbone())
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)
    one, two = state_of(build_localizer(bench, ARCH)), state_of(build_localizer(bench, ARCH))
    assert all(torch.equal(one[name], two[name]) for name in one)


class Ranked(nn.Module):
    """A classifier of 6 classes that ranks image `i` as the row `i` of a table says."""

    def __init__(self, logits_NK: torch.Tensor) -> None:
        super().__init__()
        self.logits_NK, self.next = logits_NK, 0

    def forward(self, x_BCHW: torch.Tensor) -> torch.Tensor:
        first, self.next = self.next, self.next + len(x_BCHW)
        return self.logits_NK[first : self.next]


def test_accuracy_is_that_of_counting_one_by_one(bench: Workbench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lstn_search.training.workbench.EVAL_BATCH_SIZE", 50)  # 120 images: the last batch is smaller
    val_I = bench.dataset.val_I
    logits_NK = torch.randn(len(val_I), 6, generator=torch.Generator().manual_seed(0))
    scores, theta = bench.evaluate(TransformedClassifier(None, Ranked(logits_NK)), val_I, view=None)
    top1 = top5 = 0
    for logits, label in zip(logits_NK.tolist(), bench.dataset.labels_N[val_I].tolist(), strict=True):
        above = sum(other > logits[label] for other in logits)
        top1 += above < 1
        top5 += above < 5
    assert scores == Scores(top1=100 * top1 / 120, top5=100 * top5 / 120, num=120)
    assert 0 < scores.top1 < scores.top5 < 100
    assert theta is None


def test_thetas_come_in_the_order_of_the_images(bench: Workbench, monkeypatch: pytest.MonkeyPatch) -> None:
    localizer = build_localizer(bench, ARCH)
    nn.init.normal_(localizer.last.weight, std=0.1)
    model = TransformedClassifier(SpatialTransformer(localizer), bench.build_backbone())
    _, theta_N23 = bench.evaluate(model, bench.dataset.val_I, view=bench.view)
    monkeypatch.setattr("lstn_search.training.workbench.EVAL_BATCH_SIZE", 7)
    _, in_small_batches = bench.evaluate(model, bench.dataset.val_I, view=bench.view)
    assert theta_N23 is not None
    torch.testing.assert_close(in_small_batches, theta_N23)
    assert not model.training


def test_the_oracle_sees_the_image_as_it_was(bench: Workbench, warm: Warm) -> None:
    """`undo` is what a localizer does that says the exact inverse."""
    frozen = TransformedClassifier(None, warm.backbone(bench))
    val_I = bench.dataset.val_I
    (batch,) = bench.eval_batches(val_I, bench.view)
    assert batch.target_B23 is not None
    exact = SpatialTransformer(Says(batch.target_B23))
    oracle, _ = bench.evaluate(frozen, val_I, view=bench.view, undo=True)
    by_theta, theta_N23 = bench.evaluate(TransformedClassifier(exact, frozen.backbone), val_I, view=bench.view)
    assert theta_N23 is not None
    assert by_theta == oracle
    assert corner_error_px(theta_N23, batch.target_B23, SIZE_PX).max() == 0
    warped, _ = bench.evaluate(frozen, val_I, view=bench.view)
    assert oracle.top1 > warped.top1 + 20
    assert bench.evaluate(frozen, val_I, view=None, undo=True) == bench.evaluate(frozen, val_I, view=None)


class Says(nn.Module):
    """A localizer that says these thetas."""

    def __init__(self, theta_B23: torch.Tensor) -> None:
        super().__init__()
        self.theta_B23 = theta_B23

    def forward(self, x_BCHW: torch.Tensor) -> torch.Tensor:
        return self.theta_B23


# -- devices and bad input ---------------------------------------------------------------------------------------------


def test_auto_takes_the_best_device_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr("torch.backends.mps.is_available", lambda: False)
    assert pick_device("auto") == pick_device("cpu") == torch.device("cpu")


@pytest.mark.parametrize("name", ["meta", "hpu", "gpu", "", "cudaa", "privateuseone"])
def test_a_device_of_another_kind_is_unknown(name: str) -> None:
    with pytest.raises(SettingError, match=f"unknown device '{name}'; "):
        Task(dataset="glyphs", device=name)


@pytest.mark.parametrize("name", ["cpu:x", "cpu:99", "mps:1", "cuda:-1", "cuda:", "cuda:1e3"])
def test_a_device_whose_number_is_none_does_not_exist(name: str) -> None:
    with pytest.raises(SettingError, match=f"there is no device '{name}'; only GPUs have numbers, as in cuda:1"):
        Task(dataset="glyphs", device=name)


def test_a_device_that_is_not_here_is_one_line() -> None:
    with pytest.raises(SettingError, match="device 'cuda:97' is not available here") as caught:
        pick_device(Task(dataset="glyphs", device="cuda:97").device)
    assert "\n" not in str(caught.value)


def test_a_batch_larger_than_the_training_set_is_refused(small_dataset: Path, small_cache: Path) -> None:
    with pytest.raises(SettingError, match=r"batch size 361 is larger than the training set \(360 images\); .*smaller"):
        Workbench(small_task(small_dataset, batch_size=361), cache_dir=small_cache, progress=False)
    whole = Workbench(small_task(small_dataset, batch_size=360), cache_dir=small_cache, progress=False)
    assert whole.batches_per_epoch == 1


def test_an_unknown_backbone_is_refused(bench: Workbench, small_cache: Path) -> None:
    with pytest.raises(BackboneError, match="did you mean 'resnet18'"):
        with_task(bench, small_cache, backbone="resnet81").build_backbone()


def test_precision_is_float32_unless_bfloat16_was_faster(bench: Workbench, small_cache: Path) -> None:
    fresh = with_task(bench, small_cache)
    for use_autocast, dtype in ((False, torch.float32), (True, torch.bfloat16)):
        fresh.use_autocast = use_autocast
        with fresh.autocast():
            assert nn.Linear(3, 2)(torch.zeros(1, 3)).dtype == dtype


def test_recover_trains_the_localizer_under_autocast_too(bench: Workbench, small_cache: Path) -> None:
    half = with_task(bench, small_cache, recover_steps=60)
    half.use_autocast = True
    localizer = build_localizer(half, ARCH)
    assert recover(half, localizer)[1].alignment_mse < 0.5 * identity_mse(bench)


def identity_mse(bench: Workbench) -> float:
    (batch,) = bench.eval_batches(bench.dataset.val_I, bench.recover_view)
    assert batch.target_B23 is not None
    identity = torch.eye(2, 3)
    return float((batch.target_B23 - identity).square().mean())
