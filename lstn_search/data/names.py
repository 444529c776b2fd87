"""The names of the datasets, for help texts and early checks; imports neither torch nor Pillow."""

from lstn_search.errors import DataError, did_you_mean

__all__ = ["DATASET_NAMES", "FOLDER_PREFIX", "check_name"]

FOLDER_PREFIX = "folder:"
DATASET_NAMES = ("caltech101", "cifar10", "tsrd", "glyphs", "folder:PATH")


def check_name(name: str) -> None:
    """Raise DataError, with suggestions, unless `name` is one of DATASET_NAMES (``folder:PATH`` with a real PATH)."""
    if name.startswith(FOLDER_PREFIX):
        if name == FOLDER_PREFIX:
            raise DataError(
                "dataset 'folder:' has no path; write folder:PATH, the folder that holds one folder a class"
            )
    elif name not in DATASET_NAMES or name == "folder:PATH":
        raise DataError(f"unknown dataset {name!r}; {did_you_mean(name, DATASET_NAMES)}")
