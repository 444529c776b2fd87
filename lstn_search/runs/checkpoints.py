"""Checkpoints: where the state of a trained architecture is kept, and how its trained parts are read back.

before joint training    arch, localizer as it counts, snapshots; and `recover`, to go on
after it                 arch, trained (localizer and classifier as they count), snapshots; and `training`, to go on
"""

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from lstn_search.errors import CheckpointError
from lstn_search.nets.localizer import Localizer
from lstn_search.nets.weights import fill, load_torch
from lstn_search.runs.entries import Entry
from lstn_search.runs.folder import checkpoint_file, save
from lstn_search.runs.run import Run
from lstn_search.spec.arch import Arch
from lstn_search.spec.reading import short

__all__ = ["load_checkpoint", "load_localizer", "load_trained", "save_checkpoint", "split_trained"]

CURE = "train it again with eval --arch RUN:NAME"


def save_checkpoint(file: Path, state: dict[str, Any]) -> None:
    """Write what `Trial.state_dict` gave, whole or not at all. Raises RunError when it cannot be written."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    save(file, buffer.getvalue(), cure="make room, then go on with --resume")


def load_checkpoint(file: Path, *, device: torch.device | str = "cpu") -> dict[str, Any]:
    """Read a checkpoint. Raises CheckpointError when it is missing or damaged."""
    return load_torch(file, cure=CURE, device=device)


def load_trained(file: Path, arch: Arch, image_size: int) -> tuple[Localizer, dict[str, torch.Tensor]]:
    """The trained localizer of a checkpoint, on the CPU in eval mode, and the weights of its classifier.

    Raises CheckpointError when the file is missing, damaged, or holds another architecture.
    """
    state = load_checkpoint(file)
    if state.get("arch") != arch.to_json() or not isinstance(state.get("trained"), Mapping):
        raise CheckpointError(f"{file}: not the trained state of this architecture; {CURE}")
    return split_trained(state["trained"], arch, image_size, what=str(file))


def split_trained(
    trained: Mapping[str, torch.Tensor], arch: Arch, image_size: int, *, what: str
) -> tuple[Localizer, dict[str, torch.Tensor]]:
    """The localizer in eval mode and the weights of its classifier, both on the CPU, from the weights of both.

    Raises CheckpointError, saying `what` it was, when the localizer is another one.
    """
    parts: dict[str, dict[str, torch.Tensor]] = {"transformer.localizer.": {}, "backbone.": {}}
    for name, tensor in trained.items():
        prefix = next((prefix for prefix in parts if str(name).startswith(prefix)), None)
        if prefix is None or not isinstance(tensor, torch.Tensor):
            raise CheckpointError(f"{what}: {short(name)} is no weight of localizer or classifier; {CURE}")
        parts[prefix][name.removeprefix(prefix)] = tensor.cpu()
    localizer = Localizer(arch, image_size)
    fill(localizer, parts["transformer.localizer."], what=what, cure=CURE)
    return localizer.eval(), parts["backbone."]


def load_localizer(run: Run, entry: Entry) -> tuple[Localizer, dict[str, Any]]:
    """The trained localizer of an entry, on the CPU at its trial size, and the weights of its classifier.

    Raises CheckpointError when the run keeps no weights of it, or the file is not what the run wrote.
    """
    candidate, path = entry.candidate, run.folder.path
    file = checkpoint_file(run.folder.checkpoints_in, candidate.arch, max(entry.rung, 0))
    if not file.exists() or (entry.rung == 0 and entry.result.val_top1 is None):
        raise CheckpointError(
            f"{path} holds no jointly trained weights of {candidate.name}; train it with: "
            f"eval --arch {path}:{candidate.number} --out DIR"
        )
    return load_trained(file, candidate.arch, run.task.trial_size)
