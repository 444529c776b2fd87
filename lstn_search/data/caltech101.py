"""Caltech-101 in torchvision's layout: 101 object categories, 8,677 photos of about 300 x 200 pixels.

The folder BACKGROUND_Google is no object category and is left out, as the paper and torchvision do. Grayscale photos
become RGB. The split is 6,277 / 1,200 / 1,200, stratified.
"""

import logging
from pathlib import Path

from lstn_search.data import files
from lstn_search.data.listing import Listing, check_classes, list_class_folders
from lstn_search.data.splits import scale_sizes, split_by_size
from lstn_search.errors import DataError

__all__ = ["SIZES", "read"]

SIZES = (6277, 1200, 1200)
_FOLDER = "101_ObjectCategories"
_log = logging.getLogger(__name__)


def read(data_dir: Path, *, split_seed: int, cache_dir: Path) -> Listing:
    """List the photos of `data_dir`: it holds caltech101/101_ObjectCategories, or 101_ObjectCategories, or is that."""
    root = _find(data_dir)
    class_names, keys, labels = list_class_folders(root, exclude=("BACKGROUND_Google",))
    check_classes(root, class_names, labels, minimum=3)
    sizes = scale_sizes(SIZES, len(keys))
    if sizes != SIZES:
        _log.warning(
            "caltech101: %s images in %s where there should be %s; split %s/%s/%s in the same proportions",
            *(f"{len(keys):,}", root, f"{sum(SIZES):,}"),
            *(f"{size:,}" for size in sizes),
        )
    return Listing(
        class_names=class_names,
        keys=keys,
        labels=labels,
        content=tuple(files.file_digests(root, keys, cache_dir=cache_dir)),
        split=split_by_size(keys, labels, sizes=sizes, seed=split_seed),
        decode=lambda image_size: files.decode_files(root, keys, image_size=image_size),
    )


def _find(data_dir: Path) -> Path:
    candidates = (data_dir / "caltech101" / _FOLDER, data_dir / _FOLDER, data_dir)
    for root in candidates[:2] if data_dir.name != _FOLDER else candidates:
        if root.is_dir():
            return root
    raise DataError(
        f'no caltech101/{_FOLDER} in {data_dir}; get it with `python -c "import torchvision; '
        f'torchvision.datasets.Caltech101({str(data_dir)!r}, download=True)"`, or unpack caltech-101.zip of the '
        "Caltech-101 page (data.caltech.edu) there"
    )
