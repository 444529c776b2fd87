"""The words of `--arch`, the same in every command: a seed point, none, a file, or an architecture of a run."""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lstn_search.errors import RunError
from lstn_search.runs.manifest import MANIFEST
from lstn_search.spec.arch import Arch
from lstn_search.spec.space import load_space, resolve_arch
from lstn_search.spec.task import Task

if TYPE_CHECKING:
    from lstn_search.runs.entries import Entry
    from lstn_search.runs.run import Run

__all__ = ["ArchWords", "Named", "name_arch", "split_run"]

ArchWords = Annotated[
    str,
    typer.Option(
        "--arch",
        help="A seed point (stn, vstn, lstn, light, places), none, an arch.json, or RUN[:WHICH]: best, knee, "
        "max-gflops=X, a name, a number or a digest.",
        show_default=False,
    ),
]


@dataclasses.dataclass(kw_only=True, frozen=True, slots=True)
class Named:
    """An architecture that somebody named."""

    name: str
    arch: Arch | None
    """None: none."""
    run: "Run | None" = None
    """Where it comes from, with the next."""
    entry: "Entry | None" = None

    @property
    def task(self) -> Task | None:
        """What the run's trials were trained on."""
        return None if self.run is None else self.run.task


def name_arch(text: str, space: str = "lstn", storage: str | None = None) -> Named:
    """What the words name. `storage` as for `open_run`.

    Raises LstnError: an unknown name, a folder without a run, a file that describes no architecture.
    """
    if text == "none":
        return Named(name=text, arch=None)
    if (found := split_run(text)) is not None:
        from lstn_search.runs.run import open_run

        folder, which = found
        run = open_run(folder, storage=storage)
        entry = run.find(which)
        return Named(name=entry.candidate.name, arch=entry.candidate.arch, run=run, entry=entry)
    for place in (text, text.partition(":")[0]):
        if Path(place).is_dir():
            raise RunError(f"{place} holds no run (no {MANIFEST}); give the folder a search wrote")
    return Named(name=Path(text).stem, arch=resolve_arch(text, load_space(space)))


def split_run(text: str) -> tuple[Path, str] | None:
    """The run and what of it (else `best`) in RUN[:WHICH], where RUN may hold colons; None when there is no run."""
    for folder, which in ((text, ""), text.rpartition(":")[::2]):
        if (Path(folder) / MANIFEST).is_file():
            return Path(folder), which or "best"
    return None
