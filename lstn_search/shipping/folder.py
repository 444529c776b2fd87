"""The exported folder: model.py, weights.pt, arch.json and, for a classifier, classifier.pt and classes.json."""

import io
import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from lstn_search.nets.localizer import Localizer
from lstn_search.shipping.code import model_code
from lstn_search.shipping.place import check_place, put_files
from lstn_search.shipping.proof import Proof, prove

__all__ = ["write_model"]


def write_model(
    folder: Path,
    localizer: Localizer,
    *,
    title: str,
    facts: Mapping[str, object],
    mean: Sequence[float],
    std: Sequence[float],
    classifier: Mapping[str, torch.Tensor] | None = None,
    class_names: Sequence[str] = (),
    more: Mapping[str, bytes] | None = None,
    force: bool = False,
) -> Proof:
    """Export `localizer` into `folder`, which is created, once model.py is proven to give the same outputs.

    `title` and `facts` (dataset, accuracy, ...) go into the docstring of model.py; `mean` and `std` are of pixel values
    in [0, 1], one number a channel; `classifier` is the state dict of the classifier trained with the localizer, and
    `class_names` name its outputs in their order (none: not known). `more` are files to lie beside them. What was
    exported to the folder before is replaced as a whole; with `force` so are others' files of these names.

    Raises RunError when the folder holds others' files or cannot be written, RuntimeError (a bug of ours) when the
    proof fails.
    """
    check_place(folder, force=force)
    if classifier is not None:
        facts = {**facts, "classifier.pt": "state dict of the classifier that was trained with this net"}
        if class_names:
            facts["classes.json"] = "the names of its outputs, in their order"
    code = model_code(localizer.arch, localizer.image_size, title=title, facts=facts, mean=mean, std=std)
    files = {
        "model.py": code.encode(),
        "weights.pt": _saved(localizer.state_dict()),
        "arch.json": (json.dumps(localizer.arch.to_dict(), indent=2) + "\n").encode(),
    }
    if classifier is not None:
        files["classifier.pt"] = _saved(classifier)
        if class_names:
            files["classes.json"] = (json.dumps(list(class_names), indent=2) + "\n").encode()
    with tempfile.TemporaryDirectory(prefix="lstn-export-") as trial:
        for name in ("model.py", "weights.pt"):
            (Path(trial) / name).write_bytes(files[name])
        proof = prove(Path(trial), localizer)
    put_files(folder, {**files, **(more or {})}, force=force)
    return proof


def _saved(state: Mapping[str, torch.Tensor]) -> bytes:
    """What torch.save writes for contiguous float32 copies on the CPU; counters stay whole numbers."""
    plain = {}
    for name, tensor in state.items():
        dtype = torch.float32 if tensor.is_floating_point() else tensor.dtype
        plain[name] = tensor.detach().to("cpu", dtype, copy=True).contiguous()
    buffer = io.BytesIO()
    torch.save(plain, buffer)
    return buffer.getvalue()
