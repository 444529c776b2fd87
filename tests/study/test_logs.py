"""What TensorBoard and MLflow read back of a search is what it measured, once."""

import dataclasses
import math
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from small_search import BUDGET_GFLOPS, LADDER, PretendEngine, make_settings

from lstn_search.errors import SettingError
from lstn_search.jobs.loop import Watchers
from lstn_search.runs.entries import Entry
from lstn_search.runs.folder import RunFolder
from lstn_search.runs.run import Run, open_run
from lstn_search.spec.results import References, TrialResult
from lstn_search.spec.space import Space
from lstn_search.study.logs import MAX_METRICS, MLflowLog, TensorBoardLog, make_logs, record_of
from lstn_search.study.search import Search, SearchWatcher, search

pytestmark = pytest.mark.usefixtures("unproved")

ROOT = Path(__file__).resolve().parents[2]
Metrics = dict[str, list[tuple[int, float]]]
"""(step, value) by name, in the order they were logged."""
Read = Callable[[Path], dict[str, Metrics]]


def read_tensorboard(path: Path) -> dict[str, Metrics]:
    """Everything in RUN/tensorboard, as TensorBoard reads it."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = {}
    for folder in (path / "tensorboard").iterdir():
        events = EventAccumulator(str(folder), size_guidance={"scalars": 0})
        events.Reload()
        tags = events.Tags()["scalars"]
        found[folder.name] = {tag: [(event.step, event.value) for event in events.Scalars(tag)] for tag in tags}
    return found


def mlflow_runs(path: Path) -> tuple[Any, dict[str, Any]]:
    """MLflow's client, and the runs it finds by name."""
    from mlflow.tracking import MlflowClient

    client = MlflowClient(tracking_uri=f"sqlite:///{path / 'mlflow.db'}")
    (experiment,) = client.search_experiments(filter_string="name = 'lstn-search'")
    runs = client.search_runs([experiment.experiment_id])
    assert len({run.info.run_name for run in runs}) == len(runs)
    return client, {run.info.run_name: run for run in runs}


def read_mlflow(path: Path) -> dict[str, Metrics]:
    """Everything in RUN/mlflow.db, as MLflow's client reads it."""
    client, runs = mlflow_runs(path)
    return {
        name: {
            metric: [(row.step, row.value) for row in client.get_metric_history(run.info.run_id, metric)]
            for metric in run.data.metrics
        }
        for name, run in runs.items()
    }


READERS = {"tensorboard": read_tensorboard, "mlflow": read_mlflow}


def expected(run: Run) -> dict[str, Metrics]:
    """The same from the study, column by column."""
    rows = {entry.candidate.name: entry.results for entry in run.entries}
    rows |= {"control": list(run.references.control), "oracle": list(run.references.oracle)}
    found: dict[str, Metrics] = {}
    for name, results in rows.items():
        metrics = found.setdefault(name, {})
        for result in results:
            for column in ("accuracy", "val_top1", "corner_error_px", "frozen_top1", "spread", "seconds"):
                value = getattr(result, column)
                if value is not None:
                    metrics.setdefault(f"rung/{column}", []).append((result.epochs or 0, value))
        for row in results[-1].history:
            metrics.setdefault("epoch/train_loss", []).append((row["epoch"], row["train_loss"]))
    return found


def assert_same(read: dict[str, Metrics], run: Run) -> None:
    told = expected(run)
    assert set(read) == set(told)
    for name, metrics in told.items():
        for metric, rows in metrics.items():
            assert [step for step, _ in read[name][metric]] == [step for step, _ in rows], (name, metric)
            assert [v for _, v in read[name][metric]] == pytest.approx([v for _, v in rows], rel=1e-6), (name, metric)


def source_of(run: Run) -> Search:
    """All that a log asks of a search: what it has trained."""
    source = Search.__new__(Search)
    source.run = run
    return source


def log(run: Run, space: Space, *names: str) -> None:
    Watchers(*make_logs(names, space)).on_ready(source_of(run))


@pytest.fixture(scope="module")
def empty_database(small_run: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """MLflow's with nothing in it: to make its tables takes seconds."""
    folder = RunFolder(tmp_path_factory.mktemp("mlflow"), small_run.folder.manifest)
    MLflowLog(dataclasses.replace(small_run, folder=folder))
    return folder.path / "mlflow.db"


@pytest.fixture
def elsewhere(small_run: Run, empty_database: Path, tmp_path: Path) -> Run:
    """The small search, its folder another one that holds nothing but an empty log."""
    shutil.copy(empty_database, tmp_path)
    return dataclasses.replace(small_run, folder=RunFolder(tmp_path, small_run.folder.manifest))


# -- what is logged ----------------------------------------------------------------------------------------------------


def test_a_record_is_one_rung_and_its_own_epochs() -> None:
    history = tuple({"epoch": n, "seconds": 1.0, "train_loss": 1 / n, "verdict": "alive"} for n in range(1, 4))
    results = [
        TrialResult(status="ok", seconds=5, frozen_top1=40.0, corner_error_px=7.5),
        TrialResult(status="ok", seconds=2, epochs=1, val_top1=50.0, history=history[:1]),
        TrialResult(status="inert", seconds=4, epochs=3, val_top1=60.0, history=history),
    ]
    recover, first, last = (record_of("t1", results, rung, {}) for rung in range(3))
    assert set(recover.metrics) == {
        ("rung/accuracy", 0, 40.0), ("rung/frozen_top1", 0, 40.0), ("rung/corner_error_px", 0, 7.5),
        ("rung/seconds", 0, 5.0),
    }  # fmt: skip
    assert {("rung/accuracy", 1, 50.0), ("epoch/train_loss", 1, 1.0)} <= set(first.metrics)
    assert {step for name, step, _ in last.metrics if name == "epoch/train_loss"} == {2, 3}
    assert {step for name, step, _ in last.metrics if name.startswith("rung/")} == {3}
    assert [(r.status, r.seconds, r.rung) for r in (recover, first, last)] == [
        ("ok", 5, 0), ("ok", 7, 1), ("inert", 11, 2),
    ]  # fmt: skip


@pytest.mark.parametrize("tool", READERS)
def test_what_was_trained_before_is_logged_and_never_twice(elsewhere: Run, small_space: Space, tool: str) -> None:
    for _ in range(2):
        log(elsewhere, small_space, tool)
        assert_same(READERS[tool](elsewhere.folder.path), elsewhere)
    assert {path.name for path in elsewhere.folder.path.iterdir()} <= {"tensorboard", "mlflow.db"}


def test_a_search_logs_its_rungs_and_goes_on_where_it_stopped(small_space: Space, tmp_path: Path) -> None:
    """Interrupted in its middle, with both logs; gone on with both: each rung is there once. Trainings are made up."""

    class Stop(SearchWatcher):
        """Interrupts the search after a few rungs."""

        num = 0

        def on_result(self, source: Search, result: Entry) -> None:
            self.num += 1
            if self.num == 5:
                raise KeyboardInterrupt

    out, settings = tmp_path / "run", make_settings(small_space, ladder=LADDER)
    names = ("tensorboard", "mlflow")
    watchers = Watchers(Stop(), *make_logs(names, small_space))
    with pytest.raises(KeyboardInterrupt):
        search(small_space, settings, out, PretendEngine.make(tmp_path), trials=1, watcher=watchers)
    stopped = open_run(out)
    num_rungs = sum(len(entry.results) for entry in stopped.entries)
    assert num_rungs == 5
    assert (
        sum(len(m["rung/accuracy"]) for m in read_tensorboard(out).values()) == num_rungs - 1 + 2 * 3
    )  # the references
    watchers = Watchers(*make_logs(names, small_space))
    run = search(small_space, settings, out, PretendEngine.make(tmp_path), trials=1, resume=True, watcher=watchers)
    assert sum(len(entry.results) for entry in run.entries) > num_rungs
    for read in READERS.values():
        assert_same(read(out), run)


@pytest.mark.parametrize("tool", READERS)
def test_a_rung_torn_by_a_crash_is_made_whole(
    elsewhere: Run, small_space: Space, tool: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed at the last step of writing a rung: what was written before does not stand there twice."""

    def crash(*args: Any, **kwargs: Any) -> None:
        raise KeyboardInterrupt

    step = "pathlib.Path.replace" if tool == "tensorboard" else "mlflow.tracking.MlflowClient.set_terminated"
    logs = make_logs([tool], small_space)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(step, crash)
        logs[0].on_ready(source_of(elsewhere))
    log(elsewhere, small_space, tool)
    assert_same(READERS[tool](elsewhere.folder.path), elsewhere)


def test_mlflow_writes_metrics_again_over_themselves(elsewhere: Run) -> None:
    """Killed between a rung's metrics and its tag."""
    entry = elsewhere.entries[0]
    record = record_of(entry.candidate.name, entry.results, 0, {})
    first = MLflowLog(elsewhere)
    first.add(record)
    first._client.set_tag(first._runs[record.name][0], "rung", "-1")
    second = MLflowLog(elsewhere)
    assert not second.has(record.name, 0)
    second.add(record)
    assert second.has(record.name, 0)
    assert len(read_mlflow(elsewhere.folder.path)[record.name]["rung/accuracy"]) == 1


# -- beside the metrics ------------------------------------------------------------------------------------------------


def test_mlflow_has_choices_cost_status_and_training_time(elsewhere: Run, small_space: Space) -> None:
    log(elsewhere, small_space, "mlflow")
    client, runs = mlflow_runs(elsewhere.folder.path)
    for entry in elsewhere.entries:
        run, candidate = runs[entry.candidate.name], entry.candidate
        choices = small_space.encode(candidate.arch) or {}
        assert choices or candidate.name in ("outside", "costly")
        cost = {"gflops": candidate.gflops, "params": candidate.params, "over_budget": candidate.over_budget}
        assert {name: str(value) for name, value in (cost | choices).items()}.items() <= run.data.params.items()
        assert (run.data.tags["status"], run.data.tags["rung"]) == (entry.status, str(len(entry.results) - 1))
        assert run.info.status == "FINISHED"
        assert (run.info.end_time - run.info.start_time) / 1000 == pytest.approx(entry.seconds, abs=0.01)
    assert runs["control"].data.params == {}
    experiment = client.get_experiment_by_name("lstn-search")
    assert experiment.tags["budget_gflops"] == f"{BUDGET_GFLOPS:g}"


def test_tensorboards_hparams_tab_has_a_session_an_architecture(elsewhere: Run, small_space: Space) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.plugins.hparams import metadata

    log(elsewhere, small_space, "tensorboard")
    for entry in elsewhere.entries:
        events = EventAccumulator(str(elsewhere.folder.path / "tensorboard" / entry.candidate.name))
        events.Reload()
        content = events.PluginTagToContent(metadata.PLUGIN_NAME)[metadata.SESSION_START_INFO_TAG]
        told = metadata.parse_session_start_info_plugin_data(content).hparams
        assert told["gflops"].number_value == entry.candidate.gflops
        for name, value in (small_space.encode(entry.candidate.arch) or {}).items():
            assert (told[name].string_value or told[name].number_value) == value
        texts = [event.tensor_proto.string_val[0].decode() for event in events.Tensors("status/text_summary")]
        assert texts == [f"{result.status} {result.reason}".strip() for result in entry.results]


def test_a_failure_is_logged_with_its_reason(elsewhere: Run, small_space: Space) -> None:
    entry = dataclasses.replace(elsewhere.entries[0], results=[TrialResult(status="failed", reason="loss is nan")])
    log(dataclasses.replace(elsewhere, entries=[entry], references=References()), small_space, "mlflow", "tensorboard")
    _, runs = mlflow_runs(elsewhere.folder.path)
    run = runs[entry.candidate.name]
    assert (run.info.status, run.data.tags["status"], run.data.tags["reason"]) == ("FAILED", "failed", "loss is nan")
    assert set(read_tensorboard(elsewhere.folder.path)[entry.candidate.name]) == {"rung/seconds"}


def test_hundreds_of_epochs_and_numbers_that_are_none(elsewhere: Run) -> None:
    """The paper's protocol has up to 500 epochs in one rung; MLflow takes 1,000 numbers at a time."""
    history = tuple(
        {"epoch": n, "train_loss": math.nan if n == 3 else 1.0, "spread": 0.1, "scale": 1.0} for n in range(1, 501)
    )
    result = TrialResult(status="ok", epochs=500, val_top1=70.0, history=history)
    record = record_of("t1", [result], 0, {})
    assert len(record.metrics) > MAX_METRICS
    for kind, read in ((MLflowLog, read_mlflow), (TensorBoardLog, read_tensorboard)):
        kind(elsewhere).add(record)
        rows = read(elsewhere.folder.path)["t1"]
        assert [step for step, _ in rows["epoch/spread"]] == list(range(1, 501))
        assert len(rows["epoch/train_loss"]) == 500


# -- what can go wrong -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tool", READERS)
def test_a_search_outlives_its_log(
    elsewhere: Run, small_space: Space, tool: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (elsewhere.folder.path / ("mlflow.db" if tool == "mlflow" else "tensorboard")).write_text("in the way" * 1000)
    (watcher,) = make_logs([tool], small_space)
    watcher.on_ready(source_of(elsewhere))
    watcher.on_result(source_of(elsewhere), elsewhere.entries[0])
    watcher.on_finish(source_of(elsewhere))
    warning = capsys.readouterr().err
    assert warning.count("warning: ") == 1
    assert "cannot be written" in warning and "the search goes on without it" in warning


def test_an_unknown_log_is_one_line(small_space: Space) -> None:
    with pytest.raises(SettingError, match=r"unknown log 'tensorbord'; did you mean 'tensorboard'\?"):
        make_logs(["tensorbord"], small_space)


@pytest.fixture
def hidden(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Neither tool is installed."""
    for module in [name for name in sys.modules if name.split(".")[0] in ("mlflow", "tensorboard")]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.delitem(sys.modules, "torch.utils.tensorboard", raising=False)
    for name in ("mlflow", "tensorboard"):
        monkeypatch.setitem(sys.modules, name, None)
    yield


@pytest.mark.usefixtures("hidden")
@pytest.mark.parametrize("tool", READERS)
def test_without_its_package_nothing_is_begun(
    tool: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from lstn_search.cli import main

    out = tmp_path / "run"
    monkeypatch.setattr(
        sys, "argv",
        ["cli.py", "search", "--dataset", "glyphs", "--budget-gflops", "0.03", "--out", str(out), "--log", tool],
    )  # fmt: skip
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    expected = f"error: --log {tool} needs the package {tool}, which is not installed; pip install 'lstn-search[log]'\n"
    assert capsys.readouterr() == ("", expected)
    assert not out.exists()


def test_logging_keeps_to_the_run_folder_and_off_the_network(small_run: Run, tmp_path: Path) -> None:
    """In a process of its own, in an empty folder, where opening any connection is an error."""
    here, folder = tmp_path / "here", tmp_path / "run"
    here.mkdir()
    folder.mkdir()
    shutil.copy(small_run.folder.path / "manifest.json", folder)
    code = f"""
import socket
def refuse(self, address):
    raise AssertionError(f"connects to {{address}}")
socket.socket.connect = socket.socket.connect_ex = refuse
from pathlib import Path
from lstn_search.spec.results import TrialResult
from lstn_search.study.logs import MLflowLog, TensorBoardLog, make_logs, record_of
from lstn_search.runs.folder import RunFolder
from lstn_search.runs.run import Run
from lstn_search.spec.space import load_space
make_logs(["mlflow", "tensorboard"], load_space("lstn"))
run = Run(folder=RunFolder.open(Path({str(folder)!r})), entries=[])
for kind in (MLflowLog, TensorBoardLog):
    kind(run).add(record_of("t1", [TrialResult(status="ok", val_top1=1.0, epochs=1)], 0, {{}}))
"""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", code], cwd=here, env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    assert "INFO" not in done.stderr
    assert list(here.iterdir()) == []
    assert {path.name for path in folder.iterdir()} == {"manifest.json", "mlflow.db", "tensorboard"}
    assert read_mlflow(folder).keys() == read_tensorboard(folder).keys() == {"t1"}
