"""Poses: where the object is in each image, and the warp that cuts it out upright.

A pose is a box, turned or not, in pixels of the picture as it is shown (a photo is turned as its EXIF says). Files of
boxes come as rows (`Annotation`, read by `lstn_search.data.annotations`), and so do the poses that a dataset knows
itself; here they find their images, are checked and become `theta`. Upright data has the identity for every image.
"""

import dataclasses
import hashlib
import logging
import math
from collections.abc import Callable, Iterator, Mapping, Sequence

from lstn_search.errors import DataError

__all__ = ["MIN_POSED", "Annotation", "Pose", "Size", "Theta", "fingerprint_of", "match", "settle", "theta_of"]

MIN_POSED = 32
"""Training images with a pose below which nothing can be learnt from them."""

Size = tuple[float, float]
"""Width and height in pixels."""
Theta = tuple[tuple[float, float, float], tuple[float, float, float]]

_log = logging.getLogger(__name__)


@dataclasses.dataclass(kw_only=True, frozen=True, slots=True)
class Pose:
    """The box of an object: that of the upright object, turned about its middle."""

    x1: float
    """Left edge in pixels; the image runs from 0 to its width."""
    y1: float
    x2: float
    y2: float
    degrees: float = 0.0
    """Clockwise as one sees it (y runs down)."""

    @property
    def area(self) -> float:
        """In square pixels; 0 for a box with its edges the wrong way round."""
        return max(0.0, self.x2 - self.x1) * max(0.0, self.y2 - self.y1)

    def __str__(self) -> str:
        turned = f" turned by {self.degrees:g} degrees" if self.degrees else ""
        return f"{self.x1:g}, {self.y1:g} to {self.x2:g}, {self.y2:g}{turned}"


@dataclasses.dataclass(kw_only=True, frozen=True, slots=True)
class Annotation:
    """One row of a file of boxes."""

    place: str
    """File and line, for messages."""
    name: str
    """The image's path as the row writes it, with slashes."""
    folder: str = ""
    """The folder that the file lies in: it tells names apart that are the same in each class."""
    pose: Pose
    size: Size | None = None
    """Of the image that the box was drawn on; None: as the image file has it."""
    label: str = ""
    """The class, where the row says one."""


def theta_of(pose: Pose, size: Size) -> Theta:
    """The warp that shows the object upright and filling the square: output -> input, as in `transformer.warp`.

    Each axis of the input runs over [-1, 1] along the image's own width and height, as datasets are resized to squares.
    """
    width, height = size
    cos, sin = math.cos(math.radians(pose.degrees)), math.sin(math.radians(pose.degrees))
    across, down = pose.x2 - pose.x1, pose.y2 - pose.y1
    return (
        (cos * across / width, -sin * down / width, (pose.x1 + pose.x2) / width - 1),
        (sin * across / height, cos * down / height, (pose.y1 + pose.y2) / height - 1),
    )


def match(rows: Sequence[Annotation], keys: Sequence[str], source: str) -> dict[int, Annotation]:
    """Position in `keys` -> its row. Names that no image has are left out with a warning.

    A name means the key it is; else the key with which it shares the longest tail of its path (at least the file's
    name). Raises DataError where that can be two images, where two rows mean one image and differ, and where no name
    is found at all.
    """
    whole = {key: position for position, key in enumerate(keys)}
    by_tail: dict[str, list[int]] = {}
    for position, key in enumerate(keys):
        for tail in _tails(key):
            by_tail.setdefault(tail, []).append(position)
    found: dict[int, tuple[int, Annotation]] = {}
    unknown: list[str] = []
    for row in rows:
        path = f"{row.folder}/{row.name}" if row.folder else row.name
        tail = row.name if row.name in whole else next((tail for tail in _tails(path) if tail in by_tail), "")
        if not tail:
            unknown.append(row.name)
            continue
        positions = [whole[tail]] if tail in whole else by_tail[tail]
        if len(positions) > 1:
            one, other = (keys[position] for position in positions[:2])
            raise DataError(f"{row.place}: {row.name!r} can be {one!r} or {other!r}; write more of its path")
        length, before = found.get(positions[0], (0, row))
        if len(tail) > length:
            found[positions[0]] = (len(tail), row)
            unknown += [before.name] * (before is not row)  # it only happens to be called the same
        elif len(tail) < length:
            unknown.append(row.name)
        elif (row.pose, row.size) != (before.pose, before.size):
            raise DataError(
                f"{row.place}: {row.name!r} has the box {row.pose}, but {before.pose} in {before.place}; keep one"
            )
    if unknown:
        named = ", ".join(map(repr, unknown[:3])) + (f" and {len(unknown) - 3:,} more" if len(unknown) > 3 else "")
        if not found:
            raise DataError(f"{source}: no image is called {named}; write paths like {keys[0]!r}")
        _log.warning(f"{source}: {len(unknown):,} of {len(rows):,} boxes are of no image of the dataset: {named}")
    return {position: row for position, (_, row) in sorted(found.items())}


def settle(
    matched: Mapping[int, Annotation], sizes: Callable[[Sequence[int]], Sequence[Size | None]] | None
) -> dict[int, tuple[Pose, Size]]:
    """Position -> its checked pose and the size of the image that it belongs to.

    `sizes` reads those that the rows do not carry. Raises DataError on a box that is empty or not in its image; one
    that sticks out by up to a pixel is clipped.
    """
    unsized = [position for position, row in matched.items() if row.size is None]
    read = dict(zip(unsized, sizes(unsized), strict=True)) if sizes and unsized else {}
    settled: dict[int, tuple[Pose, Size]] = {}
    for position, row in matched.items():
        size = row.size or read.get(position)
        if size is None:
            raise DataError(f"{row.place}: the size of {row.name!r} cannot be read; add columns width and height")
        settled[position] = (_checked(row, size), size)
    return settled


def fingerprint_of(poses: Mapping[int, tuple[Pose, Size]], keys: Sequence[str]) -> str:
    """SHA-256, in hex, over the boxes, the sizes of their images and the keys."""
    digest = hashlib.sha256()
    for position, (pose, size) in sorted(poses.items()):
        numbers = " ".join(repr(float(number)) for number in (*dataclasses.astuple(pose), *size))
        digest.update(f"{keys[position]}\0{numbers}\n".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def _tails(path: str) -> Iterator[str]:
    """a/b/c, b/c, c"""
    parts = path.split("/")
    return ("/".join(parts[first:]) for first in range(len(parts)))


def _checked(row: Annotation, size: Size) -> Pose:
    pose, (width, height) = row.pose, size
    if pose.area <= 0:
        raise DataError(f"{row.place}: the box of {row.name!r} is empty ({pose}); x2 and y2 must exceed x1 and y1")
    inside = f"{row.place}: the box of {row.name!r} ({pose}) is not in its image of {width:g} x {height:g} pixels"
    if pose.degrees:  # corners of a turned box may lie outside though the object does not
        if not (0 <= pose.x1 + pose.x2 <= 2 * width and 0 <= pose.y1 + pose.y2 <= 2 * height):
            raise DataError(f"{inside}; correct or remove it")
        return pose
    if min(pose.x1, pose.y1) < -1 or pose.x2 > width + 1 or pose.y2 > height + 1:
        raise DataError(f"{inside}; correct or remove it")
    clipped = Pose(x1=max(pose.x1, 0.0), y1=max(pose.y1, 0.0), x2=min(pose.x2, width), y2=min(pose.y2, height))
    if clipped.area <= 0:
        raise DataError(f"{inside}; correct or remove it")
    return clipped
