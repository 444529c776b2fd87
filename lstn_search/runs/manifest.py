"""The manifest of a run, read back: whoever wrote it, what is used of it has the types that are written here."""

import dataclasses
import importlib.metadata
import re
from pathlib import Path
from typing import Any, Literal

from lstn_search.errors import RunError
from lstn_search.spec.reading import read_as, read_json
from lstn_search.spec.results import References
from lstn_search.spec.settings import SearchSettings
from lstn_search.spec.task import RECIPE_VERSION

__all__ = ["MANIFEST", "package_version", "read_manifest"]

MANIFEST = "manifest.json"

MISSING: Any = None
"""The default of what may be missing, but is not null where it is there."""


@dataclasses.dataclass(kw_only=True, frozen=True, slots=True)
class _Data:
    fingerprint: str
    classes: int = MISSING
    train: int = MISSING
    val: int = MISSING
    test: int = MISSING
    mean: tuple[float, float, float] = MISSING
    std: tuple[float, float, float] = MISSING
    poses_fingerprint: str = ""
    damage: str | None = ""
    class_names: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@dataclasses.dataclass(kw_only=True, frozen=True, slots=True)
class _Hardware:
    platform: str = ""
    processor: str = ""
    cores: int | None = None
    torch_threads: int | None = None
    cuda: tuple[str, ...] = ()


@dataclasses.dataclass(kw_only=True, frozen=True, slots=True)
class _Backbone:
    val_clean_top1: float
    seconds: float


@dataclasses.dataclass(kw_only=True, frozen=True, slots=True)
class _Counts:
    trained: int = 0
    trials: int = 0
    rejected: int = 0
    duplicates: int = 0


@dataclasses.dataclass(kw_only=True, frozen=True, slots=True)
class _Manifest:
    settings: dict[str, Any]
    id: str
    storage: str | None = None
    recipe: int = 1
    study_begun: bool = False
    versions: dict[str, str] = MISSING
    hardware: _Hardware = MISSING
    data: _Data = MISSING
    device: str = ""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    trials: int = MISSING
    checkpoints_in: str | None = None
    backbone: _Backbone = MISSING
    code: dict[str, str] = MISSING
    start_from: dict[str, str] = MISSING
    references: References = MISSING
    counts: _Counts = MISSING
    seconds: float = 0.0
    exhausted: bool = False


def read_manifest(file: Path) -> dict[str, Any]:
    """The manifest as it was written. Raises RunError where there is none, or it is not one that this release reads."""
    try:
        manifest = read_json(file)
        _check_release(file, manifest)
        SearchSettings.from_dict(read_as(_Manifest, manifest).settings)
    except (FileNotFoundError, NotADirectoryError):
        raise RunError(f"{file.parent} holds no run (no {MANIFEST}); give the folder a search wrote") from None
    except RunError:
        raise
    except (OSError, ValueError) as error:
        raise RunError(f"{file} cannot be read ({error}); it is not a search's manifest") from None
    found: dict[str, Any] = manifest
    return found


def _check_release(file: Path, manifest: Any) -> None:
    """Raise RunError where a later release of this package wrote a manifest, which need not mean what it says."""
    if not isinstance(manifest, dict):
        return
    versions, recipe = manifest.get("versions"), manifest.get("recipe")
    theirs = versions.get("lstn-search") if isinstance(versions, dict) else None
    ours = package_version("lstn-search")
    if isinstance(recipe, int) and recipe > RECIPE_VERSION:
        what = f"it trains by recipe {recipe}, this one by {RECIPE_VERSION}"
    elif isinstance(theirs, str) and _release(theirs) > _release(ours) > ():
        what = f"by {theirs}, and this is {ours}"
    else:
        return
    raise RunError(f"{file.parent} was made by a newer version of lstn-search ({what}); update lstn-search to read it")


def _release(version: str) -> tuple[int, ...]:
    """`0.12.1` as numbers that can be compared; of what is no version, none."""
    numbers = re.match(r"\d{1,9}(\.\d{1,9})*", version)
    return tuple(map(int, numbers[0].split("."))) if numbers else ()


def package_version(name: str) -> str:
    """Of an installed package."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"
