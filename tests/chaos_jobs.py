"""Jobs of a search without training, whose workers die or hang when the environment says so.

Imported by name in workers, so it imports little, and no torch. Checkpoints are real files, whole or not there, of
made-up weights.
"""

import io
import os
import random
import signal
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

from lstn_search.atomic import write_atomically
from lstn_search.errors import RunError
from lstn_search.jobs.base import Ended, Job, WorkerSetup
from lstn_search.runs.folder import checkpoint_file
from lstn_search.spec.results import TrialResult

__all__ = ["DEATHS", "HANGS", "run_job"]

DEATHS = "LSTN_TEST_DEATHS"
"""`NAME:N,...`: the worker is killed in the first N attempts at every job of this name."""
HANGS = "LSTN_TEST_HANGS"
"""The name of an architecture whose jobs never end."""
SECONDS = 0.1
"""That a job takes."""
FACTS: dict[str, object] = {
    "data": {"name": "none", "fingerprint": "0", "mean": [0.5] * 3, "std": [0.5] * 3},
    "device": "cpu",
    "precision": "fp32",
}


def run_job(setup: WorkerSetup, job: Job, say: Callable[[str], None]) -> Ended:
    """Note the attempt, and die, hang or pretend to have trained; what is pretended follows from the architecture."""
    with (setup.folder / "logs" / "attempts").open("a") as file:
        file.write(f"{job.name}\n")
    deaths = dict(pair.split(":") for pair in os.environ.get(DEATHS, "").split(",") if pair)
    if job.attempt <= int(deaths.get(job.name, 0)):
        os.kill(os.getpid(), signal.SIGKILL)
    say("pretending")
    while job.name == os.environ.get(HANGS):
        time.sleep(1)
    time.sleep(SECONDS)
    if job.kind == "prepare":
        return Ended(job=job, facts=FACTS)
    epochs = (0, *setup.ladder.epochs)
    if job.arch is None:
        rungs = [_result(top1, num) for top1, num in zip((20.0, 40.0, 45.0, 50.0), epochs, strict=False)]
        return Ended(job=job, facts={"rungs": [result.to_dict() for result in rungs]})
    _save(checkpoint_file(setup.folder, job.arch, job.rung), random.Random(job.arch.digest).randbytes(100_000))
    return Ended(job=job, result=_result(50 + random.Random(job.arch.digest).uniform(-5, 5), epochs[job.rung]))


def _result(top1: float, epochs: int) -> TrialResult:
    if epochs == 0:
        return TrialResult(status="ok", corner_error_px=9 - top1 / 10, frozen_top1=top1, seconds=1.0)
    return TrialResult(status="ok", val_top1=top1 + epochs, epochs=epochs, seconds=1.0)


def _save(file: Path, weights: bytes) -> None:
    """As `save_checkpoint` does it; torch's files are archives, too."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("made up", weights)
    try:
        write_atomically(file, buffer.getvalue())
    except OSError as error:
        raise RunError(f"{file} cannot be written ({error.strerror}); make room") from None
