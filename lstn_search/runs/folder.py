"""The run folder: its manifest, its lock, and the names of the files in it.

manifest.json   settings, seeds, versions, data hash, hardware, references, counts
study.db        the Optuna study (SQLite): every trial, rejected and duplicate proposals included
trials.csv      one row a trained architecture        pareto.csv, pareto.json, pareto.png   the front
weights/        the trained localizer and classifier of each architecture on the front, and of the seed points
best/           arch.json, model.py, weights: the most accurate architecture within the budget
"""

import contextlib
import json
import os
import platform
import shutil
import uuid
from pathlib import Path
from typing import Any

from lstn_search.errors import RunError, SettingError
from lstn_search.runs.lock import HOLDER, LOCK, FolderLock
from lstn_search.runs.manifest import MANIFEST, package_version, read_manifest
from lstn_search.spec.arch import Arch
from lstn_search.spec.fields import ignored_by
from lstn_search.spec.ladder import Ladder
from lstn_search.spec.settings import SearchSettings
from lstn_search.spec.task import RECIPE_VERSION, Task

__all__ = [
    *("MANIFEST", "STUDY_FILE"),
    *("RunFolder", "checkpoint_file", "hardware", "versions"),
]

STUDY_FILE = "study.db"
PACKAGES = ("torch", "torchvision", "timm", "optuna", "numpy", "pandas", "pillow")


def checkpoint_file(folder: Path, arch: Arch, rung: int) -> Path:
    """Where an architecture's state after a rung is kept."""
    return folder / "checkpoints" / f"{arch.digest[:16]}-{rung}.pt"


class RunFolder:
    """A run folder on disk. `create` locks it until `release` or the end of the process; `open` only reads."""

    def __init__(self, path: Path, manifest: dict[str, Any]) -> None:
        self.path = path
        self.manifest = manifest
        self._lock: FolderLock | None = None
        self._storage: str | None = None

    # -- opening -------------------------------------------------------------------------------------------------

    @classmethod
    def create(cls, path: Path, settings: SearchSettings, *, resume: bool, storage: str | None = None) -> "RunFolder":
        """A new folder, or with `resume` the one that is there, after checking that its settings are the same.

        `storage` is the URL of the database that holds the study instead of the folder's own SQLite file.

        Raises RunError when the folder is taken, unwritable, in use, or was made with other settings.
        """
        public_storage = storage and _without_password(storage)  # first: it may be refused
        another = "choose another --out"
        try:
            if path.is_dir() and not (path / MANIFEST).exists() and not _is_as_good_as_empty(path):
                raise RunError(f"{path} is not empty and holds no run; {another}")
        except OSError as error:
            raise RunError(f"{path} cannot be written ({error.strerror}); {another}") from None
        lock = FolderLock(path, what="another search", wait=f"wait for it, or {another}", unwritable=another)
        folder = cls(path, {})
        folder._lock, folder._storage = lock, storage
        try:
            if (path / MANIFEST).exists():
                folder.manifest = cls.open(path).manifest
                folder._check_same(settings, resume=resume)
            else:
                folder.manifest = {"id": uuid.uuid4().hex, "storage": public_storage}
            folder.write_manifest(
                recipe=RECIPE_VERSION, settings=settings.to_dict(), versions=versions(), hardware=hardware()
            )
        except BaseException:
            folder.release()
            raise
        return folder

    @classmethod
    def open(cls, path: Path) -> "RunFolder":
        """An existing folder, to read from. Raises RunError when it holds no run."""
        return cls(path, read_manifest(path / MANIFEST))

    def _check_same(self, settings: SearchSettings, *, resume: bool) -> None:
        difference = _difference(self.settings.to_dict(), settings.to_dict())
        if difference is not None:
            cure = "give the same settings to resume, or choose another --out"
            raise RunError(f"{self.path} was made with {difference}; {cure}")
        self.check_same_recipe(cure="choose another --out")
        if not resume:
            raise RunError(
                f"{self.path} already holds this run; add --resume to go on with it, or choose another --out"
            )

    def check_same_recipe(self, *, cure: str) -> None:
        """Raise RunError when this run was trained in another way than this release trains."""
        if self.manifest.get("recipe", 1) != RECIPE_VERSION:
            raise RunError(
                f"{self.path} was trained by an earlier release, in another way, and can be reported and exported but "
                f"nothing can be trained beside it; {cure}"
            )

    def check_same_images(self, facts: dict[str, Any], *, cure: str) -> None:
        """Raise RunError when a task was prepared (see `prepare_task`) from other images or poses than this run's."""
        before = self.manifest.get("data")
        if before is not None and before["fingerprint"] != facts["data"]["fingerprint"]:
            raise RunError(
                f"{self.path} was made on other images of {self.settings.task.dataset} (their hash differs); "
                f"restore the images, or {cure}"
            )
        if before is not None and before.get("poses_fingerprint", "") != facts["data"].get("poses_fingerprint", ""):
            raise RunError(f"{self.path} was made with other poses (their hash differs); restore them, or {cure}")

    def release(self) -> None:
        """Let other processes write here."""
        if self._lock is not None:
            self._lock.release()

    def discard(self) -> None:
        """Remove a folder in which nothing has been trained, as if it had not been created."""
        assert not (self.path / STUDY_FILE).exists()
        shutil.rmtree(self.path / "logs", ignore_errors=True)
        for name in (MANIFEST, HOLDER, LOCK):
            (self.path / name).unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # someone else's files
            self.path.rmdir()

    # -- files ---------------------------------------------------------------------------------------------------

    @property
    def settings(self) -> SearchSettings:
        """What the search was asked to do."""
        return SearchSettings.from_dict(self.manifest["settings"])

    def image_fact(self, name: str) -> Any:
        """What the manifest says of the images: `val`, `test`, `mean`, … Raises RunError when it does not say it."""
        try:
            return self.manifest["data"][name]
        except KeyError:
            raise RunError(f"{self.path / MANIFEST} does not say the {name!r} of its images; restore it") from None

    @property
    def checkpoints_in(self) -> Path:
        """The folder whose `checkpoints/` the workers write: this one, unless Ray was given another to share."""
        return Path(self.manifest.get("checkpoints_in") or self.path)

    @property
    def storage_url(self) -> str:
        """Optuna's URL of the study. The manifest keeps it without a password: that is given anew, or in ~/.pgpass."""
        return self._storage or self.manifest.get("storage") or f"sqlite:///{(self.path / STUDY_FILE).resolve()}"

    @property
    def storage_name(self) -> str:
        """The study's place, for messages."""
        return self.manifest.get("storage") or str(self.path / STUDY_FILE)

    @property
    def has_study(self) -> bool:
        """Whether a study may have been begun."""
        return bool(self.manifest.get("storage")) or (self.path / STUDY_FILE).exists()

    @property
    def study_name(self) -> str:
        """Of the proposals in the storage, which may hold other runs' too."""
        return f"lstn-search {self.manifest['id'][:12]}" if self.manifest.get("storage") else "lstn-search"

    @property
    def rungs_name(self) -> str:
        """Of the finished rungs in the storage."""
        return f"{self.study_name} rungs"

    def write_manifest(self, **changes: Any) -> None:
        """Add `changes` to the manifest and write it whole."""
        self.manifest |= changes
        self.write_text(MANIFEST, json.dumps(self.manifest, indent=2) + "\n")

    def write_text(self, name: str, text: str) -> None:
        """Write one of the folder's files whole, or leave it as it was; for the holder of the lock."""
        temporary = self.path / f".{name}.tmp"
        try:
            with temporary.open("w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())  # or a power cut could leave an empty file under the name
            temporary.replace(self.path / name)
        except OSError as error:
            temporary.unlink(missing_ok=True)
            raise RunError(f"{self.path / name} cannot be written ({error.strerror}); make room or access") from None


def _is_as_good_as_empty(path: Path) -> bool:
    """Nothing in it, or what a search leaves that was killed as it began."""
    return all(entry.name in (LOCK, HOLDER, f".{MANIFEST}.tmp") for entry in path.iterdir())


def _difference(old: dict[str, Any], new: dict[str, Any]) -> str | None:
    """The first setting in which two runs differ, in words: `batch size 64, not 32`."""
    old, new = _flat(old), _flat(new)
    if old.pop("space_digest") != new.pop("space_digest") and old["space_name"] == new["space_name"]:
        return f"other choices or seed points in space {new['space_name']!r}"
    ignored = ignored_by(Task, "run")
    for name, value in new.items():
        if name not in ignored and old[name] != value:
            return f"{name.replace('_', ' ')} {old[name]!r}, not {value!r}"
    return None


def _flat(settings: dict[str, Any]) -> dict[str, Any]:
    task: dict[str, Any] = settings["task"]
    ladder = {"ladder": Ladder.from_dict(settings["ladder"]).text, "eta": settings["ladder"]["eta"]}
    flat = {name: value for name, value in settings.items() if name not in ("task", "ladder")}
    return task | flat | ladder | {"objectives": ",".join(settings["objectives"])}


def _without_password(url: str) -> str:
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        return make_url(url)._replace(password=None).render_as_string()  # set() takes None for "as it was"
    except ArgumentError:
        raise SettingError(f"storage {url!r} is not a database URL; write for example postgresql://host/name") from None


def versions() -> dict[str, str]:
    """Of Python, this package, and what its results depend on."""
    own = {"python": platform.python_version(), "lstn-search": package_version("lstn-search")}
    return own | {name: package_version(name) for name in PACKAGES}


def hardware() -> dict[str, Any]:
    """The machine that this process runs on."""
    import torch

    cuda = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return {
        "platform": platform.platform(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "torch_threads": torch.get_num_threads(),
        "cuda": cuda,
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")
