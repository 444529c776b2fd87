"""What a reader finds in a dataset before anything is decoded."""

import dataclasses
import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from lstn_search.data import files
from lstn_search.data.poses import Annotation, Size
from lstn_search.data.splits import Split
from lstn_search.errors import DataError

__all__ = ["Listing", "check_classes", "list_class_folders", "not_found"]


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
    decode: Callable[[int], Iterator[files.Row]]
    """Image size -> rows in the order of `keys`."""
    sizes: Callable[[Sequence[int]], Sequence[Size | None]] | None = None
    """Positions -> the sizes in pixels of these images as they are shown (None: unreadable); None where they are drawn
    at the wanted size."""
    known_poses: Callable[[], Sequence[Annotation]] | None = None
    """Where the dataset itself knows its objects to be; None where it does not."""

    def __post_init__(self) -> None:
        assert len(self.keys) == len(self.labels) == len(self.content)

    @property
    def digest(self) -> str:
        """SHA-256 over keys and content, in hex: what the decoded cache is keyed by."""
        lines = "".join(f"{key}\0{content}\n" for key, content in zip(self.keys, self.content, strict=True))
        return hashlib.sha256(lines.encode("utf-8", "surrogateescape")).hexdigest()


def list_class_folders(
    root: Path, *, below: str = "", exclude: Sequence[str] = ()
) -> tuple[tuple[str, ...], tuple[str, ...], tuple[int, ...]]:
    """One folder a class in `root`/`below`: (class names, keys relative to `root`, labels).

    Raises DataError naming the class folder that holds no image.
    """
    class_names = tuple(name for name in files.class_folders(root / below) if name not in exclude)
    keys: list[str] = []
    labels: list[int] = []
    for label, class_name in enumerate(class_names):
        found = files.images_below(root, f"{below}/{class_name}" if below else class_name)
        if not found:
            raise DataError(f"class folder {root / below / class_name} holds no image; add images to it or remove it")
        keys += found
        labels += [label] * len(found)
    return class_names, tuple(keys), tuple(labels)


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
    if not data_dir.is_dir():
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
