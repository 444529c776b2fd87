"""The run folder: its manifest, its lock, and the names of the files in it.

manifest.json   settings, seeds, versions, data hash, hardware, references, counts
settings.toml   makes the run again: search --config
study.db        the Optuna study (SQLite): every trial, rejected and duplicate proposals included
trials.csv      one row a trained architecture        pareto.csv, pareto.json, pareto.png   the front
weights/        the trained localizer and classifier of each architecture on the front, and of the seed points
best/           arch.json, model.py, weights: the most accurate architecture within the budget
"""

import contextlib
import dataclasses
import functools
import json
import os
import platform
import shlex
import shutil
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lstn_search.atomic import FRESH, write_atomically
from lstn_search.errors import RunError, SettingError, why
from lstn_search.runs.links import refuse_links
from lstn_search.runs.lock import HOLDER, LOCK, FolderLock
from lstn_search.runs.manifest import MANIFEST, package_version, read_manifest
from lstn_search.runs.storage import Storage
from lstn_search.spec.arch import Arch
from lstn_search.spec.fields import ignored_by
from lstn_search.spec.ladder import Ladder
from lstn_search.spec.names import FOLDER_PREFIX
from lstn_search.spec.settings import SearchSettings
from lstn_search.spec.task import RECIPE_VERSION, Task

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

__all__ = ["MANIFEST", "RunFolder", "checkpoint_file", "hardware", "save", "versions"]

PACKAGES = ("torch", "torchvision", "timm", "optuna", "numpy", "pandas", "pillow")


def checkpoint_file(folder: Path, arch: Arch, rung: int) -> Path:
    """Where an architecture's state after a rung is kept."""
    return folder / "checkpoints" / f"{arch.digest[:16]}-{rung}.pt"


class RunFolder:
    """A run folder on disk. `create` locks it until `release` or the end of the process; `open` only reads."""

    def __init__(self, path: Path, manifest: dict[str, Any], *, storage: str | None = None) -> None:
        self.path = path
        self.manifest = manifest
        self.is_new = False
        """Whether this process has made it."""
        self._lock: FolderLock | None = None
        self._given = None if storage is None else Storage.parse(storage, path)

    # -- opening -------------------------------------------------------------------------------------------------

    @classmethod
    def create(cls, path: Path, settings: SearchSettings, *, resume: bool, storage: str | None = None) -> "RunFolder":
        """A new folder, or with `resume` the one that is there, after checking that settings and study are the same.

        `storage` is the URL of the database that holds the study instead of the folder's own SQLite file.

        Raises RunError, and leaves everything as it was, when the folder is taken, unwritable, in use, was made with
        other settings, or when its study is not the one that it has trained.
        """
        folder, another = cls(path, {}, storage=storage), "choose another --out"
        refuse_links(path)
        try:
            if path.is_dir() and not (path / MANIFEST).exists() and not _is_as_good_as_empty(path):
                raise RunError(f"{path} is not empty and holds no run; {another}")
        except OSError as error:
            raise RunError(f"{path} cannot be written {why(error, another)}") from None
        lock = FolderLock(path, what="another search", wait=f"wait for it, or {another}", unwritable=another)
        folder._lock = lock
        try:
            folder.is_new = not (path / MANIFEST).exists()
            if folder.is_new:
                named = None if folder._given is None or folder._given.is_at(Storage.of_folder(path)) else folder._given
                folder.manifest = {"id": uuid.uuid4().hex, "storage": named and named.public}
            else:
                folder.manifest = cls.open(path).manifest
                folder._check_same(settings, resume=resume)
                folder.read_study()
                _remove_left_overs(path)
                settings = _moved(folder.settings, settings)
            folder.manifest |= {
                **{"recipe": RECIPE_VERSION, "settings": settings.to_dict()},
                **{"versions": versions(), "hardware": hardware()},
            }
            if folder.is_new:  # an older one stays as it is until its images are found to be the same
                folder.write_manifest()
        except BaseException:
            lock.undo()
            raise
        return folder

    @classmethod
    def open(cls, path: Path, *, storage: str | None = None) -> "RunFolder":
        """An existing folder, to read from; `storage` is its database, where that is not a file of the folder.

        Raises RunError when it holds no run.
        """
        refuse_links(path)
        manifest = read_manifest(path / MANIFEST)
        if manifest.get("storage") is not None:
            try:
                manifest["storage"] = Storage.parse(manifest["storage"], path).public  # earlier ones held the query
            except SettingError:
                raise RunError(
                    f"{path / MANIFEST} names a storage that is none; it is not a search's manifest"
                ) from None
        return cls(path, manifest, storage=storage)

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

    def check_same_images(self, facts: dict[str, Any], *, cure: str, at_another_size: bool = False) -> None:
        """Raise RunError when a task was prepared (see `prepare_task`) from other images or poses than this run's, or
        with other code or weights of the user's own; classifiers `at_another_size` may differ in shape."""
        before = self.manifest.get("data")
        if before is not None and before["fingerprint"] != facts["data"]["fingerprint"]:
            raise RunError(
                f"{self.path} was made on other images of {self.settings.task.dataset} (their hash differs); "
                f"restore the images, or {cure}"
            )
        if before is not None and before.get("poses_fingerprint", "") != facts["data"].get("poses_fingerprint", ""):
            raise RunError(f"{self.path} was made with other poses (their hash differs); restore them, or {cure}")
        for name, what in (("backbone", "another classifier"), ("augment", "another augmentation")):
            ours, theirs = (of.get("code", {}).get(name, "") for of in (self.manifest, facts))
            if before is not None and ours != theirs and not (at_another_size and name == "backbone"):
                raise RunError(
                    f"{self.path} was made with {what} (the hash of its code and weights differs); restore it, or "
                    "search anew with another --out"
                )

    def release(self) -> None:
        """Let other processes write here."""
        if self._lock is not None:
            self._lock.release()

    def discard(self) -> None:
        """Remove a folder that this process has made and in which nothing has been trained."""
        assert self.is_new
        shutil.rmtree(self.path / "logs", ignore_errors=True)
        for name in (MANIFEST, HOLDER, LOCK):
            (self.path / name).unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # someone else's files
            self.path.rmdir()

    # -- the study -----------------------------------------------------------------------------------------------

    @functools.cached_property
    def storage(self) -> Storage:
        """Where the study is. Raises RunError on another one than the run's.

        A database elsewhere is opened only when it was given: whom a manifest comes from is not known.
        """
        named = self.manifest.get("storage")
        own = Storage.of_folder(self.path) if named is None else Storage.parse(named, self.path)
        if self._given is None and not own.is_inside:
            raise RunError(
                f"{self.path} keeps its study outside of the folder; if you trust it with that, add "
                f"--storage {shlex.quote(own.public)}"
            )
        if self._given is not None and not self._given.is_at(own):
            cure = f"give --storage {shlex.quote(own.public)}" if named else "leave --storage out"
            raise RunError(f"{self.path} was made with its study in {own.name}, not {self._given.name}; {cure}")
        return self._given or own

    @property
    def storage_words(self) -> list[str]:
        """What a command needs to open the run, beside its path."""
        return [] if self.storage.is_inside else ["--storage", self.storage.public]

    @property
    def study_name(self) -> str:
        """Of the proposals in the storage, which may hold other runs' too."""
        return f"lstn-search {self.manifest['id'][:12]}" if self.manifest.get("storage") else "lstn-search"

    @property
    def rungs_name(self) -> str:
        """Of the finished rungs in the storage."""
        return f"{self.study_name} rungs"

    def read_study(self) -> "tuple[list[FrozenTrial], list[FrozenTrial]]":
        """All proposals, and all rungs in the order in which they ended; none where the study has not been begun.

        Raises RunError when it cannot be read, or is not the one that this run has trained.
        """
        proposals, rungs = self.storage.read(self.study_name, self.rungs_name)
        trained = self.manifest.get("counts", {}).get("trained", 0)
        begun = self.manifest.get("study_begun", False) or trained > 0
        cure = "put the run's own back, or search anew with another --out"
        if proposals is None or rungs is None:
            if begun:
                raise RunError(f"{self.path} has trained {trained or 'some'} architectures, but {self.storage.name} "
                               f"holds no study of it; {cure}")  # fmt: skip
            return [], []
        run = proposals.user_attrs.get("run")  # early ones had none
        if run != self.manifest.get("id") and (run is not None or self.manifest.get("study_begun")):
            raise RunError(f"the study in {self.storage.name} is of another run than {self.path}; {cure}")
        held = len({trial.user_attrs.get("trial") for trial in rungs.trials})
        if held < trained:
            raise RunError(f"the study in {self.storage.name} holds {held} of the {trained} architectures that "
                           f"{self.path} has trained; {cure}")  # fmt: skip
        return proposals.trials, rungs.trials

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

    def write_manifest(self, **changes: Any) -> None:
        """Add `changes` to the manifest and write it whole."""
        self.manifest |= changes
        self.write_text(MANIFEST, json.dumps(self.manifest, indent=2) + "\n")

    def write_text(self, name: str, text: str) -> None:
        """Write one of the folder's files whole, or leave it as it was; for the holder of the lock."""
        save(self.path / name, text)


def save(file: Path, content: bytes | str, *, cure: str = "make room or access") -> None:
    """Write what a run keeps, whole, or leave it as it was. Raises RunError, with the cure, when it cannot."""
    try:
        write_atomically(file, content if isinstance(content, bytes) else content.encode())
    except OSError as error:
        raise RunError(f"{file} cannot be written {why(error, cure)}") from None


def _is_as_good_as_empty(path: Path) -> bool:
    """Nothing in it, or what a search leaves that was killed as it began."""
    return all(entry.name in (LOCK, HOLDER) or entry.name.startswith(f".{MANIFEST}.") for entry in path.iterdir())


def _remove_left_overs(path: Path) -> None:
    """What was being written when the search was killed."""
    for name in (MANIFEST, HOLDER, "trials.csv", "pareto.csv", "pareto.json", "pareto.png", "best"):
        for left_over in path.glob(f".{name}.{FRESH}"):
            if left_over.is_dir() and not left_over.is_symlink():
                shutil.rmtree(left_over)
            else:
                left_over.unlink()


def _difference(old: dict[str, Any], new: dict[str, Any]) -> str | None:
    """The first setting in which two runs differ, in words: `batch size 64, not 32`."""
    old, new = _flat(old), _flat(new)
    if old.pop("space_digest") != new.pop("space_digest") and old["space_name"] == new["space_name"]:
        return f"other choices or seed points in space {new['space_name']!r}"
    ignored = ignored_by(Task, "run")
    if old["dataset"].startswith(FOLDER_PREFIX) and new["dataset"].startswith(FOLDER_PREFIX):
        ignored.add("dataset")  # it may have moved; its fingerprint is compared
    for name, value in new.items():
        if name not in ignored and old[name] != value:
            return f"{name.replace('_', ' ')} {old[name]!r}, not {value!r}"
    return None


def _moved(before: SearchSettings, now: SearchSettings) -> SearchSettings:
    """The settings of a resume whose folder of images has another path: under its first name, as in the keys of what
    is kept, and `data_dir` says where it is."""
    task = now.task
    if task.dataset == before.task.dataset:
        return now
    data_dir = task.data_dir or task.dataset.removeprefix(FOLDER_PREFIX)
    return dataclasses.replace(now, task=dataclasses.replace(task, dataset=before.task.dataset, data_dir=data_dir))


def _flat(settings: dict[str, Any]) -> dict[str, Any]:
    task: dict[str, Any] = settings["task"]
    ladder = {"ladder": Ladder.from_dict(settings["ladder"]).text, "eta": settings["ladder"]["eta"]}
    flat = {name: value for name, value in settings.items() if name not in ("task", "ladder")}
    return task | flat | ladder | {"objectives": ",".join(settings["objectives"])}


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
