"""A whole search on a Ray cluster of two nodes, one of which is gone before its end."""

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from small_search import LADDER, NUM_SEEDS, make_settings
from small_training import same_numbers, small_task

from lstn_search.jobs.base import Engine, WorkerSetup
from lstn_search.jobs.launch import run_job
from lstn_search.jobs.ray import RayEngine
from lstn_search.runs.entries import Entry
from lstn_search.runs.run import Run, open_run
from lstn_search.spec.ladder import Ladder
from lstn_search.spec.space import Space
from lstn_search.spec.task import Task
from lstn_search.study.search import Search, SearchWatcher, search

pytestmark = pytest.mark.usefixtures("unproved")

NUM_TRIALS = 1


@pytest.fixture
def cluster() -> Iterator[Any]:
    """A Ray cluster of one node with one core, to which another is added."""
    ray = pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    yield cluster
    ray.shutdown()
    cluster.shutdown()


class Saboteur(SearchWatcher):
    """A watcher that takes the second node away, at work, once three rungs are recorded."""

    def __init__(self, cluster: Any) -> None:
        self.cluster, self.second = cluster, cluster.add_node(num_cpus=1)
        self.seen: list[tuple[str, int]] = []
        self.num_slots = 0

    def on_result(self, source: Search, result: Entry) -> None:
        self.seen.append((result.candidate.name, result.rung))
        if len(self.seen) == 3:
            self.cluster.remove_node(self.second, allow_graceful=False)


def test_a_search_that_loses_a_node_loses_no_finished_result(
    cluster: Any, small_run: Run, small_space: Space, small_dataset: Path, small_cache: Path, tmp_path: Path
) -> None:
    saboteur = Saboteur(cluster)

    def make_engine(task: Task, ladder: Ladder, folder: Path) -> Engine:
        setup = WorkerSetup(task=task, ladder=ladder, folder=folder.resolve(), cache_dir=small_cache)
        engine = RayEngine(setup, None, run_job, address=cluster.address)
        saboteur.num_slots = engine.num_slots
        return engine

    settings = make_settings(small_space, small_task(small_dataset, recover_steps=60), ladder=LADDER, sampler="random")
    run = search(small_space, settings, tmp_path / "run", make_engine, trials=NUM_TRIALS, watcher=saboteur)
    assert saboteur.num_slots == 2
    assert set(Counter(saboteur.seen).values()) == {1}, "every rung is recorded once"

    read = open_run(tmp_path / "run")
    assert {(entry.candidate.name, rung) for entry in read.entries for rung in range(len(entry.results))} == {
        *saboteur.seen
    }
    assert len(run.entries) == NUM_SEEDS + NUM_TRIALS
    assert all(result.status != "failed" for entry in run.entries for result in entry.results)
    for entry in small_run.entries:
        if entry.candidate.is_seed:
            ours = run.find(entry.candidate.name)
            assert [same_numbers(result) for result in ours.results] == [same_numbers(r) for r in entry.results]
    assert json.loads((tmp_path / "run" / "manifest.json").read_text())["counts"]["trials"] == NUM_TRIALS
