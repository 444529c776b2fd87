"""What the tests of hostile folders share."""

import hashlib
import os
from pathlib import Path

__all__ = ["snapshot"]


def snapshot(folder: Path) -> dict[str, str]:
    """Everything below a folder: a file's SHA-256, a link's target."""
    found = {}
    for parent, folders, files in os.walk(folder):
        for name in (*folders, *files):
            path = Path(parent, name)
            if path.is_symlink():
                found[str(path.relative_to(folder))] = f"-> {path.readlink()}"
            else:
                found[str(path.relative_to(folder))] = (
                    hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "no file"
                )
    return found
