"""Workers on a Ray cluster: one actor a slot, each with a worker process of its own beside it.

An actor only minds a `LocalEngine` of one worker on its node, so a job that crashes is a job that died, with the same
reason as on one machine, while an actor that dies is a lost node: its job is run again elsewhere, up to `MAX_RERUNS`
times. Jobs wait in one queue and any actor takes the next, so a slot that finds no room in the cluster holds up none.

Why actors and not Ray Tune with our jobs as its trials: a Tune whose searcher had no job when asked does not ask again
for about two seconds. With `reuse_actors`, no-op jobs and a driver that takes 20 ms to think of the next one, Tune took
2.0 s from submit to start (50 jobs on 1 slot, or 100 on 2: 101 s); these actors take 3 ms. With a queue that is never
empty Tune needs 14 ms a job, but what a search asks for next depends on what has ended. (ray 2.60, 2 cores)

What all nodes must reach, on the same path: the run folder and the cache (they hold the checkpoints, the decoded images
and the warm backbone) and the images themselves. Where the first two are not shared, `storage_path` names a folder that
is: workers then use `STORAGE_PATH/<run's name>-<hash of its path>` and `STORAGE_PATH/cache` in their stead.
"""

import contextlib
import dataclasses
import hashlib
import logging
import math
import os
import pickle
import socket
import sys
import time
import uuid
from collections import deque
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from lstn_search.errors import SettingError, why
from lstn_search.jobs.base import Ended, Event, Job, RunJob, WorkerSetup
from lstn_search.jobs.local import LocalEngine
from lstn_search.jobs.machine import num_cores, python_path
from lstn_search.spec.fields import expanded

__all__ = ["RayEngine"]

MAX_RERUNS = 3
"""How often a job is run again because its node was lost, before that counts as a death."""
FIND_SECONDS = 60.0
"""How long a new file may take to show on another node; NFS remembers for up to a minute what was not there."""
STOP_SECONDS = 10.0
KNOCK_SECONDS = 10.0
OBJECT_STORE_BYTES = 128 * 2**20
"""Of a Ray of our own; only jobs and results pass through it."""


@dataclasses.dataclass(slots=True)
class _Order:
    job: Job
    num_lost: int = 0


@dataclasses.dataclass(slots=True)
class _Worker:
    actor: Any
    is_ready: Any
    """Reference to what is wrong with its node; None once it is known that nothing is."""
    order: _Order | None = None
    stream: Any = None
    """The job's events, as Ray hands them over."""

    @property
    def is_idle(self) -> bool:
        return self.is_ready is None and self.order is None


class RayEngine:
    """Runs up to `num_slots` jobs at a time on a Ray cluster."""

    def __init__(
        self,
        setup: WorkerSetup,
        num_workers: int | None,
        run_job: RunJob,
        *,
        address: str | None = None,
        resources_per_job: Mapping[str, float] | None = None,
        storage_path: str | Path | None = None,
    ) -> None:
        """Connect to the cluster at `address` (or $RAY_ADDRESS), or start a Ray of our own on this machine.

        `num_workers` None means as many as the cluster has room for. `resources_per_job` counts `cpu`, `gpu` (0.5: two
        jobs share one) and a cluster's own resources; None means one core and, where the cluster has GPUs, one GPU.
        Raises SettingError for what cannot be had.
        """
        if num_workers is not None and num_workers < 1:
            raise SettingError(f"workers must be at least 1, got {num_workers}")
        check_resources(resources_per_job or {})
        self.setup = on_storage(setup, storage_path)
        self._ray = _import_ray()
        self._owns_connection = not self._ray.is_initialized()
        address = address or os.environ.get("RAY_ADDRESS") or "local"
        may_grow = address != "local" or not self._owns_connection
        if self._owns_connection:
            self._connect(address, num_workers, resources_per_job or {"cpu": 1})
        try:
            resources = dict(resources_per_job or self._default_resources())
            room = self._room(resources)
            if not room and not (num_workers and may_grow):
                raise SettingError(f"no node of the Ray cluster has room for a job ({_words(resources)}); ask for less")
            if not resources.get("gpu") and self.setup.task.device == "auto":  # it sees GPUs that are others'
                self.setup = dataclasses.replace(self.setup, task=dataclasses.replace(self.setup.task, device="cpu"))
            self.num_slots = num_workers or room
            self._marker = self._leave_marker()
        except BaseException:
            self._disconnect()
            raise
        self._actor_class = self._ray.remote(_Host).options(
            num_cpus=resources.pop("cpu", 0), num_gpus=resources.pop("gpu", 0), resources=resources, max_restarts=0
        )
        self._host_settings = (pickle.dumps(run_job), str(Path.cwd()), python_path(), _settings_of_environment())
        self._workers: list[_Worker] = []
        self._num_started = 0
        self._waiting: deque[_Order] = deque()
        self._events: list[Event] = []

    def submit(self, job: Job) -> None:
        """Queue the job for the next idle actor, starting one if need be."""
        self._waiting.append(_Order(job))
        self._dispatch()

    def events(self, timeout: float | None = None) -> list[Event]:
        """What happened since the last call; a lost node is no event unless it was lost too often.

        Waits until something happens or `timeout` seconds are over; with neither timeout nor job, returns at once.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            self._dispatch()
            seconds_left = None if deadline is None else max(0.0, deadline - time.monotonic())
            heard_from = {worker.stream or worker.is_ready: worker for worker in self._workers if not worker.is_idle}
            if heard_from and not self._events:
                sources = list(heard_from)
                self._ray.wait(sources, timeout=seconds_left, fetch_local=False)
                ready, _ = self._ray.wait(sources, num_returns=len(sources), timeout=0, fetch_local=False)
                for source in ready:
                    self._listen(heard_from[source])
            elif not self._events:
                time.sleep(seconds_left or 0)
            if self._events or not heard_from or (deadline is not None and time.monotonic() >= deadline):
                events, self._events = self._events, []
                return events

    def close(self) -> None:
        """Kill every actor with its worker; stop Ray if it was started here, leave a cluster as it is."""
        self._marker.unlink(missing_ok=True)
        if not self._ray.is_initialized():
            return
        actors = [worker.actor for worker in self._workers]
        for worker in list(self._workers):
            self._discard(worker)
        self._waiting.clear()
        farewells = [actor.find.remote("", 0) for actor in actors]  # an error as soon as the actor is gone
        if farewells:
            self._ray.wait(farewells, num_returns=len(farewells), timeout=STOP_SECONDS)
        self._disconnect()

    # -- actors and jobs -----------------------------------------------------------------------------------------

    def _dispatch(self) -> None:
        """Give waiting jobs to idle actors, and ask for an actor for every job that found none."""
        for worker in self._workers:
            if self._waiting and worker.is_idle:
                worker.order = self._waiting.popleft()
                worker.stream = worker.actor.run.options(num_returns="streaming").remote(worker.order.job)
        num_starting = sum(worker.is_ready is not None for worker in self._workers)
        num_wanted = min(len(self._waiting) - num_starting, self.num_slots - len(self._workers))
        for _ in range(num_wanted):
            actor = self._actor_class.remote(self.setup, *self._host_settings, self._num_started)
            self._num_started += 1
            self._workers.append(_Worker(actor, is_ready=actor.find.remote(str(self._marker), FIND_SECONDS)))

    def _listen(self, worker: _Worker) -> None:
        """Take the next thing an actor has to say, which is there already."""
        try:
            if worker.stream is None:
                missing_on = self._ray.get(worker.is_ready)
                worker.is_ready = None
                if missing_on is not None:
                    self._discard(worker)
                    reason = (
                        f"node {missing_on} of the Ray cluster does not see {self.setup.folder}; put the run folder "
                        "on storage that every node reaches, or name such a folder with --storage-path"
                    )
                    self._events += [Ended(job=order.job, user_error=reason) for order in self._waiting]
                    self._waiting.clear()
                return
            event: Event = self._ray.get(next(worker.stream))
        except self._ray.exceptions.RayError as error:
            self._lose(worker, error)
            return
        assert worker.order is not None
        self._events.append(dataclasses.replace(event, job=worker.order.job))
        if isinstance(event, Ended):
            worker.order = worker.stream = None

    def _lose(self, worker: _Worker, error: Exception) -> None:
        """The actor is gone: its job goes to the head of the queue, unless it has been lost too often."""
        self._discard(worker)
        if worker.order is not None:
            self._waiting.appendleft(worker.order)
        if not self._waiting:  # it died while it started, and nobody needs it any more
            return
        self._waiting[0].num_lost += 1
        if self._waiting[0].num_lost > MAX_RERUNS:
            job = self._waiting.popleft().job
            reason = f"its node was lost {MAX_RERUNS + 1} times; Ray says: {_reason(error)}"
            self._events.append(Ended(job=job, died=reason))

    def _discard(self, worker: _Worker) -> None:
        self._workers.remove(worker)
        with contextlib.suppress(Exception):  # gone
            self._ray.kill(worker.actor)

    # -- the cluster ---------------------------------------------------------------------------------------------

    def _connect(self, address: str, num_workers: int | None, resources: Mapping[str, float]) -> None:
        if address.startswith("ray://"):
            raise SettingError(f"{address} is a Ray Client address; start the search on a node of the cluster instead")
        self._print_node_logs(False)
        quiet = {"log_to_driver": False, "logging_level": logging.ERROR}
        try:
            if address != "local":
                _knock(address)
                self._ray.init(address=address, **quiet)
            else:
                self._ray.init(
                    address="local",
                    num_cpus=max(num_cores(), math.ceil((num_workers or 1) * resources.get("cpu", 0))),
                    include_dashboard=False,
                    object_store_memory=OBJECT_STORE_BYTES,
                    **quiet,
                )
        except (ConnectionError, RuntimeError, ValueError, OSError) as error:
            where = "start Ray on this machine" if address == "local" else f"reach the Ray cluster at {address}"
            raise SettingError(f"cannot {where}: {_reason(error)}; see `ray status`") from None

    def _disconnect(self) -> None:
        if self._owns_connection:
            self._ray.shutdown()
            self._print_node_logs(True)

    def _print_node_logs(self, wanted: bool) -> None:
        """Whether Ray prints the logs of lost nodes to stdout. There is no public switch; without this one it does."""
        with contextlib.suppress(AttributeError):
            worker = self._ray._private.worker
            if hasattr(worker, "_worker_logs_enabled"):
                worker._worker_logs_enabled = wanted

    def _default_resources(self) -> dict[str, float]:
        wants_gpu = self.setup.task.device not in ("cpu", "mps") and self._ray.cluster_resources().get("GPU", 0) > 0
        return {"cpu": 1, "gpu": 1} if wants_gpu else {"cpu": 1}

    def _room(self, resources: Mapping[str, float]) -> int:
        names = {"cpu": "CPU", "gpu": "GPU"}
        needs = {names.get(name, name): amount for name, amount in resources.items() if amount}
        nodes = [node["Resources"] for node in self._ray.nodes() if node["Alive"]]
        return sum(int(min(node.get(name, 0) / amount for name, amount in needs.items())) for node in nodes)

    def _leave_marker(self) -> Path:
        """A file in the folder of the checkpoints, by which a node shows that it sees the same folder."""
        marker = self.setup.folder / f".ray-{uuid.uuid4().hex[:8]}"
        try:
            self.setup.folder.mkdir(parents=True, exist_ok=True)
            for left_over in self.setup.folder.glob(".ray-*"):
                left_over.unlink()
            marker.touch()
        except OSError as error:
            raise SettingError(f"{self.setup.folder} cannot be written {why(error, 'choose another')}") from None
        return marker


class _Host:
    """The actor: minds one worker process on its node."""

    def __init__(
        self, setup: WorkerSetup, run_job: bytes, folder: str, path: list[str], environment: dict[str, str], number: int
    ) -> None:
        with contextlib.suppress(OSError):  # relative paths mean the driver's folder, where there is one
            os.chdir(folder)
        os.environ.update(environment)
        sys.path += [entry for entry in path if entry not in sys.path]
        self._engine = LocalEngine(setup, 1, run_job, first_slot=number)

    def find(self, marker: str, seconds: float) -> str | None:
        """None if this node sees the file within so many seconds, else the node's address."""
        import ray

        deadline = time.monotonic() + seconds
        while not Path(marker).exists():
            if time.monotonic() > deadline:
                return str(ray.util.get_node_ip_address())  # type: ignore[no-untyped-call]
            time.sleep(0.5)
        return None

    def run(self, job: Job) -> Iterator[Event]:
        """Run a job: its stages, and its end."""
        self._engine.submit(job)
        while True:
            for event in self._engine.events():
                yield event
                if isinstance(event, Ended):
                    return


def check_resources(resources: Mapping[str, float]) -> None:
    """Raise SettingError unless they are numbers Ray can count: above 0, whole or (below 1) a share."""
    for name, amount in resources.items():
        if isinstance(amount, bool) or not isinstance(amount, int | float) or not 0 <= amount < math.inf:
            raise SettingError(f"a job's {name} must be a number of at least 0, got {amount!r}")
        if name == "gpu" and amount > 1 and amount != int(amount):
            raise SettingError(f"a job's gpu must be a whole number or a share below 1, got {amount}")
    if resources and not any(resources.values()):
        raise SettingError(f"a job needs some resource, got {_words(resources)}; try cpu=1")


def on_storage(setup: WorkerSetup, storage_path: str | Path | None) -> WorkerSetup:
    """The setup with absolute paths, on the shared storage if there is one."""
    folder, cache_dir = setup.folder.resolve(), setup.cache_dir.resolve()
    if storage_path is not None:
        if "://" in str(storage_path):
            raise SettingError(f"the storage path must be a folder that every node mounts, got {storage_path}")
        shared = expanded(storage_path).resolve()
        name = f"{folder.name}-{hashlib.sha256(str(folder).encode()).hexdigest()[:8]}"
        folder, cache_dir = shared / name, shared / "cache"
    return dataclasses.replace(setup, folder=folder, cache_dir=cache_dir)


def _import_ray() -> Any:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ImportError:
        raise SettingError("the ray engine needs Ray, which is not installed; pip install 'lstn-search[ray]'") from None
    return ray


def _knock(address: str) -> None:
    """Raise OSError unless somebody answers at host:port; Ray itself would wait for minutes."""
    host, _, port = address.rpartition(":")
    if address != "auto" and not (host and port.isascii() and port.isdecimal() and 0 < int(port) < 2**16):
        raise ValueError("that is no HOST:PORT")
    if host:
        socket.create_connection((host, int(port)), timeout=KNOCK_SECONDS).close()


def _settings_of_environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name.startswith("LSTN_")}


def _words(resources: Mapping[str, float]) -> str:
    return ", ".join(f"{name}={amount:g}" for name, amount in resources.items())


def _reason(error: Exception) -> str:
    """The last line of a Ray error, which is the one that says why."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines or [type(error).__name__])[-1][:300]
