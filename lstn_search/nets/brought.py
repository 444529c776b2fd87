"""Classifiers that users bring: made by their code, saved from Python, or started from weights that a library offers.

A function is asked for a module as by `function(num_classes=7, image_size=64)`, the second where it takes it. A saved
module is a pickle, which runs code as it is read: it is read from the user's own cache and from nowhere else, and its
name holds no path.
"""

import copy
import dataclasses
import hashlib
import inspect
import io
import pickle
import re
from pathlib import Path
from typing import Any

import torch
from torch import nn

from lstn_search.atomic import write_atomically
from lstn_search.errors import BackboneError
from lstn_search.spec.names import SAVED_PREFIX
from lstn_search.spec.own_code import code_name, load_code, module_of, source_digest

__all__ = [
    *("Channels", "Offered", "brings_weights", "content_of", "load_saved", "make_own"),
    *("normalisation_of", "offered_weights", "save_module"),
]

Channels = tuple[float, float, float]

SAVED = "classifiers"
"""The folder in the cache."""
LIBRARIES = ("torch", "timm", "torchvision", "lstn_search")
"""Whose source is not part of what a user's classifier is: their versions are on record."""


def make_own(name: str, num_classes: int, image_size: int) -> nn.Module:
    """The module that a user's function makes. Raises BackboneError, or SettingError where it cannot be imported."""
    make = load_code(name, "backbone")
    try:
        takes = inspect.signature(make).parameters
    except (TypeError, ValueError):
        takes = {}  # type: ignore[assignment]
    anything = any(one.kind is inspect.Parameter.VAR_KEYWORD for one in takes.values())
    if "num_classes" not in takes and not anything:
        raise BackboneError(
            f"backbone {name!r} does not take num_classes; write it as def {name.rpartition(':')[2]}(num_classes, "
            "image_size) that returns a torch module"
        )
    options = {"image_size": image_size} if "image_size" in takes or anything else {}
    made = make(num_classes=num_classes, **options)
    if not isinstance(made, nn.Module):
        raise BackboneError(f"backbone {name!r} returned {type(made).__name__}, no torch module; return the classifier")
    return made


# -- modules from Python -----------------------------------------------------------------------------------------------


def save_module(module: nn.Module, cache_dir: Path) -> str:
    """Write a module with its weights into the cache; the name under which it is found there.

    Raises BackboneError when it cannot be pickled, or workers could not import its classes.
    """
    for kind in {type(part) for part in module.modules()}:
        if kind.__module__ == "__main__" or "<locals>" in kind.__qualname__:
            code_name(kind)  # refuses what has no file to be imported from
            raise BackboneError(
                f"workers cannot import {kind.__qualname__}, which the script itself defines; move it into a .py file "
                "beside the script"
            )
    content = io.BytesIO()
    try:
        torch.save(copy.deepcopy(module).cpu(), content)
    except (pickle.PicklingError, AttributeError, TypeError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:160]
        raise BackboneError(
            f"the module cannot be saved ({reason}); give a function that makes it, and its weights with "
            "backbone_weights"
        ) from None
    digest = content_of(module)
    file = _file(digest, cache_dir)
    if not file.exists():
        write_atomically(file, content.getvalue())
    return f"{SAVED_PREFIX}{digest[:32]}"


def load_saved(name: str, cache_dir: Path) -> nn.Module:
    """A module that `save_module` wrote. Raises BackboneError when it is not in this cache, or is another one."""
    digest = name.removeprefix(SAVED_PREFIX)
    file = _file(digest, cache_dir)
    cure = "save it again with lstn_search.backbone, or name that cache with --cache-dir"
    if not re.fullmatch(r"[0-9a-f]{32}", digest) or not file.is_file():
        raise BackboneError(f"backbone {name!r} is not in the cache {cache_dir}; {cure}")
    try:
        module: nn.Module = torch.load(file, map_location="cpu", weights_only=False)
        is_same = content_of(module)[:32] == digest
    except Exception as error:
        reason = " ".join(str(error).split())[:160]
        raise BackboneError(f"backbone {name!r} cannot be read ({type(error).__name__}: {reason}); {cure}") from None
    if not is_same:
        raise BackboneError(f"backbone {name!r} is another one by now: its code has changed, or its file; {cure}")
    return module


def _file(digest: str, cache_dir: Path) -> Path:
    return cache_dir / SAVED / f"{digest[:32]}.pt"


# -- what a classifier is ----------------------------------------------------------------------------------------------


def content_of(module: nn.Module, *, other: nn.Module | None = None, name: str = "") -> str:
    """SHA-256, in hex, over a module's structure, weights and source, and over that of the function called `name`.

    Of weights that `other`, made by the same function from another seed, has otherwise, only the shapes count.
    """
    modules = {type(part).__module__ for part in module.modules()} | ({module_of(name)} if name else set())
    sources = [one for one in modules if one.partition(".")[0] not in LIBRARIES]
    digest = hashlib.sha256()
    same = {} if other is None else other.state_dict()
    for key, tensor in module.state_dict().items():
        digest.update(f"{key}\0{tuple(tensor.shape)}\0{tensor.dtype}\0".encode())
        if other is None or torch.equal(tensor, same[key]):
            digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    structure = re.sub(r"0x[0-9a-fA-F]+", "", repr(module))
    return source_digest(sources, name, structure, digest.hexdigest())


def brings_weights(module: nn.Module, other: nn.Module) -> bool:
    """Whether most of a module's weights are the same in `other`, made from another seed: they were not drawn."""
    pairs = list(zip(module.parameters(), other.parameters(), strict=True))
    same = sum(one.numel() for one, two in pairs if torch.equal(one, two))
    return 2 * same > sum(one.numel() for one, _ in pairs)


def normalisation_of(config: Any) -> tuple[Channels, Channels] | None:
    """Mean and deviation of pixels that a configuration of timm names, as its modules carry it in `pretrained_cfg`."""
    table = config if isinstance(config, dict) else {name: getattr(config, name, None) for name in ("mean", "std")}
    mean, std = table.get("mean"), table.get("std")
    if mean is None or std is None or len(mean) != 3 or len(std) != 3:
        return None
    return tuple(map(float, mean)), tuple(map(float, std))  # type: ignore[return-value]


# -- weights of libraries ----------------------------------------------------------------------------------------------


@dataclasses.dataclass(kw_only=True, frozen=True, slots=True)
class Offered:
    """Weights that a library offers for one of its classifiers."""

    name: str
    """Which they are: a tag, a version."""
    normalisation: tuple[Channels, Channels] | None


def offered_weights(library: str, name: str) -> Offered | None:
    """The weights that `--pretrained` takes, which are not looked for yet; None: there are none."""
    if library == "timm":
        import timm

        config = timm.get_pretrained_cfg(name)
        if config is None or not config.has_weights:
            return None
        return Offered(name=f"timm {config.architecture}.{config.tag}", normalisation=normalisation_of(config))
    if library == "torchvision":
        from torchvision import models

        weights = models.get_model_weights(name).DEFAULT  # type: ignore[attr-defined]
        return Offered(name=f"torchvision {weights}", normalisation=normalisation_of(weights.transforms()))
    return None
