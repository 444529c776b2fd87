"""Weights on disk: safetensors, and the files of torch."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save

from lstn_search.atomic import write_atomically
from lstn_search.errors import CheckpointError

__all__ = ["load_torch", "load_weights", "save_weights"]


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


def load_torch(path: Path, *, cure: str, device: torch.device | str = "cpu") -> dict[str, Any]:
    """Read a dict of tensors and plain types that torch.save wrote; nothing in the file is run.

    Raises CheckpointError, which ends with the cure, when the file is missing or is not that.
    """
    try:
        state: dict[str, Any] = torch.load(path, map_location=device, weights_only=True)
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror}); {cure}") from None
    except Exception:  # on bytes that are none of its own the unpickler fails in many ways
        raise CheckpointError(f"{path}: not a checkpoint, or a damaged one; {cure}") from None
    if not isinstance(state, dict):
        raise CheckpointError(f"{path}: not a checkpoint of a search; {cure}")
    return state
