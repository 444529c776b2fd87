"""Weights on disk: safetensors, and the files of torch."""

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import nn

from lstn_search.atomic import write_atomically
from lstn_search.errors import CheckpointError
from lstn_search.spec.reading import check_regular, short

__all__ = ["fill", "fit", "load_state", "load_torch", "load_weights", "save_weights"]

WRAPPERS = ("state_dict", "model_state_dict", "model", "model_ema", "net", "module", "weights")
"""What trainers call the weights in their checkpoints."""
MAX_HEADS = 2
"""Layers that may be for other classes: distilled networks have two."""


def save_weights(path: Path, tensors: Mapping[str, torch.Tensor], *, metadata: Mapping[str, str] | None = None) -> None:
    """Write named tensors, as contiguous CPU copies."""
    plain = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    write_atomically(path, save(plain, metadata=dict(metadata or {})))


def load_weights(path: Path) -> dict[str, torch.Tensor]:
    """Read named tensors. Raises CheckpointError when the file is missing or is not a safetensors file."""
    try:
        check_regular(path)
        return load(path.read_bytes())
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror}); give the path of a weights file") from None
    except (SafetensorError, ValueError, KeyError, TypeError) as error:  # KeyError: a dtype that torch has not
        raise CheckpointError(f"{path}: not a safetensors file ({error}); train again or give another file") from None


def load_torch(path: Path, *, cure: str, device: torch.device | str = "cpu") -> dict[str, Any]:
    """Read a dict of tensors and plain types that torch.save wrote; nothing in the file is run.

    Raises CheckpointError, which ends with the cure, when the file is missing or is not that.
    """
    try:
        check_regular(path)
        with warnings.catch_warnings(action="ignore"):  # of sparse tensors, which nothing takes
            state: dict[str, Any] = torch.load(path, map_location=device, weights_only=True)
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror}); {cure}") from None
    except Exception:  # on bytes that are none of its own the unpickler fails in many ways
        raise CheckpointError(f"{path}: not a checkpoint, or a damaged one; {cure}") from None
    if not isinstance(state, dict):
        raise CheckpointError(f"{path}: not a checkpoint of a search; {cure}")
    return state


def load_state(path: Path) -> dict[str, torch.Tensor]:
    """The weights in a file that a user brings: safetensors, or a state dict, also inside of a trainer's checkpoint.

    Raises CheckpointError when it holds none.
    """
    if path.suffix == ".safetensors":
        return load_weights(path)
    state = load_torch(path, cure="give a safetensors file, or one of torch.save(model.state_dict(), FILE)")
    for name in WRAPPERS:
        if isinstance(inside := state.get(name), Mapping):
            state = dict(inside)
    tensors = {name: value for name, value in state.items() if isinstance(value, torch.Tensor)}
    if not tensors:
        raise CheckpointError(f"{path}: it holds no weights; write them with torch.save(model.state_dict(), FILE)")
    return tensors


def fit(module: nn.Module, weights: Mapping[str, torch.Tensor], *, what: str, cure: str) -> tuple[str, ...]:
    """Put those of a user's weights into a module that have its names and shapes; the names that were left as they are.

    Only a head may be left: the tensors of up to two layers. A prefix that all names share is taken off. Raises
    CheckpointError, naming `what` they are, when more does not fit, or a number is none.
    """
    expected = module.state_dict()
    while not any(name in expected for name in weights):
        if len({name.partition(".")[0] for name in weights}) > 1 or not all("." in name for name in weights):
            break
        weights = {name.partition(".")[2]: tensor for name, tensor in weights.items()}  # module., model., _orig_mod.
    taken = {name: weights[name] for name, old in expected.items()
             if name in weights and weights[name].shape == old.shape}  # fmt: skip
    left = tuple(name for name in expected if name not in taken and not name.endswith("num_batches_tracked"))
    if len({name.rpartition(".")[0] for name in left}) > MAX_HEADS or not taken:
        name = left[0]
        found = f"has the shape {tuple(weights[name].shape)}" if name in weights else "is missing"
        raise CheckpointError(
            f"{what} do not fit: {len(taken)} of {len(expected)} tensors do, and {short(name)} {found}, where "
            f"{tuple(expected[name].shape)} is needed; {cure}"
        )
    for name, tensor in taken.items():
        if not bool(tensor.isfinite().all()):
            raise CheckpointError(f"{what} do not fit: {short(name)} holds numbers that are none; {cure}")
    module.load_state_dict(expected | taken)
    return left


def fill(module: nn.Module, weights: Any, *, what: str, cure: str) -> None:
    """Put named tensors into a module, once all of them are known to fit.

    Raises CheckpointError, naming `what` they are and the first that is missing, not known, of another shape or another
    type of numbers, or not finite.
    """
    expected = module.state_dict()
    given = dict(weights) if isinstance(weights, Mapping) else {}
    for name in (*expected, *given):
        new, old = given.get(name), expected.get(name)
        if old is None or not isinstance(new, torch.Tensor):
            wrong = "is not part of it" if old is None else "is missing"
        elif new.shape != old.shape:
            wrong = f"has the shape {tuple(new.shape)}, not {tuple(old.shape)}"
        elif new.dtype != old.dtype and not (new.dtype == torch.float16 and old.is_floating_point()):  # a snapshot's
            wrong = f"is of {new.dtype}, not {old.dtype}"
        elif new.layout != torch.strided or not bool(new.isfinite().all()):
            wrong = "holds numbers that are none"
        else:
            continue
        raise CheckpointError(f"{what} does not fit: {short(name)} {wrong}; {cure}")
    module.load_state_dict(given)
