"""RUN/verify: a JSON file a finished training, the lock, and the logs of the workers. No torch at import time.

A file's name says what was trained, with which seed, and under which settings (a hash), so verifications of other
lengths lie side by side, and a training that is on file is never done again.
"""

import contextlib
import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lstn_search.runs.folder import save
from lstn_search.runs.lock import FolderLock
from lstn_search.spec.reading import read_as, read_json
from lstn_search.spec.results import TrialResult
from lstn_search.spec.task import Task
from lstn_search.verification.plan import CONTROL, ORACLE

__all__ = ["Record", "Records"]


@dataclasses.dataclass(kw_only=True, frozen=True, slots=True)
class Record:
    """One training of one finalist, as it ended."""

    key: str
    """control, oracle, or the architecture's digest."""
    name: str
    seed: int
    evaluation: dict[str, Any] | None = None
    """See `lstn_search.training.evaluation.Evaluation`; None: its workers died."""
    died: str = ""
    """Why they did."""
    device: str = ""
    autocast: bool = False

    @property
    def result(self) -> TrialResult:
        """What the training measured, on validation images."""
        if self.evaluation is None:
            return TrialResult(status="failed", reason=self.died)
        return TrialResult.from_dict(self.evaluation["result"])

    def tested(self, name: str = "test") -> float | None:
        """Top-1 on the test images: under the view (`test`) or upright (`test_clean`); None: it failed."""
        scores = self.evaluation and self.evaluation[name]
        return None if scores is None else float(scores["top1"])

    @property
    def conditions(self) -> tuple[str, bool]:
        """Trainings are only paired when these are the same: the type of device, and bfloat16 or not."""
        return self.device.partition(":")[0], self.autocast


@dataclasses.dataclass(kw_only=True, frozen=True, slots=True)
class _Top1:
    top1: float


@dataclasses.dataclass(kw_only=True, frozen=True, slots=True)
class _Evaluation:
    """What is used of one."""

    result: TrialResult
    test: _Top1 | None
    test_clean: _Top1 | None


@dataclasses.dataclass(kw_only=True, frozen=True, slots=True)
class _Kept:
    """A record on file, as it is checked."""

    settings: str
    key: str
    name: str
    seed: int
    evaluation: _Evaluation | None
    died: str
    device: str
    autocast: bool


class Records:
    """The trainings of a run's verification for one task; `read` them, or hold them `locked`."""

    def __init__(self, run_folder: Path, task: Task) -> None:
        from lstn_search.spec.task import RECIPE_VERSION

        self.path = run_folder / "verify"
        self._settings = task.key("verification", recipe=RECIPE_VERSION)
        self.by_key: dict[tuple[str, int], Record] = {}
        """By (key, seed)."""

    def read(self) -> None:
        """Look at what is on file."""
        for file in sorted(self.path.glob(f"*-{self._settings[:8]}.json")):
            record = self._read(file)
            if record is not None:
                self.by_key[record.key, record.seed] = record

    def needs(self, key: str, seed: int) -> bool:
        """Whether it is still to be trained. What died is tried again by the next verification."""
        record = self.by_key.get((key, seed))
        return record is None or record.evaluation is None

    def add(self, record: Record) -> None:
        """Keep a training, on disk first. Raises RunError when that cannot be written."""
        what = record.key if record.key in (CONTROL, ORACLE) else record.key[:16]
        file = self.path / f"{what}-s{record.seed}-{self._settings[:8]}.json"
        content = {"settings": self._settings, **dataclasses.asdict(record)}
        cure = "make room or access, then run the same command again"
        save(file, json.dumps(content, indent=2) + "\n", cure=cure)
        self.by_key[record.key, record.seed] = record

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Ours alone, and read, until we are done or the process ends. Raises RunError when another one has them."""
        with FolderLock(self.path, what="another verification", unwritable="verify a copy of the run"):
            self.read()
            yield

    def _read(self, file: Path) -> Record | None:
        """None for what is damaged, or of other settings whose hash begins alike: it is trained again."""
        try:
            content = read_json(file)
            if read_as(_Kept, content).settings != self._settings:
                return None
        except (OSError, ValueError):
            return None
        return Record(**{field.name: content[field.name] for field in dataclasses.fields(Record)})
