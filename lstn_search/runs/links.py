"""What is in a run folder may come from a stranger, and no link in it is followed: nothing outside of it is touched."""

import os
import stat
from pathlib import Path

from lstn_search.errors import RunError

__all__ = ["OURS", "refuse_links"]

OURS = (
    *("best", "checkpoints", "fidelity", "logs", "mlflow-artifacts", "report", "space", "tensorboard", "verify"),
    *(".holder", ".lock", "fidelity.json", "manifest.json", "pareto.csv", "pareto.json", "pareto.png", "report.html"),
    *("settings.toml", "trials.csv", "verify.csv", "verify.json"),
    *(f"{name}.db{suffix}" for name in ("mlflow", "study") for suffix in ("", "-journal", "-shm", "-wal")),
)
"""All that commands read or write in a run folder. What else lies there is its owner's, and nobody opens it."""


def refuse_links(folder: Path) -> None:
    """Raise RunError when something of ours in a run folder is a link, or no file (a pipe, a device)."""
    for name in OURS:
        try:
            mode = (folder / name).lstat().st_mode
        except OSError:  # not there, or not to be read, which is said elsewhere
            continue
        if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
            raise _refusal(folder / name, is_link=stat.S_ISLNK(mode))
        if stat.S_ISDIR(mode):
            _refuse_below(folder / name)


def _refuse_below(folder: Path) -> None:
    try:
        with os.scandir(folder) as entries:
            children = list(entries)
    except OSError:
        return
    for child in children:
        if child.is_dir(follow_symlinks=False):
            _refuse_below(Path(child.path))
        elif not child.is_file(follow_symlinks=False) and os.path.lexists(child.path):  # else it has gone meanwhile
            raise _refusal(Path(child.path), is_link=child.is_symlink())


def _refusal(path: Path, *, is_link: bool) -> RunError:
    if is_link:
        return RunError(f"{path} is a link, and no link in a run is followed; put what it points to in its place")
    return RunError(f"{path} is neither a file nor a folder; remove it")
