"""Where images lie when nobody says it, and whether they are there: said before torch is loaded or a worker starts."""

import dataclasses
import os
from pathlib import Path

from lstn_search.errors import DataError
from lstn_search.program import program
from lstn_search.spec.names import FOLDER_PREFIX
from lstn_search.spec.task import Task

__all__ = ["DATA_DIR", "download_dir", "find_data_dir", "located"]

DATA_DIR = "LSTN_DATA_DIR"
MARKS = {
    "caltech101": ("caltech101/101_ObjectCategories", "caltech-101/101_ObjectCategories", "101_ObjectCategories"),
    "cifar10": ("cifar10/cifar-10-batches-py", "cifar-10-batches-py", "cifar10/train", "train"),
    "gtsrb": ("gtsrb", "GTSRB"),
    "tsrd": ("tsrd", "TSRD"),
}
"""Folders below the one that holds a dataset, one of which is there when that is."""


def download_dir() -> Path:
    """Where `download` puts datasets unless it is told: $LSTN_DATA_DIR, or the user's data folder for this platform."""
    import platformdirs

    return Path(os.environ.get(DATA_DIR) or platformdirs.user_data_dir("lstn-search")).expanduser()


def find_data_dir(name: str) -> Path:
    """The folder that holds a dataset: $LSTN_DATA_DIR, or without that ./data, or the user's data folder.

    Raises DataError, with how to get the dataset, when it is in none of them.
    """
    places = [download_dir()] if os.environ.get(DATA_DIR) else [Path("data").absolute(), download_dir()]
    for place in places:
        if _holds(place, name):
            return place
    named = " or ".join(f"${DATA_DIR} ({place})" if len(places) == 1 else str(place) for place in places)
    raise DataError(f"dataset {name!r} is not in {named}; {_cure(name)}")


def located(task: Task) -> Task:
    """The task with the folder of its images. Raises DataError when they are not there."""
    name, cache_dir = task.dataset, Path()  # what is not there is not read
    if name.startswith(FOLDER_PREFIX):
        path = Path(task.data_dir or name.removeprefix(FOLDER_PREFIX)).expanduser()
        if not path.is_dir():
            from lstn_search.data import folder

            folder.read(path, split_seed=0, cache_dir=cache_dir)
    elif name in MARKS and task.data_dir is None:
        return dataclasses.replace(task, data_dir=str(find_data_dir(name)))
    elif name in MARKS:
        path = Path(task.data_dir or "").expanduser()
        is_exact = name in ("caltech101", "cifar10")  # others are also read from folders of any name
        if not (_holds(path, name) if is_exact and path.name not in MARKS[name] else path.is_dir()):
            from importlib import import_module

            import_module(f"lstn_search.data.{name}").read(path, split_seed=0, cache_dir=cache_dir)
    return task


def _holds(place: Path, name: str) -> bool:
    return any((place / mark).is_dir() for mark in MARKS[name])


def _cure(name: str) -> str:
    if name in ("caltech101", "cifar10"):
        return f"get it with `{program()} download {name}`, or name its folder with --data-dir"
    from importlib import import_module

    how: str = import_module(f"lstn_search.data.{name}").HOW_TO_GET
    return how
