"""A folder that one process has to itself, and says who it is."""

import contextlib
import datetime
import os
import socket
from pathlib import Path

from filelock import FileLock, Timeout

from lstn_search.atomic import write_atomically
from lstn_search.errors import RunError, why
from lstn_search.spec.reading import read_text

__all__ = ["HOLDER", "LOCK", "FolderLock"]

LOCK = ".lock"
HOLDER = ".holder"
"""Who holds the lock, in words."""


class FolderLock:
    """Held by the process, so it goes when the process does. As a context manager it is let go at the end."""

    def __init__(self, path: Path, *, what: str, wait: str = "wait for it", unwritable: str) -> None:
        """Make the folder and hold it. `what` is what may hold it already (`another search`); the rest are cures.

        Raises RunError when another process holds it, or it cannot be written.
        """
        self.path = path
        self._lock = FileLock(path / LOCK)
        self._was_there = os.path.lexists(path / LOCK)
        try:
            path.mkdir(parents=True, exist_ok=True)
            self._lock.acquire(timeout=0)
        except Timeout:
            raise RunError(f"{path} is in use by {what}{self._holder()}; {wait}") from None
        except (OSError, NotImplementedError) as error:  # the latter: a file system without locks
            raise RunError(f"{path} cannot be written {why(error, unwritable)}") from None
        with contextlib.suppress(OSError):  # a full disk: whatever is written next says so
            since = datetime.datetime.now().astimezone().isoformat(" ", "seconds")
            words = f"process {os.getpid()} on {socket.gethostname()}, since {since}"
            write_atomically(path / HOLDER, words.encode())

    def release(self) -> None:
        """Let other processes have it."""
        with contextlib.suppress(OSError):
            (self.path / HOLDER).unlink()
        self._lock.release()

    def undo(self) -> None:
        """Let it go, and leave the folder as it was."""
        if not self._was_there:
            with contextlib.suppress(OSError):
                (self.path / LOCK).unlink()  # while it is ours: who waits for it looks again
        self.release()

    def __enter__(self) -> "FolderLock":
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def _holder(self) -> str:
        try:
            holder = read_text(self.path / HOLDER, max_bytes=1_000)
        except (OSError, ValueError):
            return ""
        return f" ({holder})" if holder else ""
