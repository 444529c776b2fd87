"""Weights on disk: what was saved, or one line; never half a file."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from lstn_search.atomic import write_atomically
from lstn_search.errors import CheckpointError
from lstn_search.nets.weights import fill, load_torch, load_weights, save_weights


def test_what_is_saved_is_what_is_loaded(tmp_path: Path) -> None:
    shared = torch.randn(4, 3, 2, 2)
    tensors = {
        "plain": shared,
        "the same again": shared,
        "a part of it": shared[1:3],
        "channels_last": torch.randn(2, 3, 4, 4).contiguous(memory_format=torch.channels_last),
        "whole number": torch.tensor(7),
        "half": torch.randn(3).bfloat16(),
        "learnt": torch.nn.Parameter(torch.randn(2)),
    }
    save_weights(tmp_path / "new" / "folder" / "w.safetensors", tensors, metadata={"arch": "{}"})
    loaded = load_weights(tmp_path / "new" / "folder" / "w.safetensors")
    assert loaded.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert torch.equal(loaded[name], tensor), name
        assert loaded[name].dtype == tensor.dtype
        assert loaded[name].is_contiguous()


@pytest.mark.parametrize("content", [b"", b"no weights", b"\xff" * 100])
def test_a_file_without_weights_is_named(content: bytes, tmp_path: Path) -> None:
    file = tmp_path / "w.safetensors"
    file.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"w\.safetensors: not a safetensors file"):
        load_weights(file)


def test_a_truncated_file_is_named(tmp_path: Path) -> None:
    file = tmp_path / "w.safetensors"
    save_weights(file, {"w": torch.randn(100)})
    file.write_bytes(file.read_bytes()[:-40])
    with pytest.raises(CheckpointError, match=r"w\.safetensors: not a safetensors file"):
        load_weights(file)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"cannot be read \(.+\); give the path of a weights file"):
        load_weights(tmp_path / "nowhere")


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo], ids=["folder", "FIFO"])
def test_what_is_no_file_is_not_waited_for(make: Callable[[Path], None], tmp_path: Path) -> None:
    make(tmp_path / "w")
    with pytest.raises(CheckpointError, match=r"w: not a safetensors file \(no regular file\)"):
        load_weights(tmp_path / "w")
    with pytest.raises(CheckpointError, match="w: not a checkpoint, or a damaged one; train again"):
        load_torch(tmp_path / "w", cure="train again")


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "file"
    write_atomically(file, b"old")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_atomically(file, b"new")
    assert file.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [file]


def test_a_written_file_has_the_permissions_of_any_other(tmp_path: Path) -> None:
    (tmp_path / "other").write_bytes(b"")
    write_atomically(tmp_path / "file", b"")
    assert (tmp_path / "file").stat().st_mode == (tmp_path / "other").stat().st_mode


@pytest.mark.parametrize("content", [b"", b"torn", b"no checkpoint", b"\x80\x02"])
def test_bytes_that_torch_did_not_write_are_one_line(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "weights.pt").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"weights\.pt: not a checkpoint, or a damaged one; train again$"):
        load_torch(tmp_path / "weights.pt", cure="train again")
    with pytest.raises(
        CheckpointError, match=r"nothing\.pt: cannot be read \(No such file or directory\); train again$"
    ):
        load_torch(tmp_path / "nothing.pt", cure="train again")


# -- weights that are put into a module --------------------------------------------------------------------------------


def test_what_fits_is_filled_in_also_from_half_precision() -> None:
    module, other = torch.nn.Linear(3, 2), torch.nn.Linear(3, 2)
    fill(module, other.state_dict(), what="it", cure="")
    assert torch.equal(module.weight, other.weight) and torch.equal(module.bias, other.bias)
    fill(module, {name: tensor.half() for name, tensor in other.state_dict().items()}, what="it", cure="")
    assert torch.equal(module.weight, other.weight.half().float())


@pytest.mark.parametrize(
    ("change", "wrong"),
    [
        ({"weight": torch.zeros(2, 4)}, r"'weight' has the shape \(2, 4\), not \(2, 3\)"),
        ({"weight": torch.zeros(2, 3, dtype=torch.complex64)}, "'weight' is of torch.complex64, not torch.float32"),
        ({"weight": torch.zeros(2, 3, dtype=torch.int64)}, "'weight' is of torch.int64, not torch.float32"),
        ({"weight": torch.zeros(2, 3, dtype=torch.float64)}, "'weight' is of torch.float64, not torch.float32"),
        ({"weight": torch.full((2, 3), float("nan"))}, "'weight' holds numbers that are none"),
        ({"weight": torch.zeros(2, 3).to_sparse()}, "'weight' holds numbers that are none"),
        ({"weight": "x"}, "'weight' is missing"),
        ({"more": torch.zeros(1)}, "'more' is not part of it"),
        ({7: torch.zeros(1)}, "7 is not part of it"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_does_not_fit_is_named_and_changes_nothing(change: dict[Any, Any], wrong: str) -> None:
    module = torch.nn.Linear(3, 2)
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    with pytest.raises(CheckpointError, match=f"^w.pt does not fit: {wrong}; train again$"):
        fill(module, {**torch.nn.Linear(3, 2).state_dict(), **change}, what="w.pt", cure="train again")
    assert all(torch.equal(tensor, before[name]) for name, tensor in module.state_dict().items())
