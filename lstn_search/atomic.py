"""A file that is whole or not there, whatever happens while it is written. No torch here."""

import os
import secrets
from pathlib import Path

__all__ = ["FRESH", "beside", "write_atomically"]

FRESH = "[0-9a-f]" * 8
"""A pattern for how the names of `beside` end."""


def beside(path: Path) -> Path:
    """A name in the same folder for what is to take the place of `path`, which nobody can foresee."""
    return path.with_name(f".{path.name}.{secrets.token_hex(4)}")


def write_atomically(path: Path, content: bytes) -> None:
    """Write `content` to `path`, making its folder. No reader ever sees half of it, and no link is written through."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = beside(path)
    with temporary.open("xb") as file:
        try:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())  # or a power cut could leave an empty file under the name
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
