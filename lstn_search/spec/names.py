"""The names of the datasets, views and fills, for help texts and early checks; imports neither torch nor Pillow."""

from lstn_search.errors import DataError, did_you_mean

__all__ = ["DATASET_NAMES", "FILL_NAMES", "FOLDER_PREFIX", "SCORED_FILLS", "VIEW_NAMES", "check_name"]

FOLDER_PREFIX = "folder:"
DATASET_NAMES = ("caltech101", "cifar10", "gtsrb", "tsrd", "glyphs", "clutter", "folder:PATH")
VIEW_NAMES = ("affine", "none")
SCORED_FILLS = ("reflection", "border", "picture", "colour")
"""What may lie outside a warped picture without telling where it ends; see `lstn_search.data.fills`."""
FILL_NAMES = ("random", *SCORED_FILLS, "zeros")


def check_name(name: str) -> None:
    """Raise DataError, with suggestions, unless `name` is in DATASET_NAMES; its images are not looked for yet."""
    if name.startswith(FOLDER_PREFIX):
        if name == FOLDER_PREFIX:
            raise DataError(
                "dataset 'folder:' has no path; write folder:PATH, the folder that holds one folder a class"
            )
    elif name not in DATASET_NAMES:
        raise DataError(f"unknown dataset {name!r}; {did_you_mean(name, DATASET_NAMES)}")
