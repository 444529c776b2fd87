"""Weights on disk: what was saved, or one line; never half a file."""

from pathlib import Path

import pytest
import torch

from lstn_search.atomic import write_atomically
from lstn_search.errors import CheckpointError
from lstn_search.nets.weights import load_torch, load_weights, save_weights


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
    for path in (tmp_path / "nowhere", tmp_path):
        with pytest.raises(CheckpointError, match=r"cannot be read \(.+\); give the path of a weights file"):
            load_weights(path)


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
