"""The warm backbone: trained once for everything it depends on, and again when its file is damaged."""

import dataclasses
import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from small_training import draw_dataset, state_of

from lstn_search.errors import CheckpointError, DataError, SettingError
from lstn_search.nets.transformer import TransformedClassifier
from lstn_search.training import precision as precision_module
from lstn_search.training import warm as warm_module
from lstn_search.training.precision import choose_precision, settle_precision
from lstn_search.training.warm import Warm, load_warm, warm_backbone, warm_key
from lstn_search.training.workbench import Workbench

Make = Callable[..., Workbench]


@pytest.fixture
def make(bench: Workbench, small_cache: Path) -> Make:
    """The small task's workbench with other settings, anew."""

    def make(**settings: Any) -> Workbench:
        return Workbench(dataclasses.replace(bench.task, **settings), cache_dir=small_cache, progress=False)

    return make


@pytest.fixture
def copied(small_cache: Path, warm: Warm, tmp_path: Path) -> Path:
    """A copy of the cache, to be damaged."""
    (tmp_path / "backbones").mkdir()
    for file in (small_cache / "backbones").glob(f"{warm.key[:32]}.*"):
        shutil.copy(file, tmp_path / "backbones")
    return tmp_path


def test_it_classifies_upright_images_and_not_warped_ones(bench: Workbench, warm: Warm) -> None:
    model = TransformedClassifier(None, warm.backbone(bench))
    upright, _ = bench.evaluate(model, bench.dataset.val_I, view=None)
    warped, _ = bench.evaluate(model, bench.dataset.val_I, view=bench.view)
    assert upright == warm.val_clean
    assert upright.top1 > 95
    assert warped.top1 < 70


def test_the_second_time_it_is_read(make: Make, warm: Warm, copied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(warm_module, "_train", lambda *args: pytest.fail("trained again"))
    again = warm_backbone(make(), copied)
    assert dataclasses.replace(again, weights={}) == dataclasses.replace(warm, weights={})
    assert all(torch.equal(tensor, warm.weights[name]) for name, tensor in again.weights.items())
    assert again.weights.keys() == warm.weights.keys()


def test_precision_is_what_the_task_says(make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision_module, "choose_precision", lambda *args: pytest.fail("measured"))
    for precision, use_autocast in (("bf16", True), ("fp32", False)):
        bench = make(precision=precision)
        settle_precision(bench, tmp_path)
        assert bench.use_autocast is use_autocast and bench.settled_task.precision == precision


def test_precision_is_measured_once_and_then_read(make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision_module, "choose_precision", lambda *args: True)
    settle_precision(make(precision="auto"), tmp_path)
    monkeypatch.setattr(precision_module, "choose_precision", lambda *args: pytest.fail("measured again"))
    bench = make(precision="auto", seed=5)
    settle_precision(bench, tmp_path)
    assert bench.use_autocast and bench.settled_task.precision == "bf16"


def test_another_precision_is_another_backbone(make: Make) -> None:
    assert warm_key(make(precision="bf16")) != warm_key(make(precision="fp32"))


def test_every_caller_gets_a_backbone_of_its_own(bench: Workbench, warm: Warm) -> None:
    first = warm.backbone(bench)
    with torch.no_grad():
        next(first.parameters()).zero_()
    assert next(warm.backbone(bench).parameters()).abs().max() > 0


def test_the_key_is_another_for_what_it_depends_on_and_the_same_for_the_rest(
    bench: Workbench, make: Make, tmp_path: Path
) -> None:
    key = warm_key(bench)
    for same in ({"view": "none"}, {"view_strength": 0.5}, {"epochs": 9, "recover_steps": 9}, {"lr": 0.1}):
        assert warm_key(make(**same)) == key, same
    other_images = draw_dataset(tmp_path / "images")
    shutil.copy(next(other_images.glob("train/*/0.png")), next(other_images.glob("train/*/1.png")))
    for other in (
        {"seed": 1},
        {"warm_epochs": 7},
        {"batch_size": 41},
        {"backbone": "test_resnet"},
        {"dataset": f"folder:{other_images}"},
    ):
        assert warm_key(make(**other)) != key, other


@pytest.mark.parametrize(
    ("suffix", "content"), [(".json", b"{"), (".json", b"{}"), (".safetensors", b"?"), (".safetensors", None)]
)
def test_a_damaged_file_is_trained_again_with_a_warning(
    suffix: str, content: bytes | None, make: Make, warm: Warm, copied: Path, caplog: pytest.LogCaptureFixture
) -> None:
    bench = make()
    file = copied / "backbones" / f"{warm.key[:32]}{suffix}"
    assert file.exists()
    if content is None:
        file.unlink()
    else:
        file.write_bytes(content)
    with caplog.at_level(logging.WARNING):
        assert load_warm(bench, copied) is None
    assert f"the cached backbone {warm.key[:12]} cannot be read" in caplog.text
    assert "it is trained again" in caplog.text


def test_what_was_damaged_is_whole_again(make: Make, copied: Path) -> None:
    bench = make(warm_epochs=1)
    epochs: list[int] = []
    first = warm_backbone(bench, copied, on_epoch=epochs.append)
    weights_file = copied / "backbones" / f"{first.key[:32]}.safetensors"
    weights_file.write_bytes(weights_file.read_bytes()[:1000])
    warm_backbone(bench, copied, on_epoch=epochs.append)
    assert epochs == [1, 1]
    assert load_warm(bench, copied) is not None


def test_weights_of_another_backbone_are_refused(make: Make, warm: Warm) -> None:
    with pytest.raises(CheckpointError, match=r"of test_resnet does not fit: .+; delete it from the cache"):
        warm.backbone(make(backbone="test_resnet"))


def test_a_backbone_with_dropout_comes_out_the_same_every_time(make: Make) -> None:
    bench = make(backbone="torchvision:squeezenet1_1", warm_epochs=2, batch_size=180)
    assert any(isinstance(module, torch.nn.Dropout) and module.p > 0 for module in bench.build_backbone().modules())

    def trained(spoil: int) -> dict[str, torch.Tensor]:
        return warm_module._train(bench, lambda epoch: torch.manual_seed(spoil)).weights  # type: ignore[arg-type, return-value]

    one, other = trained(1), trained(2)
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_choosing_the_precision_leaves_the_backbone_as_it_was(make: Make) -> None:
    bench = make()
    backbone = bench.build_backbone()
    before = state_of(backbone)
    assert isinstance(choose_precision(bench, backbone), bool)
    assert all(torch.equal(tensor, before[name]) for name, tensor in state_of(backbone).items())
    assert all(weight.grad is None for weight in backbone.parameters())


@pytest.mark.parametrize("faster", [True, False])
def test_the_faster_precision_is_chosen(make: Make, faster: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = make()
    clock = [0.0]

    def forward(x_BCHW: torch.Tensor) -> torch.Tensor:
        clock[0] += 1 if bench.use_autocast is faster else 2
        return logits_BK

    backbone = bench.build_backbone()
    logits_BK = torch.zeros(bench.task.batch_size, 6, requires_grad=True)
    monkeypatch.setattr(backbone, "forward", forward)
    monkeypatch.setattr("time.perf_counter", lambda: clock[0])
    assert choose_precision(bench, backbone) is faster


def test_a_backbone_that_diverges_is_one_line(make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(warm_module, "PEAK_LR", 1e30)
    with pytest.raises(SettingError, match=r"backbone 'test_byobnet' diverged in epoch 1.*choose another --backbone"):
        warm_backbone(make(warm_epochs=1), tmp_path)
    assert not list(tmp_path.glob("backbones/*.safetensors"))


def test_a_cache_that_cannot_be_written_is_one_line(make: Make, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match=r"cannot write to the cache folder .+; .*--cache-dir or LSTN_CACHE_DIR"):
        warm_backbone(make(), tmp_path / "file")
