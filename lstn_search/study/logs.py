"""Logs of a search for TensorBoard and MLflow: files in the run folder, no server, no network. No torch at import time.

Every rung is logged as it ends, under the name of its architecture; control and oracle stand beside them. What a log
holds already is not logged again, and what it lacks is: so a resumed search continues it, and `--log` given only then
starts with everything that was trained before.

Metrics carry the column names of trials.csv: `rung/...` are measured at the end of a rung, `epoch/...` in every joint
epoch. The step is the number of joint epochs, 0 after recover.
"""

import contextlib
import dataclasses
import importlib
import logging
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Literal, Protocol, get_args

from lstn_search.errors import SettingError, did_you_mean
from lstn_search.runs.entries import Candidate, Entry
from lstn_search.runs.run import Run
from lstn_search.spec.results import TrialResult
from lstn_search.spec.space import Space
from lstn_search.study.search import Search, SearchWatcher

__all__ = ["LogName", "LogRecord", "MLflowLog", "RungLog", "TensorBoardLog", "make_logs", "record_of"]

LogName = Literal["tensorboard", "mlflow"]

MODULES: dict[str, str] = {"tensorboard": "torch.utils.tensorboard", "mlflow": "mlflow.tracking"}
"""What each log has to import."""
EXPERIMENT = "lstn-search"
"""MLflow's; a run folder has a database of its own."""
NOT_MEASURED = ("status", "reason", "epochs", "history")
MAX_METRICS = 1000
"""MLflow takes no more at a time."""

Hyperparameter = str | int | float | bool


@dataclasses.dataclass(kw_only=True, frozen=True, slots=True)
class LogRecord:
    """One finished rung, as the logs tell it."""

    name: str
    """The architecture's, or control or oracle."""
    rung: int
    status: str
    reason: str
    seconds: float
    """Of training so far, all rungs together."""
    metrics: tuple[tuple[str, int, float], ...]
    """(name, joint epochs, value)."""
    hyperparameters: dict[str, Hyperparameter]
    """The choices that make the architecture, and what it costs; empty for control and oracle."""


def record_of(
    name: str, results: Sequence[TrialResult], rung: int, hyperparameters: dict[str, Hyperparameter]
) -> LogRecord:
    """What is to be logged of the rung `rung`, given the results of all rungs up to it."""
    result, before = results[rung], max((row.epochs or 0 for row in results[:rung]), default=0)
    columns = {column: value for column, value in result.to_dict().items() if column not in NOT_MEASURED}
    metrics = [
        (f"rung/{column}", result.epochs or before, float(value))
        for column, value in ({"accuracy": result.accuracy} | columns).items()
        if value is not None
    ]
    metrics += [
        (f"epoch/{column}", row["epoch"], float(value))
        for row in result.history
        if row["epoch"] > before  # the history goes back to the first epoch
        for column, value in row.items()
        if column != "epoch" and isinstance(value, int | float)
    ]
    return LogRecord(
        name=name,
        rung=rung,
        status=result.status,
        reason=result.reason,
        seconds=sum(row.seconds for row in results[: rung + 1]),
        metrics=tuple(metrics),
        hyperparameters=hyperparameters,
    )


class Log(Protocol):
    """A place where records are kept."""

    where: str
    """For messages."""

    def has(self, name: str, rung: int) -> bool:
        """Whether this rung is logged."""

    def add(self, record: LogRecord) -> None:
        """Log a rung, whole or, after a crash, again."""


class RungLog(SearchWatcher):
    """A watcher that logs every rung once.

    A log that cannot be written ends with a warning, and the search goes on without it.
    """

    def __init__(self, open_log: Callable[[Run], Log], space: Space) -> None:
        self._open, self._space = open_log, space
        self._log: Log | None = None

    def on_ready(self, source: Search) -> None:
        """Open the log, and log what was trained before."""
        with self._going_on():
            self._log = self._open(source.run)
            for entry in source.run.entries:
                self._add_entry(self._log, entry)
            self._add_references(self._log, source.run)

    def on_result(self, source: Search, result: Entry) -> None:
        """Log the rung, and the references when they are there."""
        with self._going_on():
            if self._log is not None:
                self._add_entry(self._log, result)
                self._add_references(self._log, source.run)

    def on_finish(self, source: Search) -> None:
        """Log the references, should they have ended last."""
        with self._going_on():
            if self._log is not None:
                self._add_references(self._log, source.run)

    def _add_entry(self, log: Log, entry: Entry) -> None:
        for rung in range(len(entry.results)):
            if not log.has(entry.candidate.name, rung):
                log.add(record_of(entry.candidate.name, entry.results, rung, self._hyperparameters(entry.candidate)))

    @staticmethod
    def _add_references(log: Log, run: Run) -> None:
        for name, results in (("control", run.references.control), ("oracle", run.references.oracle)):
            for rung in range(len(results)):
                if not log.has(name, rung):
                    log.add(record_of(name, results, rung, {}))

    def _hyperparameters(self, candidate: Candidate) -> dict[str, Hyperparameter]:
        cost: dict[str, Hyperparameter] = {
            "gflops": candidate.gflops,
            "params": candidate.params,
            "macs": candidate.macs,
            "over_budget": candidate.over_budget,
            "seed_point": candidate.is_seed,
            "digest": candidate.arch.digest,
        }
        return cost | (self._space.encode(candidate.arch) or {})

    @contextlib.contextmanager
    def _going_on(self) -> Iterator[None]:
        """Whatever a tool's own code raises must not end a search of hours."""
        try:
            yield
        except Exception as error:
            where, self._log = "a log" if self._log is None else self._log.where, None
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            print(
                f"warning: {where} cannot be written ({reason}); the search goes on without it, and --resume with the "
                "same --log adds what it lacks",
                file=sys.stderr,
            )


class TensorBoardLog:
    """RUN/tensorboard: a folder an architecture, and in it a file a rung, which is whole or not there."""

    def __init__(self, run: Run) -> None:
        self.path = run.folder.path / "tensorboard"
        self.where = str(self.path)

    def has(self, name: str, rung: int) -> bool:
        """Whether the rung has its file."""
        return self._file(name, rung).exists()

    def add(self, record: LogRecord) -> None:
        """Write the file of a rung."""
        from torch.utils.tensorboard import SummaryWriter
        from torch.utils.tensorboard.summary import hparams

        file = self._file(record.name, record.rung)
        with tempfile.TemporaryDirectory(prefix=".tensorboard-", dir=self.path.parent) as folder:
            with SummaryWriter(log_dir=folder) as writer:
                if record.rung == 0 and record.hyperparameters:  # no experiment: TensorBoard makes one of all sessions
                    for summary in hparams(record.hyperparameters, {})[1:]:
                        writer.file_writer.add_summary(summary)
                for metric, step, value in record.metrics:
                    writer.add_scalar(metric, value, step)
                step = max((step for _, step, _ in record.metrics), default=0)
                writer.add_text("status", f"{record.status} {record.reason}".rstrip(), step)
            file.parent.mkdir(parents=True, exist_ok=True)
            next(Path(folder).iterdir()).replace(file)

    def _file(self, name: str, rung: int) -> Path:
        """TensorBoard reads a folder's files in the order of their names."""
        return self.path / name / f"events.out.tfevents.{rung:010d}"


class MLflowLog:
    """RUN/mlflow.db: an MLflow run an architecture. Its clock counts the seconds of training."""

    def __init__(self, run: Run) -> None:
        from mlflow.tracking import MlflowClient

        for name in ("mlflow", "alembic"):  # they tell how they make their tables
            logging.getLogger(name).setLevel(logging.WARNING)
        from sqlalchemy import URL

        file = (run.folder.path / "mlflow.db").resolve()
        self.where = str(file)
        self._client = MlflowClient(tracking_uri=URL.create("sqlite", database=str(file)).render_as_string())
        self._experiment_id = self._experiment(run)
        self._runs: dict[str, tuple[str, int, int]] = {}
        """By name: id, start in milliseconds, the highest rung that is logged."""
        self._find_runs()

    def has(self, name: str, rung: int) -> bool:
        """Whether the rung is logged."""
        return name in self._runs and self._runs[name][2] >= rung

    def add(self, record: LogRecord) -> None:
        """Log a rung. Times follow from the record, so what a crash had logged already is written over."""
        from mlflow.entities import Metric, Param, RunTag

        run_id, start_ms = self._run(record)
        now_ms = start_ms + round(1000 * record.seconds)
        metrics = [Metric(name, value, now_ms, step) for name, step, value in record.metrics]
        params = [Param(name, str(value)) for name, value in record.hyperparameters.items()]
        tags = [RunTag("status", record.status), RunTag("reason", record.reason), RunTag("rung", str(record.rung))]
        for first in range(0, len(metrics), MAX_METRICS):
            self._client.log_batch(run_id, metrics[first : first + MAX_METRICS])
        self._client.log_batch(run_id, params=params)
        self._client.log_batch(run_id, tags=tags)  # last: a rung with its tag is complete
        status = "FAILED" if record.status == "failed" else "FINISHED"
        self._client.set_terminated(run_id, status, end_time=now_ms)
        self._runs[record.name] = run_id, start_ms, record.rung

    def _run(self, record: LogRecord) -> tuple[str, int]:
        """The MLflow run of an architecture: its id, and when it began."""
        if record.name not in self._runs:
            start_ms = round(1000 * (time.time() - record.seconds))
            run = self._client.create_run(self._experiment_id, start_time=start_ms, run_name=record.name)
            self._runs[record.name] = run.info.run_id, start_ms, -1
        return self._runs[record.name][:2]

    def _experiment(self, run: Run) -> str:
        found = self._client.get_experiment_by_name(EXPERIMENT)
        if found is not None:
            return str(found.experiment_id)
        settings = run.folder.settings
        tags = {
            "dataset": run.task.dataset,
            "budget_gflops": f"{settings.budget_gflops:g}",
            "space": settings.space_name,
        }
        artifacts = (run.folder.path / "mlflow-artifacts").resolve().as_uri()  # none are logged
        return str(self._client.create_experiment(EXPERIMENT, artifact_location=artifacts, tags=tags))

    def _find_runs(self) -> None:
        token: str | None = None
        while token != "":
            page = self._client.search_runs([self._experiment_id], max_results=1000, page_token=token)
            for run in page:
                rung = int(run.data.tags.get("rung", -1))
                self._runs[run.info.run_name] = run.info.run_id, run.info.start_time, rung
            token = page.token or ""


def make_logs(names: Sequence[str], space: Space) -> tuple[RungLog, ...]:
    """The logs of these names (see `LogName`), for a search of `space`.

    Raises SettingError on an unknown name, and when its package is not installed. Nothing is written before the task is
    ready.
    """
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # MLflow looks when it is imported
    for name in names:
        if name not in get_args(LogName):
            raise SettingError(f"unknown log {name!r}; {did_you_mean(name, get_args(LogName))}")
        try:
            importlib.import_module(MODULES[name])
        except ImportError as error:
            package = (error.name or name).partition(".")[0]
            raise SettingError(
                f"--log {name} needs the package {package}, which is not installed; pip install 'lstn-search[log]'"
            ) from None
    logs: dict[str, Callable[[Run], Log]] = {"tensorboard": TensorBoardLog, "mlflow": MLflowLog}
    return tuple(RungLog(logs[name], space) for name in dict.fromkeys(names))
