"""The one door to images: `load_dataset(name, image_size=...)`."""

import dataclasses
import hashlib
import logging
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import rich.console
import rich.progress
import torch

from lstn_search.data import caltech101, cifar10, clutter, folder, glyphs, gtsrb, tsrd
from lstn_search.data.annotations import read_annotations
from lstn_search.data.cache import cached_images, default_cache_dir
from lstn_search.data.decoding import Row
from lstn_search.data.listing import Listing
from lstn_search.data.places import find_data_dir
from lstn_search.data.poses import MIN_POSED, Annotation, fingerprint_of, match, settle, theta_of
from lstn_search.data.splits import cut
from lstn_search.data.walk import shown
from lstn_search.errors import DataError, SettingError
from lstn_search.spec.fields import expanded
from lstn_search.spec.names import FOLDER_PREFIX, check_name

__all__ = ["Dataset", "load_dataset"]

KNOWN = "known"
"""Where poses are asked for: those that the dataset itself knows."""
MAX_DAMAGED = 0.01
"""Share of damaged files above which a dataset is refused."""

MAX_PLAIN = 0.05
"""Share of images of one colour above which that is said."""
_SAMPLE, _PLAIN, _OBLONG = 256, 8, 0.9
"""How many images are looked at, the contrast of 255 below which one is of one colour, and the share of the longer side
below which the shorter one makes it oblong."""

_READERS: dict[str, Callable[..., Listing]] = {
    "caltech101": caltech101.read,
    "cifar10": cifar10.read,
    "gtsrb": gtsrb.read,
    "tsrd": tsrd.read,
}
_DRAWN: dict[str, Callable[..., Listing]] = {"glyphs": glyphs.read, "clutter": clutter.read}
_log = logging.getLogger(__name__)


@dataclasses.dataclass(kw_only=True, frozen=True, slots=True, eq=False)
class Dataset:
    """All images of a dataset at one size, and the three parts they are split into."""

    name: str
    class_names: tuple[str, ...]
    images_NHWC: torch.Tensor
    """uint8, memory-mapped from the cache, not to be written to; `permute(0, 3, 1, 2)` is channels_last at no cost."""
    labels_N: torch.Tensor
    """int64"""
    train_I: torch.Tensor
    """Indices into `images_NHWC`, int64, ascending; the three parts are disjoint."""
    val_I: torch.Tensor
    test_I: torch.Tensor
    mean: tuple[float, float, float]
    """Of the normalisation of pixels in [0, 1], by channel."""
    std: tuple[float, float, float]
    fingerprint: str
    """SHA-256, in hex, over the content of the image files, labels and split; not over the image size."""
    split_fingerprint: str
    """SHA-256, in hex, over the names of the images in each part."""
    pose_N23: torch.Tensor
    """The warp that cuts each image's object out upright, float32; the identity in upright data, NaN where unknown."""
    posed_N: torch.Tensor
    """bool: whether the pose is known"""
    poses_fingerprint: str
    """SHA-256, in hex, over all poses; empty in upright data."""
    num_skipped: int
    """Damaged files, left out."""
    damage: str = ""
    """One line that names them (ten of them, if there are more), with what is wrong; empty when there are none."""
    notes: tuple[str, ...] = ()
    """What is odd about the files, a line each: ignored, alike in two parts, of one colour."""

    @property
    def num_classes(self) -> int:
        return len(self.class_names)

    @property
    def facts(self) -> dict[str, Any]:
        """What is written down about it, as JSON types."""
        return {
            "name": self.name,
            "fingerprint": self.fingerprint,
            "poses_fingerprint": self.poses_fingerprint,
            "split_fingerprint": self.split_fingerprint,
            "classes": self.num_classes,
            "class_names": list(self.class_names),
            "train": len(self.train_I),
            "val": len(self.val_I),
            "test": len(self.test_I),
            "skipped": self.num_skipped,
            "damage": self.damage,
            "notes": list(self.notes),
            "mean": list(self.mean),
            "std": list(self.std),
        }


def load_dataset(
    name: str,
    *,
    image_size: int,
    data_dir: Path | None = None,
    split_seed: int = 0,
    poses: str | None = None,
    pose_share: float = 1.0,
    cache_dir: Path | None = None,
    progress: bool = True,
) -> Dataset:
    """Load a dataset (see DATASET_NAMES) resized to `image_size` x `image_size` pixels.

    The first call decodes every image into `cache_dir` (default: $LSTN_CACHE_DIR, or the user's cache folder); later
    ones map that file into memory. `data_dir` is the folder that holds caltech101, cifar10, gtsrb or tsrd (default:
    $LSTN_DATA_DIR, else ./data, else the user's data folder); glyphs and clutter need none, and for folder:PATH it says
    where that folder is now. `split_seed` moves the images between the parts that are not fixed by the dataset itself.

    `poses` says where the objects are: nothing where all are upright and fill the image, "known" for the poses that
    the dataset itself knows (clutter, gtsrb, tsrd), else the path of a file of boxes, or of a folder of them
    (docs/data.md). `pose_share` keeps the poses of that share of the training images that have one, classes in
    proportion, the same ones each time; for experiments.

    Raises DataError when the data is missing, empty or damaged, a box makes no sense, or the cache cannot be written.
    """
    check_name(name)
    if isinstance(image_size, bool) or not isinstance(image_size, int) or image_size < 1:
        raise SettingError(f"image size must be a whole number of pixels, at least 1, got {image_size!r}")
    cache_dir = expanded(cache_dir) if cache_dir is not None else default_cache_dir()
    listing = _list(name, data_dir=data_dir, split_seed=split_seed, cache_dir=cache_dir)
    boxes = _boxes(name, listing, poses or "", pose_share)  # mistakes in a file are told before anything is decoded
    entry = cached_images(
        listing.digest,
        name=name.partition(":")[0],
        num_images=len(listing.keys),
        image_size=image_size,
        decode=lambda: _show(listing.decode(image_size), name, len(listing.keys), progress),
        cache_dir=cache_dir,
    )
    damage = _report_damaged(name, listing, entry.damaged)
    notes = tuple(f"{name}: {note}" for note in (*listing.notes, *_oddities(entry.images_NHWC, listing)))
    for note in notes:
        _log.warning(note)

    kept = [position for position in range(len(listing.keys)) if position not in entry.damaged]
    row_of = {position: row for row, position in enumerate(kept)}
    parts = {
        part: [position for position in getattr(listing.split, part) if position in row_of]
        for part in ("train", "val", "test")
    }
    for part, positions in parts.items():
        if not positions:
            raise DataError(f"dataset {name!r} has no {part} image; add images")
    split_fingerprint = _sha256(f"{part}\0{listing.keys[i]}\n" for part, positions in parts.items() for i in positions)
    described = (f"{listing.keys[i]}\0{listing.content[i]}\0{listing.class_names[listing.labels[i]]}\n" for i in kept)
    fingerprint = _sha256(line for lines in (described, [split_fingerprint]) for line in lines)
    if poses:
        boxes = {i: box for i, box in boxes.items() if i in row_of}
        _thin(boxes, listing, parts["train"], pose_share, split_seed)
    pose_of = settle(boxes, listing.sizes)
    posed_N = torch.tensor([not poses or i in pose_of for i in kept])
    pose_N23 = torch.eye(2, 3).repeat(len(kept), 1, 1)
    pose_N23[~posed_N] = math.nan
    for i, (pose, size) in pose_of.items():
        pose_N23[row_of[i]] = torch.tensor(theta_of(pose, size))
    indices = {part: torch.tensor([row_of[i] for i in positions]) for part, positions in parts.items()}
    return Dataset(
        name=name,
        class_names=listing.class_names,
        images_NHWC=torch.from_numpy(entry.images_NHWC),
        labels_N=torch.tensor([listing.labels[i] for i in kept]),
        train_I=indices["train"],
        val_I=indices["val"],
        test_I=indices["test"],
        mean=(0.5, 0.5, 0.5),
        std=(0.5, 0.5, 0.5),
        fingerprint=fingerprint,
        split_fingerprint=split_fingerprint,
        pose_N23=pose_N23,
        posed_N=posed_N,
        poses_fingerprint=fingerprint_of(pose_of, listing.keys) if poses else "",
        num_skipped=len(entry.damaged),
        damage=damage,
        notes=notes,
    )


def _list(name: str, *, data_dir: Path | None, split_seed: int, cache_dir: Path) -> Listing:
    if name in _DRAWN:
        return _DRAWN[name](split_seed=split_seed)
    if name.startswith(FOLDER_PREFIX):
        path = data_dir or Path(name.removeprefix(FOLDER_PREFIX))
        return folder.read(expanded(path), split_seed=split_seed, cache_dir=cache_dir)
    return _READERS[name](expanded(data_dir or find_data_dir(name)), split_seed=split_seed, cache_dir=cache_dir)


def _boxes(name: str, listing: Listing, source: str, share: float) -> dict[int, Annotation]:
    """Position in the listing -> its box as `source` has it; nothing where all images are upright."""
    if not 0 < share <= 1:
        raise SettingError(f"pose share {share} is out of range; give a number above 0 and up to 1")
    if not source:
        if share < 1:
            raise SettingError(f"pose share {share} needs poses; name a file of boxes, or known")
        return {}
    if source != KNOWN:
        return match(read_annotations(expanded(source)), listing.keys, source)
    if listing.known_poses is None:
        raise DataError(f"dataset {name!r} knows no poses (clutter, gtsrb and tsrd do); name a file of boxes, or none")
    return match(listing.known_poses(), listing.keys, source)


def _thin(boxes: dict[int, Annotation], listing: Listing, train: list[int], share: float, seed: int) -> None:
    """Remove the boxes of all but a share of the training images that have one."""
    boxed = [i for i in train if i in boxes]
    dropped, chosen = cut(boxed, listing.keys, listing.labels, num=round(share * len(boxed)), seed=seed)
    if len(chosen) < MIN_POSED:
        raise DataError(f"{len(chosen)} training images have a pose, at least {MIN_POSED} are needed; add boxes")
    for i in dropped:
        del boxes[i]


def _show(rows: Iterator[Row], name: str, num_images: int, progress: bool) -> Iterator[Row]:
    """Pass `rows` on, with a progress bar on stderr that goes away when done."""
    console = rich.console.Console(stderr=True)
    yield from rich.progress.track(
        rows, f"decoding {name}", total=num_images, console=console, transient=True, disable=not progress
    )


def _report_damaged(name: str, listing: Listing, damaged: dict[int, str]) -> str:
    """Warn of damaged files, in one line that is also returned; an error when there are too many."""
    if not damaged:
        return ""
    named = [f"{shown(listing.keys[i])} ({shown(reason)})" for i, reason in sorted(damaged.items())]
    more = f" and {len(named) - 10} more" if len(named) > 10 else ""
    facts = f"{len(damaged):,} of {len(listing.keys):,} files damaged: {', '.join(named[:10])}{more}"
    if len(damaged) > MAX_DAMAGED * len(listing.keys):
        raise DataError(f"{name}: {facts}; that is over {MAX_DAMAGED:.0%}, replace or remove them")
    line = f"{name}: {facts}; left out"
    _log.warning(line)
    return line


def _oddities(images_NHWC: npt.NDArray[np.uint8], listing: Listing) -> list[str]:
    """Lines on what a sample of images is like, and what becomes of it."""
    notes = _plain_colours(images_NHWC)
    sample_NHWC = images_NHWC[:: max(1, len(images_NHWC) // _SAMPLE)]
    if len(sample_NHWC) and bool((sample_NHWC == sample_NHWC[..., :1]).all()):
        notes.append("all images looked at are grey: they are shown as three equal channels")
    positions = range(0, len(listing.keys), max(1, len(listing.keys) // _SAMPLE))
    sizes = [size for size in (listing.sizes(positions) if listing.sizes else ()) if size]
    oblong = [size for size in sizes if min(size) < _OBLONG * max(size)]
    if len(oblong) > MAX_PLAIN * len(sizes):
        width, height = oblong[0]
        notes.append(
            f"{len(oblong):,} of {len(sizes):,} images looked at are not square ({width:g} x {height:g} px, for one): "
            "all are resized to squares, whole, and their aspect ratio is not kept"
        )
    return notes


def _plain_colours(images_NHWC: npt.NDArray[np.uint8]) -> list[str]:
    """A line when many of a sample of images show (nearly) nothing but one colour."""
    sample_NHWC = images_NHWC[:: max(1, len(images_NHWC) // _SAMPLE)]
    spread_N = sample_NHWC.max(axis=(1, 2)).astype(int) - sample_NHWC.min(axis=(1, 2))
    num = int((spread_N.max(axis=1) < _PLAIN).sum())
    if num <= MAX_PLAIN * len(sample_NHWC):
        return []
    return [
        f"{num:,} of {len(sample_NHWC):,} images looked at are (nearly) of one colour; are they read as you see them?"
    ]


def _sha256(lines: Iterator[str]) -> str:
    digest = hashlib.sha256()
    for line in lines:
        digest.update(line.encode("utf-8", "surrogateescape"))
    return digest.hexdigest()
