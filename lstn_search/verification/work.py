"""What a worker does for a verification: train one finalist with one seed, and test it once."""

import dataclasses
from collections.abc import Callable

from lstn_search.jobs.base import Ended, Job, WorkerSetup

__all__ = ["run_job"]


def run_job(setup: WorkerSetup, job: Job, say: Callable[[str], None]) -> Ended:
    """Run one job in this process; torch is loaded here and not in the driver.

    All jobs of a seed share its warm backbone, which the first one trains and the others wait for; and from it, the
    batches and the warps. Raises LstnError where the user can cure it.
    """
    from lstn_search.jobs.work import workbench
    from lstn_search.train.evaluation import evaluate_arch, evaluate_reference

    assert job.seed is not None
    task = dataclasses.replace(setup.task, seed=job.seed)
    bench, warm = workbench(dataclasses.replace(setup, task=task), say)
    facts: dict[str, object] = {
        "fingerprint": bench.dataset.fingerprint,
        "device": str(bench.device),
        "autocast": bench.use_autocast,
    }
    if job.kind in ("control", "oracle"):
        oracle = job.kind == "oracle"
        row = evaluate_reference(bench, warm, setup.cache_dir, oracle=oracle, on_stage=say)
        facts["evaluation"] = row.to_dict()
    elif job.kind == "verify":
        assert job.arch is not None
        row, _ = evaluate_arch(bench, warm, job.arch, name=job.name, on_stage=say)
        facts["evaluation"] = row.to_dict()
    return Ended(job=job, facts=facts)
