"""Jobs of a search without training, whose workers die when $LSTN_TEST_DEATHS says so. Imported by name in workers."""

import os
import signal
from collections.abc import Callable

from lstn_search.jobs.base import Ended, Job, WorkerSetup
from lstn_search.spec.results import TrialResult

DEATHS = "LSTN_TEST_DEATHS"
"""`NAME:N,...`: the worker is killed in the first N attempts at every job of this name."""
FACTS: dict[str, object] = {
    "data": {"name": "none", "fingerprint": "0", "mean": [0.5] * 3, "std": [0.5] * 3},
    "device": "cpu",
    "precision": "fp32",
}


def run_job(setup: WorkerSetup, job: Job, say: Callable[[str], None]) -> Ended:
    """Note the attempt, and die or pretend to have trained; nothing survives the first joint rung."""
    with (setup.folder / "logs" / "attempts").open("a") as file:
        file.write(f"{job.name}\n")
    deaths = dict(pair.split(":") for pair in os.environ[DEATHS].split(",") if pair)
    if job.attempt <= int(deaths.get(job.name, 0)):
        os.kill(os.getpid(), signal.SIGKILL)
    if job.kind == "prepare":
        return Ended(job=job, facts=FACTS)
    if job.arch is None:
        rungs = [TrialResult(status="ok", frozen_top1=20.0), TrialResult(status="ok", val_top1=20.0)]
        return Ended(job=job, facts={"rungs": [result.to_dict() for result in rungs]})
    if job.rung == 0:
        return Ended(job=job, result=TrialResult(status="ok", corner_error_px=len(job.arch.layers), frozen_top1=30.0))
    return Ended(job=job, result=TrialResult(status="collapsed", val_top1=9.0))
