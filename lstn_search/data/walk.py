"""Finding image files as people keep them: links, network drives, editors and all.

A real path is read once: a link to what is read anyway, to a folder above the dataset or round in a circle leads
nowhere. Only regular files are files. What is ignored is counted, for one line (`Tree.note`).
"""
# ruff: noqa: PTH110, PTH112, PTH113, PTH118  (os.path says no where pathlib raises, and takes half the time)

import functools
import os
import unicodedata
from collections import Counter
from pathlib import Path, PurePath, PurePosixPath

from PIL import Image

from lstn_search.errors import DataError, printable

__all__ = ["Tree", "is_folder", "is_there", "nfc", "picture_formats", "shown"]

_FORMATS = frozenset(
    {
        *("AVIF", "BLP", "BMP", "CUR", "DCX", "DDS", "DIB", "FITS", "FLI", "FTEX", "GBR", "GIF", "ICNS", "ICO", "IM"),
        *("JPEG", "JPEG2000", "MPO", "MSP", "PCD", "PCX", "PIXAR", "PNG", "PPM", "PSD", "QOI", "SGI", "SUN", "TGA"),
        *("TIFF", "WEBP", "XBM", "XPM"),
    }
)
"""Of Pillow's formats those of pictures: it would start Ghostscript for EPS, and has no decoder for the rest."""
_USUAL = frozenset(
    {".avif", ".bmp", ".gif", ".jfif", ".jp2", ".jpe", ".jpeg", ".jpg", ".pbm", ".pgm", ".png", ".ppm"}
) | frozenset({".tif", ".tiff", ".webp"})
_LITTER = frozenset(
    {
        *("@eadir", "@tmp", "@recycle", "@recently-snapshot", "@sharebin", "@__thumb", "#recycle", "#snapshot"),
        *("$recycle.bin", "recycler", "system volume information", "lost+found", "lost.dir", "__macosx", "__pycache__"),
        *("network trash folder", "temporary items"),
    }
)
"""Folders that network drives, systems and editors leave, in lower case; so are those with a dot in front."""


_LINKS = "links to what is read already or lies above"


@functools.cache
def picture_formats() -> tuple[str, ...]:
    """What this Pillow opens, for `Image.open(formats=...)`; last those that take any bytes for theirs."""
    Image.init()
    return tuple(sorted((name for name in Image.ID if name in _FORMATS), key=lambda name: Image.OPEN[name][1] is None))


@functools.cache
def _suffixes() -> frozenset[str]:
    """In lower case; the usual ones also where this Pillow lacks the decoder, so that their files are named."""
    Image.init()
    return frozenset(suffix for suffix, name in Image.registered_extensions().items() if name in _FORMATS) | _USUAL


def is_folder(path: Path) -> bool:
    """Whether a folder is there; False, too, for names that no system takes."""
    return os.path.isdir(path)


def is_there(path: Path) -> bool:
    """Whether there is anything at a path; the same."""
    return os.path.exists(path)


def shown(name: str) -> str:
    """A name for a message: on one line, whatever is in it."""
    return printable(name, keep="")


def nfc(name: str) -> str:
    """The name in the one of its Unicode forms that all but Apple's old file systems write."""
    return unicodedata.normalize("NFC", name)


class Tree:
    """The folders and image files below a folder, each real path once; or its files with other suffixes."""

    def __init__(self, root: Path, *, suffixes: frozenset[str] | None = None) -> None:
        self.root = root
        self.suffixes = suffixes or _suffixes()
        """In lower case."""
        self.ignored: Counter[str] = Counter()
        """What was no image and no class -> how often."""
        self._real = Path(os.path.realpath(root))
        self._listed: dict[str, list[str]] = {}
        self._owners: dict[str, str] = {}
        self._seen: set[str] = set()

    def folders(self, below: str = "") -> list[str]:
        """Names of the folders in `below`, in the order of their bytes; not those of systems and editors."""
        if below in self._listed:
            return self._listed[below]
        names = self._listed[below] = []
        for entry in self._scan(below):
            path = f"{below}/{entry.name}" if below else entry.name
            if not _is_dir(entry):
                if self._is_wanted(entry):
                    self.ignored["images beside the class folders"] += 1
            elif _is_skipped(entry):
                self._ignore(entry)
            elif (entry.is_symlink() and not self._leads_on(path)) or (
                self._owners.setdefault(os.path.realpath(entry.path), path) != path
            ):
                self.ignored[_LINKS] += 1
            else:
                names.append(entry.name)
        return names

    def files(self, folder: str = "") -> list[str]:
        """POSIX paths, relative to the root, of all such files below a folder, in the order of their bytes."""
        found: list[str] = []
        waiting = [(folder, os.path.realpath(self.root / folder))]
        while waiting:
            above, real = waiting.pop()
            if real in self._seen or self._owners.get(real, folder) != folder:
                continue
            self._seen.add(real)
            for entry in self._scan(above):
                path = f"{above}/{entry.name}" if above else entry.name
                is_link, is_dir = entry.is_symlink(), _is_dir(entry)
                if _is_skipped(entry) or not (is_dir or self._is_wanted(entry)):
                    self._ignore(entry)
                elif is_link and not os.path.exists(entry.path):
                    found.append(path)  # named when it is read
                elif is_link and not self._leads_on(path):
                    self.ignored[_LINKS] += 1
                elif is_dir:  # a junction of Windows is no link, but leads elsewhere as one does
                    is_here = not is_link and os.name != "nt"
                    waiting.append((path, os.path.join(real, entry.name) if is_here else os.path.realpath(entry.path)))
                elif os.path.isfile(entry.path):
                    found.append(path)
                else:
                    self.ignored["pipes, sockets or devices"] += 1
        return sorted(found, key=os.fsencode)

    def is_part(self, folder: str) -> bool:
        """Whether a folder is made as a part of a dataset is: class folders, and no image beside them."""
        inside = [entry for entry in self._scan(folder) if not _is_skipped(entry)]
        return any(map(_is_dir, inside)) and not any(map(self._is_wanted, inside))

    @property
    def note(self) -> str:
        """What was ignored, as `12 .txt, 1 folder @eaDir`; empty when that was nothing."""
        named = [f"{count:,} {shown(what)}" for what, count in self.ignored.most_common()]
        return ", ".join(named[:10]) + (f" and {len(named) - 10} more kinds" if len(named) > 10 else "")

    def _ignore(self, entry: "os.DirEntry[str]") -> None:
        suffix = PurePosixPath(entry.name).suffix.lower()[:20] or "without a suffix"
        hidden = "hidden" if entry.name.startswith(".") else suffix
        self.ignored[f"folder {entry.name}" if _is_dir(entry) else hidden] += 1

    def _has_suffix(self, path: PurePath) -> bool:
        return path.suffix.lower() in self.suffixes

    def _is_wanted(self, entry: "os.DirEntry[str]") -> bool:
        return self._has_suffix(PurePath(entry.name)) and not _is_dir(entry)

    def _scan(self, folder: str) -> list["os.DirEntry[str]"]:
        path = self.root / folder
        try:
            with os.scandir(path) as entries:
                return sorted(entries, key=lambda entry: os.fsencode(entry.name))
        except OSError as error:
            raise DataError(f"folder {path} cannot be read ({error.strerror}); give access to it") from None

    def _leads_on(self, link: str) -> bool:
        """Whether a link leads to something that is not read without it."""
        real = Path(os.path.realpath(self.root / link))
        if self._real.is_relative_to(real):
            return False
        if real.is_relative_to(self._real):
            inside = real.relative_to(self._real).parts
            if not any(_is_litter(part) for part in inside) and (
                real.is_dir() or (self._has_suffix(real) and len(inside) > 1)
            ):
                return False  # read where it is
        if real.is_dir():
            return str(real) not in self._seen
        if str(real) in self._seen or str(real.parent) in self._seen:
            return False
        self._seen.add(str(real))
        return True


def _is_dir(entry: "os.DirEntry[str]") -> bool:
    return os.path.isdir(entry.path) if entry.is_symlink() else entry.is_dir()  # is_dir() raises on a circle


def _is_litter(name: str) -> bool:
    return name.startswith(".") or name.lower() in _LITTER


def _is_skipped(entry: "os.DirEntry[str]") -> bool:
    return entry.name.startswith(".") or (_is_litter(entry.name) and _is_dir(entry))
