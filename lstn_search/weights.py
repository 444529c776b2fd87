"""Weights on disk: safetensors, written whole or not at all."""

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save

from lstn_search.errors import CheckpointError

__all__ = ["load_weights", "save_weights", "write_atomically"]


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file that is either complete or absent, whatever happens while it is written."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        umask = os.umask(0)
        os.umask(umask)
        Path(temporary).chmod(0o666 & ~umask)  # mkstemp's files are private
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def save_weights(path: Path, tensors: Mapping[str, torch.Tensor], *, metadata: Mapping[str, str] | None = None) -> None:
    """Write named tensors, as contiguous CPU copies."""
    plain = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    write_atomically(path, save(plain, metadata=dict(metadata or {})))


def load_weights(path: Path) -> dict[str, torch.Tensor]:
    """Read named tensors. Raises CheckpointError when the file is missing or is not a safetensors file."""
    try:
        return load(path.read_bytes())
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror}); give the path of a weights file") from None
    except (SafetensorError, ValueError) as error:
        raise CheckpointError(f"{path}: not a safetensors file ({error}); train again or give another file") from None
