"""What a reader finds in a dataset before anything is decoded."""

import dataclasses
import hashlib
import os
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from lstn_search.data import files
from lstn_search.data.decoding import Look, Row, contents_of, scales_of
from lstn_search.data.poses import Annotation, Size
from lstn_search.data.splits import Split
from lstn_search.data.walk import Tree, is_folder, nfc, shown
from lstn_search.errors import DataError

__all__ = ["ImageFiles", "Listing", "check_classes", "list_class_folders", "list_files", "not_found"]


_TURNS_TEXT = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"


@dataclasses.dataclass(kw_only=True, frozen=True, slots=True)
class Listing:
    """The images of a dataset in their final order, their labels and split, and the way to their pixels."""

    class_names: tuple[str, ...]
    keys: tuple[str, ...]
    """One name an image, the same on every machine: its POSIX path below the dataset's root."""
    labels: tuple[int, ...]
    content: tuple[str, ...]
    """One digest an image, over what it is decoded from."""
    split: Split
    decode: Callable[[int], Iterator[Row]]
    """Image size -> rows in the order of `keys`."""
    sizes: Callable[[Sequence[int]], Sequence[Size | None]] | None = None
    """Positions -> the sizes in pixels of these images as they are shown (None: unreadable); None where they are drawn
    at the wanted size."""
    known_poses: Callable[[], Sequence[Annotation]] | None = None
    """Where the dataset itself knows its objects to be; None where it does not."""
    notes: tuple[str, ...] = ()
    """What is odd about the files: a line each."""

    def __post_init__(self) -> None:
        assert len(self.keys) == len(self.labels) == len(self.content)
        for name in self.class_names:
            if any(unicodedata.category(c) in ("Cc", "Zl", "Zp") or c in _TURNS_TEXT for c in name):
                raise DataError(f"the name of class {shown(name)!r} has a character that steers a terminal; rename it")

    @property
    def digest(self) -> str:
        """SHA-256 over keys and content, in hex: what the decoded cache is keyed by."""
        lines = "".join(f"{key}\0{content}\n" for key, content in zip(self.keys, self.content, strict=True))
        return hashlib.sha256(lines.encode("utf-8", "surrogateescape")).hexdigest()


@dataclasses.dataclass(kw_only=True, frozen=True, slots=True)
class ImageFiles:
    """The image files of a dataset, or of a part of it."""

    class_names: tuple[str, ...]
    keys: tuple[str, ...]
    paths: tuple[str, ...]
    """As the keys, but as the disk spells them."""
    labels: tuple[int, ...]


def list_class_folders(tree: Tree, *, below: str = "", exclude: Sequence[str] = ()) -> ImageFiles:
    """One folder a class in `below`; a name in two Unicode forms is one class.

    Raises DataError naming the class folder that holds no image.
    """
    class_names: dict[str, int] = {}
    found: list[tuple[str, int]] = []
    folders = [name for name in tree.folders(below) if name not in exclude]
    for name in sorted(map(nfc, folders), key=os.fsencode):
        class_names.setdefault(name, len(class_names))
    for name in folders:
        folder = f"{below}/{name}" if below else name
        paths = tree.files(folder)
        if not paths:
            ignored = f" (ignored: {tree.note})" if tree.note else ""
            raise DataError(f"class folder {tree.root / folder} holds no image{ignored}; add images to it or remove it")
        found += [(path, class_names[nfc(name)]) for path in paths]
    taken: set[str] = set()
    keyed = []
    for path, label in found:
        key = nfc(path) if nfc(path) not in taken else path
        taken.add(key)
        keyed.append((label, os.fsencode(key), key, path))
    keyed.sort()
    return ImageFiles(
        class_names=tuple(class_names),
        keys=tuple(key for _, _, key, _ in keyed),
        paths=tuple(path for _, _, _, path in keyed),
        labels=tuple(label for label, _, _, _ in keyed),
    )


def list_files(
    root: Path,
    found: ImageFiles,
    *,
    split: Split,
    cache_dir: Path,
    tree: Tree | None = None,
    looks: Sequence[Look] | None = None,
    known_poses: Callable[[], Sequence[Annotation]] | None = None,
) -> Listing:
    """The listing of image files. `tree` knows what was ignored; `looks` are made where they are not given."""
    paths = found.paths
    if looks is None:
        looks = files.look_at(root, paths, cache_dir=cache_dir)
    scales = scales_of(looks)
    ignored = (f"ignored: {tree.note}",) if tree and tree.note else ()
    return Listing(
        class_names=found.class_names,
        keys=found.keys,
        labels=found.labels,
        content=contents_of(looks, scales),
        split=split,
        decode=lambda image_size: files.decode_files(root, paths, image_size=image_size, scales=scales),
        sizes=lambda positions: files.image_sizes(root, [paths[i] for i in positions]),
        known_poses=known_poses,
        notes=(*ignored, *_leaks(found.keys, looks, split)),
    )


def _leaks(keys: Sequence[str], looks: Sequence[Look], split: Split) -> list[str]:
    """A line on images that are byte for byte in more than one part."""
    part_of = {i: part for part in ("train", "val", "test") for i in getattr(split, part)}
    alike: dict[str, list[int]] = {}
    for i in part_of:
        alike.setdefault(looks[i].digest, []).append(i)
    leaks = [same for same in alike.values() if len({part_of[i] for i in same}) > 1]
    if not leaks:
        return []
    named = [" = ".join(f"{shown(keys[i])} ({part_of[i]})" for i in same[:3]) for same in leaks[:3]]
    more = f" and {len(leaks) - 3:,} more" if len(leaks) > 3 else ""
    return [f"{len(leaks):,} images are byte for byte in more than one part: {', '.join(named)}{more}"]


def check_classes(root: Path, class_names: Sequence[str], labels: Sequence[int], *, minimum: int) -> None:
    """Raise DataError unless there are two classes, each with `minimum` images."""
    if len(class_names) < 2:
        found = f"only the class folder {class_names[0]!r}" if class_names else "no class folder"
        raise DataError(f"{root} holds {found}; at least 2 are needed, one folder a class")
    counts = Counter(labels)
    for label, class_name in enumerate(class_names):
        if counts[label] < minimum:
            raise DataError(
                f"class {class_name!r} in {root} has {counts[label]} image{'s' * (counts[label] != 1)}; "
                f"a split needs at least {minimum}, so add some or remove the class"
            )


def not_found(what: str, data_dir: Path, *, archive: str, folder: str, cure: str) -> DataError:
    """The error to raise when `data_dir` does not hold `what`.

    `cure` says how to get it, unless an archive with `archive` in its name lies there, to be unpacked in `folder`.
    """
    if not is_folder(data_dir):
        return DataError(f"there is no folder {data_dir}; give the folder that holds {what}, or {cure}")
    for path in sorted(data_dir.iterdir()):
        name = path.name.lower()
        if archive in name and name.endswith((".zip", ".tar", ".tgz", ".tar.gz", ".tar.bz2", ".tar.xz")):
            unpack = f"unzip {path} -d" if name.endswith(".zip") else f"tar -xf {path} -C"
            return DataError(
                f"{data_dir} holds no {what}, but the archive {path.name}: unpack it with "
                f"`mkdir -p DIR/{folder} && {unpack} DIR/{folder}` and give --data-dir DIR"
            )
    return DataError(f"{data_dir} holds no {what}; {cure}")
