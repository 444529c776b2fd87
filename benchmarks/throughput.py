"""How fast trials are on real Caltech-101, against the hand-written baseline and the bare arithmetic.

    python benchmarks/throughput.py stages   --data-dir DIR    a trial's stages against bare forward/backward/step
    python benchmarks/throughput.py ours     --data-dir DIR    eight architectures up the ladder on --workers processes
    python benchmarks/throughput.py baseline --data-dir DIR    the same eight by benchmarks/baseline.py
    python benchmarks/throughput.py ranking  FILE ...          what the JSON lines of `ours` say about rankings

Every part prints a JSON line a measurement and a summary at its end. Both sides train the same eight architectures:
`lstn`, `stn`, `vstn` and `light` of the space, and four random ones within 0.03 GFLOPs (seed 0).
"""

import argparse
import dataclasses
import itertools
import json
import os
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

from lstn_search.data.cache import default_cache_dir
from lstn_search.jobs.base import Ended, Job, WorkerSetup
from lstn_search.jobs.launch import run_job
from lstn_search.jobs.local import KEEP_MEMORY, LocalEngine
from lstn_search.spec import moves
from lstn_search.spec.arch import Arch
from lstn_search.spec.cost import cost, fits
from lstn_search.spec.ladder import Ladder
from lstn_search.spec.space import load_space
from lstn_search.spec.task import Task
from lstn_search.training.joint import JointTraining
from lstn_search.training.prepared import prepare
from lstn_search.training.recovery import RecoverTraining, build_localizer
from lstn_search.training.warm import Warm
from lstn_search.training.workbench import Batch, Workbench

BUDGET_GFLOPS = 0.03
IMAGES_FILE = "images.npy"


def eight() -> dict[str, Arch]:
    """The architectures both sides train."""
    space, rng = load_space("lstn"), random.Random(0)
    archs = {name: space.seeds[name] for name in ("lstn", "stn", "vstn", "light")}

    def affordable(arch: Arch) -> bool:
        return fits(arch, 64) and fits(arch, 224) and cost(arch, 224).gflops <= BUDGET_GFLOPS

    while len(archs) < 8:
        choices = moves.repair(space, space.sample(rng), affordable, rng)
        if choices is not None:
            archs[f"r{len(archs) - 4}"] = space.expand(choices)
    return archs


def say(**row: object) -> None:
    """A JSON line."""
    print(json.dumps(row), flush=True)


# -- ours --------------------------------------------------------------------------------------------------------------


def ours(options: argparse.Namespace, task: Task, archs: dict[str, Arch]) -> None:
    """All architectures up every rung of the ladder, rung by rung, on worker processes."""
    folder = options.folder or Path(tempfile.mkdtemp())
    ladder = Ladder.parse(options.ladder)
    setup = WorkerSetup(
        task=task, ladder=ladder, folder=folder, cache_dir=options.cache_dir, num_threads=options.threads
    )
    engine = LocalEngine(setup, options.workers, run_job)
    try:
        prepared = list(run_all(engine, [Job(kind="prepare", name=f"prepare {i}") for i in range(options.workers)]))
        assert all(ended.facts for ended in prepared), prepared
        for rung in range(options.first_rung, ladder.top + 1):
            start = time.perf_counter()
            jobs = [Job(kind="rung", name=name, arch=arch, rung=rung) for name, arch in archs.items()]
            for ended in run_all(engine, jobs):
                result = ended.result
                assert result is not None, ended
                say(
                    part="ours", workers=options.workers, backbone=task.backbone, name=ended.job.name, rung=rung,
                    **{key: value for key, value in result.to_dict().items() if key != "history"},
                    epoch_seconds=[row["seconds"] for row in result.history],
                )  # fmt: skip
            seconds = time.perf_counter() - start
            say(
                part="ours", summary=f"rung {rung}", workers=options.workers, threads=options.threads,
                backbone=task.backbone, epochs=ladder.epochs[rung - 1] if rung else 0, num=len(jobs), seconds=seconds,
                an_hour=3600 * len(jobs) / seconds, memory=memory(),
            )  # fmt: skip
    finally:
        engine.close()


def run_all(engine: LocalEngine, jobs: list[Job]) -> Iterator[Ended]:
    """Run jobs, as many at a time as there are slots."""
    waiting, running = iter(jobs), 0
    while True:
        for job in itertools.islice(waiting, engine.num_slots - running):
            engine.submit(job)
            running += 1
        if not running:
            return
        for event in engine.events(timeout=1.0):
            if isinstance(event, Ended):
                running -= 1
                yield event


def memory() -> dict[str, object]:
    """Peak resident MB of the driver and of each worker, and what it holds of the image cache (Linux)."""
    workers = []
    children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    for pid in children:
        status = Path(f"/proc/{pid}/status").read_text()
        cache = {"Rss": 0, "Pss": 0, "Private_Dirty": 0}
        inside = False
        for line in Path(f"/proc/{pid}/smaps").read_text().splitlines():
            word = line.split()[0]
            if not word.endswith(":"):
                inside = line.endswith(IMAGES_FILE)
            elif inside and word[:-1] in cache:
                cache[word[:-1]] += int(line.split()[1])
        peak = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))
        workers.append({"peak_mb": peak / 1024, **{f"cache_{key.lower()}_mb": kb / 1024 for key, kb in cache.items()}})
    return {"driver_peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, "workers": workers}


# -- the baseline ------------------------------------------------------------------------------------------------------


def baseline(options: argparse.Namespace, archs: dict[str, Arch]) -> None:
    """Run benchmarks/baseline.py and pass its lines on."""
    with tempfile.TemporaryDirectory() as temporary:
        file = Path(temporary) / "archs.json"
        file.write_text(json.dumps({name: arch.to_dict() for name, arch in archs.items()}))
        command = [sys.executable, str(Path(__file__).with_name("baseline.py")), "--data-dir", str(options.data_dir)]
        command += ["--backbone", options.backbone, "--epochs", str(options.epochs), "--archs", str(file)]
        if options.steps:
            command += ["--steps", str(options.steps)]
        start, rows = time.perf_counter(), []
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            for line in process.stdout:
                rows.append(json.loads(line))
                say(part="baseline", backbone=options.backbone, **rows[-1])
        assert process.returncode == 0
    epochs = [seconds for row in rows for seconds in row["epoch_seconds"]]
    rest = [row["seconds"] - sum(row["epoch_seconds"]) for row in rows]
    say(
        part="baseline", summary="all", backbone=options.backbone, epochs=options.epochs, steps=options.steps,
        num=len(rows), seconds=time.perf_counter() - start, an_hour=3600 * len(rows) / sum(r["seconds"] for r in rows),
        epoch_seconds=statistics.median(epochs), rest_seconds=statistics.median(rest),
    )  # fmt: skip


# -- stage by stage against the bare arithmetic ------------------------------------------------------------------------

Timed = tuple[Callable[[], object], Callable[[], object]]
"""A stage as a trial runs it, and its bare arithmetic on the same tensors, which are made beforehand."""


def stages(options: argparse.Namespace, task: Task, archs: dict[str, Arch]) -> None:
    """Every stage of a trial against its bare forward/backward/step; recover is timed for an epoch's worth of steps.

    Both sides run in a process that keeps its memory, as workers do.
    """
    if not KEEP_MEMORY.items() <= os.environ.items():  # read by malloc as a process starts
        os.execve(sys.executable, [sys.executable, *sys.argv], os.environ | KEEP_MEMORY)
    torch.set_num_threads(options.threads)
    prepared = prepare(task, options.cache_dir, lambda what: None)
    bench, warm = prepared.bench, prepared.warm
    assert warm is not None
    bench.task = dataclasses.replace(task, recover_steps=bench.batches_per_epoch)
    totals = [[0.0, 0.0] for _ in range(options.repeats)]
    for name, arch in archs.items():
        for stage, (trial, bare) in timed_stages(bench, warm, arch).items():
            times = {"recover": task.recover_steps / bench.batches_per_epoch, "joint epoch": task.epochs}.get(stage, 1)
            pairs = [in_turn(trial, bare, trial_first=repeat % 2 == 0) for repeat in range(options.repeats)]
            for total, pair in zip(totals, pairs, strict=True):
                total[0] += times * pair[0]
                total[1] += times * pair[1]
            ratio = None if stage == "build" else statistics.median(trial / bare for trial, bare in pairs)
            say(part="stages", name=name, stage=stage, times=times, ratio=ratio, pairs=pairs)
    ratios = [trial / bare for trial, bare in totals]
    say(
        part="stages", summary="trial", backbone=task.backbone, threads=options.threads, num=len(archs),
        autocast=bench.use_autocast, recover_steps=task.recover_steps, epochs=task.epochs,
        ratio=statistics.median(ratios), ratios=ratios,
    )  # fmt: skip


def in_turn(trial: Callable[[], object], bare: Callable[[], object], *, trial_first: bool) -> tuple[float, float]:
    """Seconds of both, one after the other."""
    seconds = {}
    for side in (trial, bare) if trial_first else (bare, trial):
        start = time.perf_counter()
        side()
        seconds[side] = time.perf_counter() - start
    return seconds[trial], seconds[bare]


def timed_stages(bench: Workbench, warm: Warm, arch: Arch) -> dict[str, Timed]:
    """What a trial of this architecture consists of, by name."""
    recover_batches = list(bench.train_batches("recover", 0, bench.recover_view))
    targets = [batch.target_B23 for batch in recover_batches if batch.target_B23 is not None]
    val_batches = list(bench.eval_batches(bench.dataset.val_I, bench.view))
    clean_batches = list(bench.eval_batches(bench.dataset.val_I, None))
    joint_batches = list(bench.train_batches("joint", 1, bench.view))

    def build() -> JointTraining:
        return JointTraining(bench, build_localizer(bench, arch), warm.backbone(bench), view=bench.view)

    training, model, alone = build(), build().model, build_localizer(bench, arch)
    transformer = model.transformer
    assert transformer is not None
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4, fused=True)
    optimizer_alone = torch.optim.Adam(alone.parameters(), lr=1e-4, fused=True)

    def step(loss: torch.Tensor, optimizer: torch.optim.Optimizer) -> None:
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()

    def recover() -> None:
        recovering = RecoverTraining(bench, build_localizer(bench, arch))
        recovering.run_to(bench.task.recover_steps)
        recovering.measure()

    def bare_recover() -> None:
        alone.train()
        for batch, target_B23 in zip(recover_batches, targets, strict=True):
            with bench.autocast():
                theta_B23 = alone(batch.x_BCHW)
            step(F.mse_loss(theta_B23.float(), target_B23), optimizer_alone)
        bare_forward(alone, val_batches)

    def bare_epoch() -> None:
        model.train()
        for batch in joint_batches:
            with bench.autocast():
                logits_BK, _ = model(batch.x_BCHW)
            step(F.cross_entropy(logits_BK.float(), batch.labels_B), optimizer)

    @torch.no_grad()
    def bare_forward(module: nn.Module, batches: list[Batch]) -> None:
        module.eval()
        for batch in batches:
            with bench.autocast():
                module(batch.x_BCHW)

    return {
        "build": (build, lambda: None),
        "recover": (recover, bare_recover),
        "frozen score": (
            lambda: bench.evaluate(model, bench.dataset.val_I, view=bench.view),
            lambda: bare_forward(model, val_batches),
        ),
        "joint epoch": (training.run_epoch, bare_epoch),
        "measure": (training.measure, lambda: bare_forward(model, val_batches + clean_batches)),
    }


# -- rankings ----------------------------------------------------------------------------------------------------------


def ranking(files: list[Path]) -> None:
    """How each measure of each rung orders the architectures: Kendall's tau with the accuracy of the highest rung."""
    rows = [json.loads(line) for file in files for line in file.read_text().splitlines()]
    rungs: dict[int, dict[str, dict[str, float]]] = {}
    for row in rows:
        if row["part"] == "ours" and "summary" not in row:
            rungs.setdefault(row["rung"], {})[row["name"]] = row
    top = max(rungs)
    for rung, of_rung in sorted(rungs.items()):
        names = sorted(of_rung.keys() & rungs[top].keys())
        truth = [rungs[top][name]["val_top1"] for name in names]
        for measure, sign in {"corner_error_px": -1, "frozen_top1": 1, "val_top1": 1}.items():
            if all(of_rung[name][measure] is not None for name in names):
                measured = [sign * of_rung[name][measure] for name in names]
                say(part="ranking", rung=rung, measure=measure, num=len(names), tau=kendall_tau(measured, truth))
    by_hand = {row["name"]: row["val_top1"] for row in rows if row["part"] == "baseline" and "summary" not in row}
    if by_hand:
        names = sorted(by_hand.keys() & rungs[top].keys())
        tau = kendall_tau([by_hand[name] for name in names], [rungs[top][name]["val_top1"] for name in names])
        say(part="ranking", measure="baseline's accuracy", num=len(names), tau=tau)


def kendall_tau(a: list[float], b: list[float]) -> float:
    """Tau-a: agreeing less disagreeing pairs over all pairs."""
    pairs = list(itertools.combinations(zip(a, b, strict=True), 2))
    signs = [(x[0] - y[0]) * (x[1] - y[1]) for x, y in pairs]
    return sum((sign > 0) - (sign < 0) for sign in signs) / len(pairs)


def main() -> None:
    """Measure what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("part", choices=["ours", "baseline", "stages", "ranking"])
    parser.add_argument("files", nargs="*", type=Path, help="ranking: JSON lines of the other parts")
    parser.add_argument("--data-dir", default=os.environ.get("LSTN_DATA_DIR"))
    parser.add_argument("--cache-dir", type=Path, default=default_cache_dir())
    parser.add_argument("--backbone", default="test_resnet")
    parser.add_argument("--archs", nargs="*", choices=list(eight()), help="some of the eight")
    parser.add_argument("--epochs", type=int, default=4, help="baseline: to train; stages: of the trial added up")
    parser.add_argument("--recover-steps", type=int, default=500)
    parser.add_argument("--warm-epochs", type=int, default=12, help="fewer where only time is measured")
    parser.add_argument("--steps", type=int, help="baseline: end an epoch after so many")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--threads", type=int, default=1, help="of each worker")
    parser.add_argument("--ladder", default="2,6,18")
    parser.add_argument("--first-rung", type=int, default=0, help="go on with --folder from this rung")
    parser.add_argument("--folder", type=Path, help="where checkpoints are kept")
    parser.add_argument("--repeats", type=int, default=3, help="stages: pairs of measurements")
    options = parser.parse_args()
    if options.part == "ranking":
        ranking(options.files)
        return
    archs = {name: arch for name, arch in eight().items() if name in (options.archs or eight())}
    task = Task(
        dataset="caltech101", data_dir=options.data_dir, backbone=options.backbone, epochs=options.epochs,
        recover_steps=options.recover_steps, warm_epochs=options.warm_epochs, device="cpu",
    )  # fmt: skip
    if options.part == "baseline":
        baseline(options, archs)
    else:
        {"ours": ours, "stages": stages}[options.part](options, task, archs)


if __name__ == "__main__":
    main()
