"""Jobs run, end and die the same way on every engine, and no process outlives its engine or its driver."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import engine_jobs
import pytest
from engine_jobs import make_setup

from lstn_search.errors import SettingError
from lstn_search.jobs.base import Ended, Engine, Event, Job, Stage
from lstn_search.jobs.local import LocalEngine
from lstn_search.jobs.machine import cgroup_cores, num_cores, python_path
from lstn_search.jobs.ray import RayEngine

TESTS = Path(__file__).resolve().parents[1]
ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join((str(TESTS), str(TESTS.parent)))}

MakeEngine = Callable[..., Engine]

DEATHS = {
    "bug": "KeyError: 'weights\\nof the head' (engine_jobs.py line ",
    "exit": "SystemExit: 3 (engine_jobs.py line ",
    "hard-exit": "its worker ended with exit code 3",
    "segfault": "its worker was killed by SIGSEGV",
    "killed": "its worker was killed by SIGKILL (out of memory?)",
    "unpicklable": "its result cannot be sent (",
    "unreadable": "its result cannot be read (ValueError: ",
    "nothing": "its job function returned NoneType, not Ended",
    "die-while-sending": "its worker was killed by SIGKILL (out of memory?)",
}


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A Ray cluster of one node with two cores."""
    ray = pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, "env_vars": {"NODE_NAME": "first"}})
    yield cluster
    ray.shutdown()
    cluster.shutdown()


@pytest.fixture
def make_local(tmp_path: Path) -> Iterator[MakeEngine]:
    """Makes local engines in a folder of the test's, closed at its end."""
    yield from closing(
        lambda num_workers, num_threads=None: LocalEngine(
            make_setup(tmp_path, num_threads=num_threads), num_workers, engine_jobs.act
        )
    )


@pytest.fixture
def make_ray(tmp_path: Path, cluster: Any) -> Iterator[MakeEngine]:
    """Makes Ray engines on the cluster, over one connection for all tests."""
    import ray

    if not ray.is_initialized():
        ray.init(address=cluster.address, log_to_driver=False, logging_level="ERROR")
    yield from closing(
        lambda num_workers, num_threads=None, **options: RayEngine(
            make_setup(tmp_path, num_threads=num_threads), num_workers, engine_jobs.act, **options
        )
    )


@pytest.fixture
def no_connection() -> None:
    """This process is not connected to Ray."""
    pytest.importorskip("ray").shutdown()


def closing(make: MakeEngine) -> Iterator[MakeEngine]:
    engines: list[Engine] = []

    def make_and_remember(*args: Any, **options: Any) -> Engine:
        engines.append(make(*args, **options))
        return engines[-1]

    yield make_and_remember
    for engine in engines:
        engine.close()


def rung(name: str) -> Job:
    return Job(kind="rung", name=name)


def until_ended(engine: Engine, num_jobs: int = 1) -> list[Event]:
    """All events up to the end of so many jobs."""
    events: list[Event] = []
    while sum(isinstance(event, Ended) for event in events) < num_jobs:
        events += engine.events(timeout=1)
    return events


def until_said(engine: Engine, num: int) -> dict[str, str]:
    """What so many jobs said first, by the job's name."""
    said: dict[str, str] = {}
    while len(said) < num:
        events = engine.events(timeout=1)
        assert not [event for event in events if isinstance(event, Ended)], f"{num} jobs should be under way: {events}"
        said |= {event.job.name: event.what for event in events if isinstance(event, Stage)}
    return said


def run(engine: Engine, name: str) -> Ended:
    """Run one job to its end."""
    engine.submit(rung(name))
    ended = until_ended(engine)[-1]
    assert isinstance(ended, Ended)
    return ended


def pid_of(ended: Ended) -> int:
    assert ended.facts is not None, ended
    pid = ended.facts["pid"]
    assert isinstance(pid, int)
    return pid


def read_pids(folder: Path, *, num: int) -> list[int]:
    """The process ids that jobs wrote down, waiting until so many have."""
    while len(files := list(folder.glob("*.pid"))) < num:
        time.sleep(0.02)
    return [int(file.read_text()) for file in files]


def is_running(pid: int) -> bool:
    state = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True).stdout.strip()
    return bool(state) and not state.startswith("Z")


def until_gone(pids: Sequence[int]) -> None:
    """Until none of these processes is left; by themselves they would outlast any test."""
    while any(map(is_running, pids)):
        time.sleep(0.02)


@contextlib.contextmanager
def driver(folder: Path, *names: str) -> Iterator["subprocess.Popen[str]"]:
    """A driver in a process group of its own, as a shell would start it."""
    command = [sys.executable, str(TESTS / "engine_jobs.py"), "drive", str(folder), *names]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=ENVIRONMENT, process_group=0)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def read_lines(process: "subprocess.Popen[str]", num: int) -> list[str]:
    assert process.stdout is not None
    return [process.stdout.readline().strip() for _ in range(num)]


class TestEveryEngine:
    """The contract of `Engine`."""

    @pytest.fixture(params=["local", "ray"])
    def make_engine(self, request: pytest.FixtureRequest) -> MakeEngine:
        made: MakeEngine = request.getfixturevalue(f"make_{request.param}")
        return made

    def test_a_job_ends_with_its_result(self, make_engine: MakeEngine) -> None:
        job = rung("ok")
        engine = make_engine(1)
        engine.submit(job)
        (ended,) = until_ended(engine)
        assert isinstance(ended, Ended) and ended.job is job
        assert ended.result is not None and ended.result.status == "ok"
        assert (ended.died, ended.user_error) == (None, None)

    def test_stages_arrive_in_order_before_the_end(self, make_engine: MakeEngine) -> None:
        engine = make_engine(1)
        engine.submit(rung("stages 200"))
        *stages, ended = until_ended(engine)
        assert [stage.what for stage in stages if isinstance(stage, Stage)] == [f"stage {i}" for i in range(200)]
        assert isinstance(ended, Ended)

    def test_workers_find_the_users_code_where_the_driver_does(
        self, make_engine: MakeEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for folder in ("here", "on the path"):
            (tmp_path / folder).mkdir()
            name = f"code_of_the_user_{folder[:2]}"
            (tmp_path / folder / f"{name}.py").write_text(f"def where():\n    return {folder!r}\n")
        monkeypatch.chdir(tmp_path / "here")
        monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path / "on the path")])
        engine = make_engine(1)
        assert run(engine, "own-code code_of_the_user_he:where").result is not None
        assert run(engine, "own-code code_of_the_user_on:where").result is not None
        ended = run(engine, "own-code code_of_nobody:where")
        assert ended.user_error is not None and "there is no module 'code_of_nobody'" in ended.user_error

    def test_slots_run_side_by_side(self, make_engine: MakeEngine) -> None:
        engine = make_engine(2)
        assert engine.num_slots == 2
        for name in ("meet 0", "meet 1"):  # each waits for the other
            engine.submit(rung(name))
        ends = [event for event in until_ended(engine, num_jobs=2) if isinstance(event, Ended)]
        assert {ended.job.name for ended in ends} == {"meet 0", "meet 1"}
        assert pid_of(ends[0]) != pid_of(ends[1])

    def test_a_worker_lives_on_between_jobs_and_not_after_a_death(self, make_engine: MakeEngine) -> None:
        engine = make_engine(1)
        first, second = run(engine, "ok"), run(engine, "ok")
        assert pid_of(first) == pid_of(second)
        assert run(engine, "bug").died
        assert pid_of(run(engine, "ok")) != pid_of(first)

    def test_a_death_ends_its_job_alone_and_says_why_in_one_line(self, make_engine: MakeEngine) -> None:
        engine = make_engine(1)
        for name, reason in DEATHS.items():
            ended = run(engine, name)
            assert ended.job.name == name and ended.result is None
            assert ended.died is not None and ended.died.startswith(reason) and "\n" not in ended.died
        assert run(engine, "ok").died is None

    def test_what_was_said_before_a_crash_arrives(self, make_engine: MakeEngine) -> None:
        engine = make_engine(1)
        engine.submit(rung("segfault"))
        stage, ended = until_ended(engine)
        assert isinstance(stage, Stage) and stage.what == "about to crash"
        assert isinstance(ended, Ended) and ended.died

    def test_an_error_of_the_user_is_one_line_and_no_death(self, make_engine: MakeEngine) -> None:
        ended = run(make_engine(1), "user-error")
        assert ended.user_error == "the images are not there; fetch them"
        assert ended.died is None

    def test_events_waits_no_longer_than_asked(self, make_engine: MakeEngine) -> None:
        engine = make_engine(1)
        assert engine.events() == []  # nothing is under way: without a timeout there is nothing to wait for
        engine.submit(rung("wait"))
        assert until_said(engine, num=1) == {"wait": "waiting"}
        start = time.monotonic()
        assert engine.events(timeout=0.3) == []
        assert time.monotonic() - start > 0.25
        assert engine.events(timeout=0) == []

    def test_looking_without_waiting_is_enough(self, make_engine: MakeEngine) -> None:
        engine = make_engine(1)
        engine.submit(rung("ok"))
        while not (events := engine.events(timeout=0)):
            pass
        assert isinstance(events[0], Ended)

    def test_threads_are_as_asked(self, make_engine: MakeEngine) -> None:
        assert run(make_engine(1, num_threads=3), "threads").facts == {"torch": 3, "environment": "3"}

    def test_close_leaves_no_process_however_stubborn(self, make_engine: MakeEngine, tmp_path: Path) -> None:
        engine = make_engine(2)
        engine.submit(rung("stubborn 0"))
        engine.submit(rung("stubborn 1"))
        until_said(engine, num=2)
        pids = read_pids(tmp_path, num=4)
        engine.close()
        until_gone(pids)
        engine.close()  # twice does no harm

    @pytest.mark.parametrize("num_workers", [0, -1])
    def test_no_workers_are_refused(self, make_engine: MakeEngine, num_workers: int) -> None:
        with pytest.raises(SettingError, match=f"workers must be at least 1, got {num_workers}"):
            make_engine(num_workers)


class TestLocal:
    """Processes on this machine."""

    def test_a_worker_that_dies_idle_harms_no_job(self, make_local: MakeEngine) -> None:
        engine = make_local(1)
        for _ in range(5):
            os.kill(pid := pid_of(run(engine, "ok")), signal.SIGKILL)
            until_gone([pid])
            os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)  # until its last thread is gone, too
            assert pid_of(run(engine, "ok")) != pid

    def test_a_worker_that_died_with_its_channel_open_is_found_out(
        self, make_local: MakeEngine, tmp_path: Path
    ) -> None:
        ended = run(make_local(1), "die-while-sending")
        assert ended.died == "its worker was killed by SIGKILL (out of memory?)"
        until_gone(read_pids(tmp_path, num=1))  # the child that held the channel

    def test_a_worker_that_cannot_be_started_is_a_death(
        self, make_local: MakeEngine, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fail(*args: Any, **options: Any) -> None:
            raise BlockingIOError(11, "Resource temporarily unavailable")

        engine = make_local(1)
        with monkeypatch.context() as patch:
            patch.setattr(subprocess, "Popen", fail)
            ended = run(engine, "ok")
        assert ended.died == "no worker could be started for it (Resource temporarily unavailable)"
        assert run(engine, "ok").died is None

    def test_a_job_that_takes_too_long_is_a_death_and_leaves_no_process(self, tmp_path: Path) -> None:
        with contextlib.closing(LocalEngine(make_setup(tmp_path, job_minutes=0.05), 1, engine_jobs.act)) as engine:
            ended = run(engine, "wait")  # for ever
            assert ended.died == "it took longer than the 0.05 minutes of --job-minutes"
            assert engine._workers == [None]

    def test_what_is_no_text_in_the_path_of_python_does_no_harm(
        self, make_local: MakeEngine, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(sys, "path", [None, *map(Path, sys.path), 7])
        assert run(make_local(1), "ok").died is None
        assert python_path() == [str(entry) for entry in sys.path[1:-1]]

    def test_tracebacks_and_prints_go_to_the_log(
        self, make_local: MakeEngine, tmp_path: Path, capfd: pytest.CaptureFixture[str]
    ) -> None:
        engine = make_local(1)
        run(engine, "bug")
        run(engine, "segfault")
        log = (tmp_path / "logs" / "worker-0.log").read_text()
        assert "KeyError" in log and "Segmentation fault" in log and "engine_jobs.py" in log
        assert capfd.readouterr() == ("", "")

    @pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP])
    def test_no_process_outlives_the_driver(self, tmp_path: Path, how: signal.Signals) -> None:
        with driver(tmp_path, "stubborn 0", "stubborn 1") as process:
            pids = read_pids(tmp_path, num=4)
            process.send_signal(how)
            process.wait()
            until_gone(pids)

    def test_ctrl_c_is_the_drivers_alone(self, tmp_path: Path) -> None:
        with driver(tmp_path, "stubborn 0", "wait") as process:
            pids = read_pids(tmp_path, num=2)
            assert sorted(read_lines(process, 3)) == ["busy", "submitted", "waiting"]
            os.killpg(process.pid, signal.SIGINT)
            assert read_lines(process, 1) == ["interrupted"]
            (tmp_path / "go").touch()
            assert read_lines(process, 1) == ["ended: well"]
            assert all(map(is_running, pids))

    def test_ctrl_c_does_not_reach_a_worker_that_is_just_starting(self, tmp_path: Path) -> None:
        with driver(tmp_path, "ok") as process:
            assert read_lines(process, 1) == ["submitted"]
            os.killpg(process.pid, signal.SIGINT)
            assert read_lines(process, 1) == ["interrupted"]
            (tmp_path / "go").touch()
            assert read_lines(process, 1) == ["ended: well"]

    def test_cores_are_those_this_process_may_use(self) -> None:
        all_cores = os.sched_getaffinity(0)
        os.sched_setaffinity(0, {min(all_cores)})
        try:
            assert num_cores() == 1
        finally:
            os.sched_setaffinity(0, all_cores)

    @pytest.mark.parametrize(
        ("files", "cores"),
        [
            ({"cpu.max": "150000 100000\n"}, 2),
            ({"cpu.max": "max 100000\n"}, None),
            ({"cpu/cpu.cfs_quota_us": "400000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 4),
            ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, None),
            ({}, None),
        ],
    )
    def test_a_containers_share_of_the_machine(self, tmp_path: Path, files: dict[str, str], cores: int | None) -> None:
        for name, text in files.items():
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).write_text(text)
        assert cgroup_cores(tmp_path) == cores


class TestRay:
    """A Ray cluster."""

    def test_a_job_whose_actors_keep_dying_dies(self, make_ray: MakeEngine, tmp_path: Path) -> None:
        ended = run(make_ray(1), "kill-actor")
        assert ended.died is not None
        assert ended.died.startswith("its node was lost 4 times; Ray says: ")

    def test_jobs_share_a_core_if_so_told(self, make_ray: MakeEngine) -> None:
        assert make_ray(None, resources_per_job={"cpu": 0.5}).num_slots == 4

    def test_a_job_that_fits_no_node_is_refused(self, make_ray: MakeEngine) -> None:
        with pytest.raises(SettingError, match=r"no node of the Ray cluster has room for a job \(cpu=1, gpu=1\)"):
            make_ray(None, resources_per_job={"cpu": 1, "gpu": 1})

    def test_workers_use_the_storage(self, make_ray: MakeEngine, tmp_path: Path) -> None:
        engine = make_ray(1, storage_path=tmp_path / "shared")
        facts = run(engine, "storage").facts
        assert facts == {"folder": str(engine.setup.folder), "cache_dir": str(tmp_path / "shared" / "cache")}
        assert engine.setup.folder.parent == tmp_path / "shared"
        assert engine.setup.folder.name.startswith(f"{tmp_path.name}-")

    def test_a_node_that_does_not_see_the_storage_is_an_error_of_the_user(
        self, make_ray: MakeEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(sys.modules[RayEngine.__module__], "FIND_SECONDS", 0.1)
        engine = make_ray(1)
        for marker in tmp_path.glob(".ray-*"):
            marker.unlink()
        ended = run(engine, "ok")
        assert ended.user_error is not None
        assert f"does not see {tmp_path}; put the run folder on storage" in ended.user_error

    def test_a_ray_of_our_own_comes_and_goes_without_a_word(self, tmp_path: Path) -> None:
        pytest.importorskip("ray")
        command = [sys.executable, str(TESTS / "engine_jobs.py"), "ray_search", str(tmp_path)]
        done = subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
        assert list(tmp_path.glob(".ray-*")) == []

    def test_a_connection_that_was_there_stays(self, make_ray: MakeEngine) -> None:
        import ray

        make_ray(1).close()
        assert ray.is_initialized()

    def test_nobody_at_the_address_is_an_error_of_the_user(self, tmp_path: Path, no_connection: None) -> None:
        with pytest.raises(SettingError, match=r"cannot reach the Ray cluster at 127\.0\.0\.1:9: .*refused"):
            RayEngine(make_setup(tmp_path), 1, engine_jobs.act, address="127.0.0.1:9")
        with pytest.raises(SettingError, match="start the search on a node of the cluster"):
            RayEngine(make_setup(tmp_path), 1, engine_jobs.act, address="ray://127.0.0.1:10001")

    @pytest.mark.parametrize(
        ("options", "complaint"),
        [
            ({"storage_path": "s3://bucket/runs"}, "the storage path must be a folder that every node mounts"),
            ({"resources_per_job": {"gpu": -1}}, "a job's gpu must be a number of at least 0, got -1"),
            ({"resources_per_job": {"gpu": 1.5}}, "a job's gpu must be a whole number or a share below 1, got 1.5"),
            ({"resources_per_job": {"cpu": 0}}, "a job needs some resource, got cpu=0"),
        ],
    )
    def test_what_makes_no_sense_is_refused_before_ray_starts(
        self, tmp_path: Path, options: dict[str, Any], complaint: str
    ) -> None:
        with pytest.raises(SettingError, match=complaint):
            RayEngine(make_setup(tmp_path), 1, engine_jobs.act, **options)

    def test_without_ray_the_cure_is_named(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "ray", None)
        with pytest.raises(SettingError, match=r"pip install 'lstn-search\[ray\]'"):
            RayEngine(make_setup(tmp_path), 1, engine_jobs.act)

    def test_a_lost_node_loses_no_job(
        self, tmp_path: Path, cluster: Any, no_connection: None, capfd: pytest.CaptureFixture[str]
    ) -> None:
        import ray

        second = cluster.add_node(num_cpus=1, env_vars={"NODE_NAME": "second"})
        capfd.readouterr()
        engine = RayEngine(make_setup(tmp_path), None, engine_jobs.act, address=cluster.address)
        assert engine.num_slots == 3
        for number in range(3):
            engine.submit(rung(f"linger {number}"))
        nodes = until_said(engine, num=3)
        assert sorted(nodes.values()) == ["first", "first", "second"]
        (lost,) = [name for name, node in nodes.items() if node == "second"]

        cluster.remove_node(second, allow_graceful=False)
        for name in nodes.keys() - {lost}:
            (tmp_path / name.replace("linger", "go")).touch()
        events = until_ended(engine, num_jobs=2)
        events += [] if any(isinstance(event, Stage) for event in events) else engine.events()
        (tmp_path / lost.replace("linger", "go")).touch()
        events += until_ended(engine)
        ends = [event for event in events if isinstance(event, Ended)]
        assert sorted(ended.job.name for ended in ends) == sorted(nodes), "each once"
        assert all(ended.died is None for ended in ends)
        again = [(event.job.name, event.what) for event in events if isinstance(event, Stage)]
        assert again == [(lost, "first")], "once more, elsewhere"

        engine.close()
        assert capfd.readouterr() == ("", "")
        assert not ray.is_initialized()
        ray.init(address=cluster.address, log_to_driver=False, logging_level="ERROR")  # the cluster is still there
