"""The folder of an export: replaced as a whole, so that nobody, after a kill either, meets new code with old weights.

A record in the folder says, by SHA-256, what was written there. Whatever else lies there is not ours to replace.

The new folder is made beside the old one, and they change places in one step of the system. Where that cannot be (a
mount point, a folder that holds others' files or is being worked in), files are written one by one; then model.py goes
first and comes last, so that what is not complete cannot be run.
"""

import contextlib
import ctypes
import errno
import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path

from lstn_search.atomic import beside, write_atomically
from lstn_search.errors import RunError, why

__all__ = ["RECORD", "check_place", "put_files"]

RECORD = ".lstn-export.json"
LITTER = {"__pycache__", ".DS_Store", "Thumbs.db", "desktop.ini"}
"""What Python and file managers leave wherever they look."""
CODE = "model.py"
AT_FDCWD, RENAME_EXCHANGE, RENAME_SWAP = -100, 2, 2


def check_place(folder: Path, *, force: bool = False) -> None:
    """Raise RunError when an export to `folder` would replace, or lie among, files that no export wrote."""
    try:
        others = sorted(_names(folder) - _written(folder) - LITTER)
    except OSError as error:
        raise _unwritable(folder, error) from None
    if others and not force:
        more = f" and {len(others) - 1} more" if len(others) > 1 else ""
        raise RunError(
            f"{folder} holds what no export wrote ({others[0]}{more}); choose another --out, or add --force to replace "
            "what has an exported file's name and keep the rest"
        )


def put_files(folder: Path, files: Mapping[str, bytes], *, force: bool = False) -> None:
    """Make `files` the content of `folder`, in the place of what was exported there before.

    With `force`, others' files may lie there: those of the same names are replaced, the rest stays.

    Raises RunError, and leaves everything as it was, when they lie there without, or the folder cannot be written.
    """
    check_place(folder, force=force)
    record = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    files = {**files, RECORD: (json.dumps(record, indent=2) + "\n").encode()}
    folder = folder.resolve()
    try:
        for name in files:
            if (folder / name).is_dir():
                raise IsADirectoryError(errno.EISDIR, f"{name} in it is a folder")
        if not _swap(folder, files):
            _one_by_one(folder, files)
    except OSError as error:
        raise _unwritable(folder, error) from None


def _unwritable(folder: Path, error: OSError) -> RunError:
    return RunError(f"{folder}: cannot be written {why(error, 'choose another folder')}")


def _written(folder: Path) -> set[str]:
    """The files here that are as an export wrote them."""
    try:
        record = json.loads((folder / RECORD).read_bytes()) if _digest(folder / RECORD) else {}
        digests = {name: _digest(folder / name) for name in _names(folder) & {RECORD, *record}}
        return {name for name, digest in digests.items() if digest and (name == RECORD or digest == record[name])}
    except (OSError, ValueError, TypeError, RecursionError):
        return set()


def _names(folder: Path) -> set[str]:
    """Of what is in a folder, which need not be there."""
    return {entry.name for entry in folder.iterdir()} if os.path.lexists(folder) else set()


def _digest(file: Path) -> str:
    """Of a file itself, not of one that it links to."""
    return "" if file.is_symlink() or not file.is_file() else hashlib.sha256(file.read_bytes()).hexdigest()


def _swap(folder: Path, files: Mapping[str, bytes]) -> bool:
    """Whether the whole folder could be replaced in one step."""
    replaceable = {*files, *_written(folder)}
    works_here = folder.is_dir() and folder.samefile(os.curdir)  # and would be left in a folder that is gone
    if works_here or _names(folder) - replaceable - LITTER:
        return False
    folder.parent.mkdir(parents=True, exist_ok=True)
    new = beside(folder)
    try:
        new.mkdir()
    except OSError:  # the folder may be writable where its parent is not
        return False
    try:
        for name, content in files.items():
            write_atomically(new / name, content)
        if folder.is_dir():
            new.chmod(folder.stat().st_mode & 0o7777)
        try:
            new.rename(folder)  # in the place of none, or of an empty one
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                if folder.is_dir():
                    return False
                raise
            if not _exchange(new, folder):
                return False
        return True
    finally:
        _remove(new, replaceable)


def _one_by_one(folder: Path, files: Mapping[str, bytes]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    before = _written(folder)
    for name in (CODE, RECORD):
        (folder / name).unlink(missing_ok=True)
    for name in sorted(before - {CODE, RECORD}):
        (folder / name).unlink()
    for name in sorted(files, key=lambda name: (name == RECORD, name == CODE)):
        write_atomically(folder / name, files[name])


def _remove(folder: Path, names: Iterable[str]) -> None:
    """These files, what is left beside them by others' programs, and then the folder, if it is empty."""
    with contextlib.suppress(OSError):
        for name in names:
            (folder / name).unlink(missing_ok=True)
        for name in LITTER:
            if name == "__pycache__" and not (folder / name).is_symlink():
                shutil.rmtree(folder / name, ignore_errors=True)
            else:
                (folder / name).unlink(missing_ok=True)
        folder.rmdir()


def _exchange(one: Path, other: Path) -> bool:
    """Let two folders change places in one step; False where the system or the file system cannot."""
    if os.name != "posix":
        return False
    libc = ctypes.CDLL(None)
    names = os.fsencode(one), os.fsencode(other)
    if hasattr(libc, "renameat2"):  # Linux
        return bool(libc.renameat2(AT_FDCWD, names[0], AT_FDCWD, names[1], RENAME_EXCHANGE) == 0)
    return hasattr(libc, "renamex_np") and bool(libc.renamex_np(*names, RENAME_SWAP) == 0)  # macOS
