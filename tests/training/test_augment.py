"""A user's own augmentation: in training alone, drawn from the task's seed, and part of what a result is kept under."""

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from small_training import small_task

from lstn_search.errors import SettingError
from lstn_search.training.warm import warm_key
from lstn_search.training.workbench import Workbench

CODE = """
import torch

def darker(images):
    assert images.dtype == torch.uint8 and images.shape[1:] == (3, 24, 24)
    return (images * torch.rand(len(images), 1, 1, 1)).to(torch.uint8)

def same(images):
    return images

def broken(images):
    raise RuntimeError("no pixels\\n")

def as_float(images):
    return images / 255
"""


@pytest.fixture
def code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    name = f"my_augmentation_{abs(hash(tmp_path)):x}"
    (tmp_path / f"{name}.py").write_text(CODE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    return name


@pytest.fixture
def make(small_dataset: Path, small_cache: Path) -> Any:
    def make(**settings: Any) -> Workbench:
        return Workbench(small_task(small_dataset, **settings), cache_dir=small_cache, progress=False)

    return make


def test_it_is_applied_in_training_alone_and_repeats(code: str, make: Any, bench: Workbench) -> None:
    darker = make(augment=f"{code}:darker")
    batches = list(darker.train_batches("joint", 1, None))
    plain = list(bench.train_batches("joint", 1, None))
    torch.manual_seed(5)
    again = list(darker.train_batches("joint", 1, None, skip=2))
    for batch, without in zip(batches, plain, strict=True):
        assert torch.equal(batch.labels_B, without.labels_B)
        assert batch.x_BCHW.mean() < without.x_BCHW.mean() - 0.1
    assert all(torch.equal(one.x_BCHW, two.x_BCHW) for one, two in zip(batches[2:], again, strict=True))
    assert not torch.equal(batches[0].x_BCHW, next(darker.train_batches("joint", 2, None)).x_BCHW)
    val_I = bench.dataset.val_I
    for one, two in zip(darker.eval_batches(val_I, None), bench.eval_batches(val_I, None), strict=True):
        assert torch.equal(one.x_BCHW, two.x_BCHW)


def test_one_that_changes_nothing_leaves_everything_as_it_is(code: str, make: Any, bench: Workbench) -> None:
    torch.manual_seed(7)
    before = torch.random.get_rng_state()
    same = make(augment=f"{code}:same")
    for one, two in zip(
        same.train_batches("warm", 1, bench.view), bench.train_batches("warm", 1, bench.view), strict=True
    ):
        assert torch.equal(one.x_BCHW, two.x_BCHW)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert warm_key(same) != warm_key(bench)


def test_its_code_is_part_of_what_is_kept(code: str, make: Any) -> None:
    first = make(augment=f"{code}:darker")
    Path(f"{code}.py").write_text(CODE.replace("torch.rand(", "0.5 * torch.rand("))
    del sys.modules[code]
    second = make(augment=f"{code}:darker")
    assert first.code["augment"] != second.code["augment"] and warm_key(first) != warm_key(second)


def test_what_it_may_not_return_is_one_line(code: str, make: Any) -> None:
    bench = make(augment=f"{code}:as_float")
    with pytest.raises(
        SettingError, match=r"makes torch\.float32 \(40, 3, 24, 24\) of torch\.uint8 .+; return what it"
    ) as caught:
        next(bench.train_batches("warm", 1, None))
    assert "\n" not in str(caught.value)
    broken = make(augment=f"{code}:broken")
    with pytest.raises(SettingError, match=r"fails \(.+Error: .+\); it takes a batch of uint8 images, B x 3 x H x W"):
        next(broken.train_batches("warm", 1, None))
    with pytest.raises(SettingError, match=r"augmentation '.+:bright': .+ has no 'bright'"):
        make(augment=f"{code}:bright")
