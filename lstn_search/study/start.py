"""What a search starts from beside its seed points: the front of an earlier run.

It is looked up once, when the run begins, and kept in the manifest: the earlier run may go on, or be gone, by the time
that this one is resumed.
"""

import logging
from pathlib import Path

from lstn_search.errors import SettingError
from lstn_search.runs.folder import RunFolder
from lstn_search.runs.manifest import MANIFEST
from lstn_search.runs.run import open_run
from lstn_search.spec.arch import Arch
from lstn_search.spec.cost import fits
from lstn_search.spec.settings import SearchSettings

__all__ = ["front_of_earlier", "given_archs"]

_log = logging.getLogger(__name__)


def front_of_earlier(settings: SearchSettings, out: Path) -> dict[str, str] | None:
    """Name -> architecture, as JSON, of what stands on the front of the run that these settings start from.

    None where there is none to start from, or `out` has begun already. What cannot be built at this task's sizes, or is
    over the budget, is left out and named in a line of the log. Raises RunError when that is no run, SettingError when
    nothing of it can be trained here.
    """
    if settings.start_from is None or (out / MANIFEST).exists():
        return None
    task, run = settings.task, open_run(Path(settings.start_from))
    given, left_out = {}, []
    for entry in run.front:
        name, arch = entry.candidate.name, entry.candidate.arch
        if not (fits(arch, task.image_size) and fits(arch, task.trial_size)):
            left_out.append(f"{name} (cannot be built at {task.trial_size} and {task.image_size} px)")
        elif (over := settings.violation(arch)) > 0:
            left_out.append(f"{name} ({over:.5f} GFLOPs over the budget)")
        else:
            given[name] = arch.to_json()
    if not given:
        why = f": {', '.join(left_out)}" if left_out else "; its front is empty"
        raise SettingError(f"nothing of {settings.start_from} can be started from{why}; leave --start-from out")
    if left_out:
        _log.warning("not started from: %s", ", ".join(left_out))
    return given


def given_archs(folder: RunFolder) -> list[tuple[str, Arch]]:
    """Name and architecture of what a run started from, as its manifest has them."""
    given: dict[str, str] = folder.manifest.get("start_from", {})
    return [(name, Arch.from_json(text, where=f"{MANIFEST}: start_from {name}")) for name, text in given.items()]
