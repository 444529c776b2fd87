"""Names: those of datasets, views and fills, and the rule for those that files bring; neither torch nor Pillow here."""

import re
import unicodedata

from lstn_search.errors import DataError, SettingError, did_you_mean
from lstn_search.spec.reading import short

__all__ = [
    *("DATASET_NAMES", "FILL_NAMES", "FOLDER_PREFIX", "LIBRARIES", "SAVED_PREFIX", "SCORED_FILLS", "VIEW_NAMES"),
    *("check_name", "checked_label"),
]

FOLDER_PREFIX = "folder:"
LIBRARIES = ("timm", "torchvision")
"""Whose classifiers have names; `timm:NAME` is that one's and no other's."""
SAVED_PREFIX = "saved:"
"""Of a classifier that `lstn_search.backbone` wrote into the cache; the digest of its content follows."""
DATASET_NAMES = ("caltech101", "cifar10", "gtsrb", "tsrd", "glyphs", "clutter", "folder:PATH")
VIEW_NAMES = ("affine", "none")
SCORED_FILLS = ("reflection", "border", "picture", "colour")
"""What may lie outside a warped picture without telling where it ends; see `lstn_search.data.fills`."""
FILL_NAMES = ("random", *SCORED_FILLS, "zeros")

MAX_LABEL_BYTES = 100
"""A file name has room for 255, and what is written under a name has more to say."""
MEANT = ("best", "knee", "none", "control", "oracle")
"""Words that mean something else where a trained architecture is named."""


def checked_label(name: object, what: str, *, is_pick: bool = False) -> str:
    """A name that a file brought, in Unicode's composed form, as it may name a file, a table's cell and a picture.

    `is_pick`: architectures are chosen by it, beside `t7`, `7`, `best` and `max-gflops=X`. Raises SettingError.
    """
    label = unicodedata.normalize("NFC", name) if isinstance(name, str) else ""
    said = f"{what} {short(name)}"
    if not 0 < len(label.encode(errors="replace")) <= MAX_LABEL_BYTES:
        raise SettingError(f"{said} is no name; write 1 to {MAX_LABEL_BYTES} bytes of text")
    if not label.isprintable() or set(label) & set('/\\:*?"<>|$'):
        raise SettingError(
            f'{said} holds a control character, or one of / \\ : * ? " < > | $, which file names and pictures do not '
            "take; use letters, digits, spaces, _ and -"
        )
    if unicodedata.normalize("NFKC", label)[0] in "=+-@.~ " or label[-1] in ". ":
        raise SettingError(
            f"{said} begins like a formula, an option or a hidden file, or ends in a dot or space; begin with a letter "
            "or a digit"
        )
    if is_pick and (label.casefold() in MEANT or re.fullmatch(r"t?\d+|max-.*", label.casefold())):
        raise SettingError(
            f"{said} means something else where an architecture is chosen (t7, 7, best, knee, control, max-gflops=X); "
            "take another name"
        )
    return label


def check_name(name: str) -> None:
    """Raise DataError, with suggestions, unless `name` is in DATASET_NAMES; its images are not looked for yet."""
    if not isinstance(name, str) or "\0" in name:
        cure = did_you_mean("", DATASET_NAMES)
        if not isinstance(name, str) and name is not None:
            cure = "images from Python are given by lstn_search.dataset(...), which returns a name"
        raise DataError(f"dataset {short(name)} is no name; {cure}")
    if name.startswith(FOLDER_PREFIX):
        if name == FOLDER_PREFIX:
            raise DataError(
                "dataset 'folder:' has no path; write folder:PATH, the folder that holds one folder a class"
            )
    elif name not in DATASET_NAMES:
        raise DataError(f"unknown dataset {name!r}; {did_you_mean(name, DATASET_NAMES)}")
