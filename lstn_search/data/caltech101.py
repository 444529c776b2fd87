"""Caltech-101 in torchvision's layout: 101 object categories, 8,677 photos of about 300 x 200 pixels.

The folder BACKGROUND_Google is no object category and is left out, as the paper and torchvision do. Grayscale photos
become RGB. The split is 6,277 / 1,200 / 1,200, stratified.
"""

import logging
from pathlib import Path

from lstn_search.data.listing import Listing, check_classes, list_class_folders, list_files, not_found
from lstn_search.data.splits import scale_sizes, split_by_size
from lstn_search.data.walk import Tree, is_folder
from lstn_search.program import program

__all__ = ["HOW_TO_GET", "SIZES", "read"]

SIZES = (6277, 1200, 1200)
HOW_TO_GET = (
    f"get it with `{program()} download caltech101 --data-dir DIR`, or unpack "
    "101_ObjectCategories.tar.gz (in caltech-101.zip of the page data.caltech.edu) in DIR, and give --data-dir DIR"
)
_FOLDER = "101_ObjectCategories"
_log = logging.getLogger(__name__)


def read(data_dir: Path, *, split_seed: int, cache_dir: Path) -> Listing:
    """List the photos of `data_dir`: it holds (caltech101/)101_ObjectCategories, or is that folder."""
    root = _find(data_dir)
    tree = Tree(root)
    found = list_class_folders(tree, exclude=("BACKGROUND_Google",))
    check_classes(root, found.class_names, found.labels, minimum=3)
    sizes = scale_sizes(SIZES, len(found.keys))
    if sizes != SIZES:
        _log.warning(
            f"caltech101: {len(found.keys):,} images in {root} where there should be {sum(SIZES):,}; "
            f"split {'/'.join(f'{size:,}' for size in sizes)} in the same proportions"
        )
    split = split_by_size(found.keys, found.labels, sizes=sizes, seed=split_seed)
    return list_files(root, found, split=split, cache_dir=cache_dir, tree=tree)


def _find(data_dir: Path) -> Path:
    for above in ("caltech101", "caltech-101", "."):
        if is_folder(data_dir / above / _FOLDER):
            return data_dir / above / _FOLDER
    if data_dir.name == _FOLDER and is_folder(data_dir):
        return data_dir
    raise not_found(f"caltech101/{_FOLDER}", data_dir, archive="101", folder="caltech101", cure=HOW_TO_GET)
