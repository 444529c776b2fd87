"""TSRD, the Chinese Traffic Sign Recognition Database: 6,164 photos of signs in 58 classes.

Official naming: photos `000_0001.png` (the class first) in TSRD-Train and TSRD-Test, and for each an annotation file
(`TsignRecgTrain4170Annotation.txt`, `TsignRecgTest1994Annotation.txt`) with a line a photo:

    file name;width;height;x1;y1;x2;y2;class;

As in the paper, both parts are pooled, duplicates are removed (files with the same bytes; the first one stays) and the
rest is split 4,000 / 998 / 1,000. A photo is taken whole, as it is for the localization net to find the sign; the boxes
are the poses that the dataset knows.
"""

import logging
from pathlib import Path, PurePosixPath

from lstn_search.data.decoding import read_file
from lstn_search.data.files import look_at
from lstn_search.data.listing import ImageFiles, Listing, check_classes, list_files, not_found
from lstn_search.data.poses import Annotation, Pose
from lstn_search.data.splits import scale_sizes, split_by_size
from lstn_search.data.walk import Tree, is_folder
from lstn_search.errors import DataError

__all__ = ["HOW_TO_GET", "SIZES", "read"]

SIZES = (4000, 998, 1000)
HOW_TO_GET = (
    "get TSRD-Train, TSRD-Test and their two annotations on the Chinese Traffic Sign Database page (nlpr.ia.ac.cn), "
    "unpack them in DIR/tsrd and give --data-dir DIR"
)
MAX_BYTES = 16_000_000
"""Of an annotation file; the official ones have a fiftieth of it."""
_log = logging.getLogger(__name__)


def read(data_dir: Path, *, split_seed: int, cache_dir: Path) -> Listing:
    """List the photos that the annotation files below `data_dir` (or below a folder tsrd or TSRD in it) name."""
    root = next((data_dir / name for name in ("tsrd", "TSRD") if is_folder(data_dir / name)), data_dir)
    photos = _annotated(root)
    if not photos:
        what = "TSRD annotation file (TsignRecg…Annotation.txt)"
        raise not_found(what, data_dir, archive="tsrd", folder="tsrd", cure=HOW_TO_GET)
    found = sorted(photos)
    looks = dict(zip(found, look_at(root, [photos[key][0] for key in found], cache_dir=cache_dir), strict=True))
    first = {looks[key].digest: key for key in reversed(found)}
    keys = tuple(sorted(first.values()))

    class_names = tuple(sorted({photos[key][1] for key in keys}))
    labels = tuple(class_names.index(photos[key][1]) for key in keys)
    check_classes(root, class_names, labels, minimum=1)
    sizes = scale_sizes(SIZES, len(keys))
    if sizes != SIZES:
        _log.warning(
            f"tsrd: {len(keys):,} images after {len(found) - len(keys):,} duplicates were left out, where there should "
            f"be {sum(SIZES):,}; split {'/'.join(f'{size:,}' for size in sizes)} in the same proportions"
        )
    return list_files(
        root,
        ImageFiles(class_names=class_names, keys=keys, paths=tuple(photos[key][0] for key in keys), labels=labels),
        split=split_by_size(keys, labels, sizes=sizes, seed=split_seed),
        cache_dir=cache_dir,
        looks=[looks[key] for key in keys],
        known_poses=lambda: [photos[key][2] for key in keys],
    )


def _annotated(root: Path) -> dict[str, tuple[str, str, Annotation]]:
    """Key ("train/000_0001.png") -> (path relative to `root`, class as three digits, box) of each annotated photo.

    The names of the folders differ between copies (TSRD-Train, tsrd-train, TSRD-Train-Images), so keys leave them out.
    """
    photos: dict[str, tuple[str, str, Annotation]] = {}
    if not is_folder(root):
        return photos
    paths = Tree(root).files()
    for text in Tree(root, suffixes=frozenset({".txt"})).files():
        name_of_text, place = PurePosixPath(text).name.lower(), root / text
        if "annotation" not in name_of_text:
            continue
        part = "test" if "test" in name_of_text else "train"
        path_of = {PurePosixPath(path).name: path for path in paths}
        path_of |= {PurePosixPath(path).name: path for path in paths if part in PurePosixPath(path).parent.name.lower()}
        lines = read_file(place, MAX_BYTES).decode("utf-8-sig", errors="replace").splitlines()
        for number, line in enumerate(lines, start=1):
            if not line.strip(" ;\t"):
                continue
            name, *numbers = (field.strip() for field in line.strip().rstrip(";").split(";"))
            if len(numbers) != 7 or not all(field.isdecimal() and len(field) < 10 for field in numbers):
                raise DataError(
                    f"{place}:{number}: expected name;width;height;x1;y1;x2;y2;class; got {line.strip()[:100]!r}"
                )
            if name not in path_of:
                raise DataError(f"{place}:{number}: no photo {name!r} below {root}; unpack TSRD-{part.title()} there")
            width, height, x1, y1, x2, y2, label = map(int, numbers)
            key, pose = f"{part}/{name}", Pose(x1=x1, y1=y1, x2=x2, y2=y2)
            box = Annotation(place=f"{place}:{number}", name=key, pose=pose, size=(width, height))
            photos[key] = (path_of[name], f"{label:03d}", box)
    return photos
