"""Trainings of a verification that are made up. Imported by name in workers, so it imports little."""

import os
import random
import signal
from collections.abc import Callable
from typing import Any

from lstn_search.jobs.base import Ended, Job, WorkerSetup
from lstn_search.spec.results import TrialResult
from lstn_search.spec.seeding import seed_of

__all__ = ["DEATHS", "FACTS", "evaluation", "pretend", "scores"]

DEATHS = "LSTN_TEST_DEATHS"
"""`NAME:N,...`: the worker is killed in the first N attempts at the job of this name, such as `good 1000`."""
FACTS = {"fingerprint": "f" * 64, "poses_fingerprint": "", "classes": 6, "train": 360, "val": 120, "test": 60}
"""What a manifest says about the images."""


def scores(name: str, seed: int) -> tuple[float, float]:
    """A made-up (validation, test) accuracy in percent: always the same for the same name and seed."""
    base = {"control": 40.0, "oracle": 80.0, "good": 65.0}.get(name, 60.0)
    rng = random.Random(seed_of(seed, name))
    return rng.gauss(base, 1), rng.gauss(base, 1)


def pretend(setup: WorkerSetup, job: Job, say: Callable[[str], None]) -> Ended:
    """Note the attempt, then die, or make up a training."""
    with (setup.folder / "attempts").open("a") as file:
        file.write(f"{job.kind} {job.name}\n")
    deaths = dict(pair.split(":") for pair in os.environ.get(DEATHS, "").split(",") if pair)
    if job.attempt <= int(deaths.get(job.name, 0)):
        os.kill(os.getpid(), signal.SIGKILL)
    assert job.seed is not None
    say("pretending")
    if job.kind == "prepare":
        return Ended(job=job, facts={"data": FACTS, "device": "cpu", "precision": "fp32"})
    made_up = evaluation(*scores(job.name.split()[0], job.seed))
    return Ended(job=job, facts={"evaluation": made_up, "device": "cpu", "autocast": False})


def evaluation(val: float, test: float, **result: Any) -> dict[str, Any]:
    """As `lstn_search.training.evaluation.Evaluation` writes it."""
    measured = TrialResult(**{"status": "ok", "val_top1": val, "epochs": 2, "seconds": 1.0, **result})
    images = {"top5": 100.0, "num": 60}
    tested = measured.status != "failed"
    return {
        "name": "made up",
        "params": None,
        "gflops": None,
        "result": measured.to_dict(),
        "test": {"top1": test, **images} if tested else None,
        "test_clean": {"top1": test + 5, **images} if tested else None,
    }
