"""A run: a search's folder and what is in it, to read from while it goes on and afterwards."""

import dataclasses
import re
from pathlib import Path

from lstn_search.errors import RunError, SettingError
from lstn_search.runs.entries import Entry, read_entries
from lstn_search.runs.folder import RunFolder
from lstn_search.spec import pareto
from lstn_search.spec.results import References
from lstn_search.spec.task import Task

__all__ = ["Run", "front_of", "open_run"]


@dataclasses.dataclass(kw_only=True, slots=True)
class Run:
    """A search's folder and what is in it."""

    folder: RunFolder
    entries: list[Entry]
    """Architectures with at least one finished rung, or failed on the first."""
    references: References = dataclasses.field(default_factory=References)
    notes: list[str] = dataclasses.field(default_factory=list)
    """What could not be written at the end of the search, and the cure: a line each."""

    @property
    def task(self) -> Task:
        """What its trials were trained on, in the precision that was settled on when it was prepared."""
        task = self.folder.settings.task
        return dataclasses.replace(task, precision=self.folder.manifest.get("precision", task.precision))

    @property
    def front(self) -> list[Entry]:
        """The Pareto front within the budget, cheapest first."""
        return front_of(self.entries)

    @property
    def best(self) -> Entry | None:
        """The most accurate of the front, of equals the cheapest; None: the front is empty."""
        return max(self.front, key=lambda entry: entry.accuracy, default=None)

    def pick(self, how: str) -> Entry:
        """`best`, `knee` or `max-COST=X` (as in `max-gflops=0.01`) of the front, with COST an objective of the search.

        Raises SettingError on anything else, and when the front is empty or holds nothing as cheap as X.
        """
        costs = self.folder.settings.costs
        pareto.parse_pick(how, costs)
        offered = [entry for entry in self.entries if entry.on_offer]
        if not offered:
            raise SettingError(
                f"the front of {self.folder.path} is empty: none of its {len(self.entries)} trained architectures is "
                "within the budget, alive and jointly trained; search on with --resume and more --trials"
            )
        return offered[pareto.pick([entry.point for entry in offered], how, costs)]

    def find(self, which: str) -> Entry:
        """An entry by pick (see `pick`), name, trial number or digest (its beginning). SettingError: there is none."""
        for entry in self.entries:
            if which in (entry.candidate.name, str(entry.candidate.number)):
                return entry
        if re.fullmatch(r"[0-9a-f]{8,64}", which):
            alike = [entry for entry in self.entries if entry.candidate.arch.digest.startswith(which)]
            if len(alike) == 1:
                return alike[0]
        if which.removeprefix("t").isdecimal():
            raise SettingError(f"{self.folder.path} holds no trained architecture {which!r}; its trials.csv lists them")
        return self.pick(which)

    def gap_closed(self, entry: Entry) -> float | None:
        """Share of the control-to-oracle gap that an entry closes at its highest rung, in percent."""
        return self.references.gap_closed(entry.result, max(entry.rung, 0))


def front_of(entries: list[Entry]) -> list[Entry]:
    """The entries no other beats, of those within the budget whose localizer is alive, cheapest first."""
    offered = [entry for entry in entries if entry.on_offer]
    return [offered[i] for i in pareto.front([entry.point for entry in offered])]


def open_run(path: Path, *, storage: str | None = None) -> Run:
    """What a search left in a folder, to read from; `storage` as for `RunFolder.open`.

    Raises RunError when it holds no run, or its study cannot be read.
    """
    folder = RunFolder.open(path, storage=storage)
    if "data" not in folder.manifest:
        raise RunError(f"{path} ended before its first trial; run the same search with --resume")
    references = References.from_dict(folder.manifest.get("references", References().to_dict()))
    return Run(folder=folder, entries=read_entries(folder), references=references)
