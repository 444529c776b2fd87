"""How long a report takes and how large it is: python benchmarks/report.py [--sizes 100 10000] [--keep DIR]

Makes runs of any size whose results are invented (no training, no images, so no pictures before and after) and draws
their reports in a process of its own, as the command does. Prints a JSON line a report.
"""

import argparse
import contextlib
import json
import random
import re
import resource
import sqlite3
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from optuna.distributions import CategoricalDistribution, distribution_to_json
from optuna.trial import FrozenTrial, create_trial

from lstn_search.runs.entries import score
from lstn_search.runs.folder import RunFolder
from lstn_search.runs.storage import STUDY_FILE
from lstn_search.spec.arch import Arch
from lstn_search.spec.cost import fits
from lstn_search.spec.results import References, TrialResult
from lstn_search.spec.settings import SearchSettings
from lstn_search.spec.space import Choices, Space, load_space
from lstn_search.spec.task import Task
from lstn_search.study.study import CONSTRAINT, Study

ROOT = Path(__file__).resolve().parent.parent
BUDGET_GFLOPS = 0.03


def make_run(path: Path, num: int, seed: int = 0) -> RunFolder:
    """A run of the seed points and `num` architectures in `path`, one in three of a rung on the next one.

    Accuracy depends on the architecture's cost and on chance; one in twenty is dead or failed; one proposal in four was
    rejected.
    """
    space, rng = load_space("lstn"), random.Random(seed)
    settings = SearchSettings(
        task=Task(dataset="glyphs", seed=seed),
        budget_gflops=BUDGET_GFLOPS,
        space_name=space.name,
        space_digest=space.digest,
    )
    folder = RunFolder.create(path, settings, resume=False)
    try:
        Study(folder, space)  # makes the tables
        trials: list[FrozenTrial] = []
        rungs: list[FrozenTrial] = []
        for name, arch in space.seeds.items():
            trials.append(_trial(space, settings, len(trials), space.encode(arch) or {}, arch, name, rungs, rng))
        while sum(trial.user_attrs["kind"] == "trial" for trial in trials) < num:
            choices = space.sample(rng)
            arch = space.expand(choices)
            if not (fits(arch, settings.task.image_size) and fits(arch, settings.task.trial_size)):
                continue
            if settings.violation(arch) <= 0:
                trials.append(_trial(space, settings, len(trials), choices, arch, None, rungs, rng))
            elif rng.random() < 0.1:
                attrs = {"kind": "rejected"}
                trials.append(_told(space, choices, [-1e4, 1.0], settings.violation(arch), attrs))
        for study, rows in ((folder.study_name, trials), (folder.rungs_name, rungs)):
            _insert(path / STUDY_FILE, study, rows)
        control, oracle = (_reference(settings, top) for top in (58.0, 68.0))
        references = References(control=control, oracle=oracle).to_dict()
        counts = {"trained": num + len(space.seeds), "trials": num, "rejected": len(trials) - num, "duplicates": 0}
        data = {"fingerprint": "none", "val": 1200, "test": 1200}
        folder.write_manifest(data=data, references=references, counts=counts, seconds=3600.0, device="cpu")
    finally:
        folder.release()
    return folder


def _insert(file: Path, study: str, trials: list[FrozenTrial]) -> None:
    """Write trials into the tables of Optuna's SQLite file in one transaction: its own door takes 0.1 s a trial."""
    with contextlib.closing(sqlite3.connect(file)) as database, database:
        (study_id,) = database.execute("SELECT study_id FROM studies WHERE study_name = ?", (study,)).fetchone()
        (last,) = database.execute("SELECT coalesce(max(trial_id), 0) FROM trials").fetchone()
        for number, trial in enumerate(trials):
            key, now = last + 1 + number, "2026-01-01 00:00:00.000000"
            database.execute("INSERT INTO trials VALUES (?, ?, ?, 'COMPLETE', ?, ?)", (key, number, study_id, now, now))
            database.executemany(
                "INSERT INTO trial_values (trial_id, objective, value, value_type) VALUES (?, ?, ?, 'FINITE')",
                [(key, objective, value) for objective, value in enumerate(trial.values)],
            )
            database.executemany(
                "INSERT INTO trial_user_attributes (trial_id, key, value_json) VALUES (?, ?, ?)",
                [(key, name, json.dumps(value)) for name, value in trial.user_attrs.items()],
            )
            database.executemany(
                "INSERT INTO trial_params (trial_id, param_name, param_value, distribution_json) VALUES (?, ?, ?, ?)",
                [
                    (
                        key,
                        name,
                        trial.distributions[name].to_internal_repr(value),
                        distribution_to_json(trial.distributions[name]),
                    )
                    for name, value in trial.params.items()
                ],
            )


def _trial(
    space: Space,
    settings: SearchSettings,
    number: int,
    choices: Choices,
    arch: Arch,
    name: str | None,
    rungs: list[FrozenTrial],
    rng: random.Random,
) -> FrozenTrial:
    """An architecture, its rungs added to `rungs`."""
    over = settings.violation(arch)
    gflops = over + settings.budget_gflops
    skill = 55 + 10 * (gflops / settings.budget_gflops) ** 0.2 + rng.gauss(0, 2)
    first = None
    for rung in range(settings.ladder.top + 1):
        result = _invent(settings, skill, rung, rng)
        first = first or result
        attrs = {"trial": number, "name": name or f"t{number}", "rung": rung, "result": json.dumps(result.to_dict())}
        rungs.append(create_trial(values=[result.accuracy or 0.0, gflops], user_attrs=attrs))
        if result.status != "ok" or (name is None and rng.random() > 1 / settings.ladder.eta):
            break
    assert first is not None
    attrs = {"kind": "trial" if name is None else "seed", "name": name or f"t{number}", "arch": arch.to_json()}
    return _told(space, choices, [score(settings, first), gflops], over, attrs)


def _told(space: Space, choices: Choices, values: list[float], over: float, attrs: dict[str, str]) -> FrozenTrial:
    distributions = {}

    def suggest(name: str, possible: tuple[object, ...]) -> object:
        distributions[name] = CategoricalDistribution(possible)  # type: ignore[arg-type]
        return choices[name]

    params = space.walk(suggest) if choices else {}  # type: ignore[arg-type]
    return create_trial(
        values=values, params=params, distributions=distributions, user_attrs=attrs, constraints={CONSTRAINT: over}
    )


def _invent(settings: SearchSettings, skill: float, rung: int, rng: random.Random) -> TrialResult:
    chance = rng.random()
    seconds = 20 * rng.uniform(0.5, 1.5) * (1 + 2 * rung)
    if chance < 0.01:
        return TrialResult(status="failed", reason="the loss was not finite at step 17", seconds=seconds)
    spread, outside = rng.uniform(0.05, 0.25), rng.uniform(0.0, 0.1)
    if chance < 0.05:
        spread, outside = (0.004, 0.0) if chance < 0.03 else (0.3, 0.9)
    health = {"spread": spread, "out_of_frame": outside, "scale": rng.uniform(0.7, 1.2), "determinant": 0.8}
    status = "inert" if spread < 0.02 else "collapsed" if outside > 0.7 else "ok"
    if rung == 0:
        measured = {"alignment_mse": 0.03, "corner_error_px": 90 - skill, "frozen_top1": skill - 20 + rng.gauss(0, 1)}
        return TrialResult(status=status, seconds=seconds, recover_steps=500, **measured, **health)
    epochs, top1 = settings.ladder.epochs[rung - 1], skill - 8 / rung + rng.gauss(0, 0.7)
    history = tuple({"epoch": i + 1, "train_loss": rng.random(), "verdict": "alive", **health} for i in range(epochs))
    measured = {"val_top1": top1, "val_top5": top1 + 15, "val_clean_top1": top1 + 4, "val_clean_top5": top1 + 18}
    return TrialResult(status=status, seconds=seconds, epochs=epochs, **measured, **health, history=history)


def _reference(settings: SearchSettings, top1: float) -> tuple[TrialResult, ...]:
    joint = [
        TrialResult(status="ok", seconds=30.0 * i, epochs=epochs, val_top1=top1 - 10 / i, val_clean_top1=70.0)
        for i, epochs in enumerate(settings.ladder.epochs, start=1)
    ]
    return (TrialResult(status="ok", seconds=1.0, frozen_top1=top1 - 35), *joint)


def measure(path: Path, size: int) -> None:
    """Draw the report of the run in `path` as a user does."""
    start, cpu_before = time.perf_counter(), _cpu_seconds()
    command = [sys.executable, str(ROOT / "cli.py"), "report", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    seconds = time.perf_counter() - start
    said = re.search(r"(\d+) pictures, ([\d.]+) s", " ".join(done.stdout.split()))
    assert said is not None, done.stdout
    row = {
        "architectures": size,
        "seconds": round(seconds, 1),
        "cpu_seconds": round(_cpu_seconds() - cpu_before, 1),
        "seconds_said": float(said[2]),
        "pictures": int(said[1]),
        "megabytes": round((path / "report.html").stat().st_size / 1e6, 2),
    }
    print(json.dumps(row), flush=True)


def _cpu_seconds() -> float:
    """Of all processes started here that have ended: what is left of `seconds` on a machine with other work."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main() -> None:
    """Measure what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", nargs="*", type=int, default=[100, 10000], help="architectures besides seed points")
    parser.add_argument("--runs", nargs="*", type=Path, default=[], help="also draw these real runs (into them)")
    parser.add_argument("--keep", type=Path, help="a folder that keeps the runs, and is used again")
    parser.add_argument("--repeat", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        for size in options.sizes:
            path = (options.keep or Path(temporary)) / str(size)
            if not path.exists():
                make_run(path, size)
            for _ in range(options.repeat):
                measure(path, size)
        for path in options.runs:
            for _ in range(options.repeat):
                measure(path, sum(1 for _ in (path / "checkpoints").glob("*.pt")))


if __name__ == "__main__":
    main()
