"""Kill a search at random instants, resume it, and count what is lost: python benchmarks/chaos.py --kills 50 --seed 0

Real processes, a real study, real kill -9. A campaign is one search (`cli.py search`, two workers, a tiny dataset) that
is killed up to six times, its driver or one of its workers, and resumed until it is finished. Needs Linux (/proc).

lost      a result that was recorded, or printed as finished, and is not in the study (or not the same) later
twice     a rung of an architecture recorded twice, or a network trained twice
orphan    a process of a killed driver that is still there after three seconds
refusal   a resumed search that ends with an error
broken    anything else: a torn checkpoint or table, a finished search that is not complete
"""

import argparse
import contextlib
import csv
import dataclasses
import json
import os
import platform
import random
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
import uuid
import zipfile
from collections import Counter
from pathlib import Path

from lstn_search.spec.space import load_space

ROOT = Path(__file__).resolve().parent.parent
MAX_KILLS = 6
"""In one campaign: it should come to an end, too."""
ORPHAN_SECONDS = 3.0
TRIALS = 12
MARK = "LSTN_CHAOS_MARK"
"""An environment variable by which a driver and everything it started can be found."""
RUNG_LINE = re.compile(r"^ *\d+:\d\d  (\S+) +[\d.]+ +[\d,]+ +\d", re.MULTILINE)

Results = dict[tuple[int, int], tuple[str, str]]
"""(trial, rung) -> (the architecture's name, its result as JSON)."""


@dataclasses.dataclass(kw_only=True)
class Tally:
    """What has happened; each string is one line about one incident."""

    driver_kills: int = 0
    worker_kills: int = 0
    campaigns: int = 0
    results: int = 0
    """Rungs recorded in all campaigns."""
    lost: list[str] = dataclasses.field(default_factory=list)
    twice: list[str] = dataclasses.field(default_factory=list)
    orphans: list[str] = dataclasses.field(default_factory=list)
    refusals: list[str] = dataclasses.field(default_factory=list)
    broken: list[str] = dataclasses.field(default_factory=list)

    @property
    def kills(self) -> int:
        """Of drivers and workers."""
        return self.driver_kills + self.worker_kills

    @property
    def incidents(self) -> list[str]:
        """Everything that must not happen."""
        return self.lost + self.twice + self.orphans + self.refusals + self.broken


class Victim:
    """One process `cli.py search`, what it prints, and everything it started."""

    def __init__(self, command: list[str], log: Path) -> None:
        self.mark = uuid.uuid4().hex
        self.log = log
        environment = {**os.environ, MARK: self.mark, "OMP_NUM_THREADS": "1"}
        with log.open("ab") as file:
            self.start = file.tell()
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=file, stderr=file, env=environment, cwd=ROOT,
                start_new_session=True,
            )  # fmt: skip

    @property
    def output(self) -> str:
        """What it has printed so far."""
        return self.log.read_bytes()[self.start :].decode(errors="replace")

    @property
    def finished_rungs(self) -> list[str]:
        """The names of the architectures whose rungs it has printed."""
        return RUNG_LINE.findall(self.output)

    @property
    def workers(self) -> list[int]:
        """The process ids of its workers."""
        return [pid for pid, command in processes(self.mark).items() if "lstn_search.jobs.worker" in command]

    def ended_within(self, seconds: float | None) -> bool:
        """Wait so long for it to end by itself; None: as long as that takes."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(seconds)
        return self.process.poll() is not None

    def wait_for_rungs(self, num: int) -> None:
        """Until it has printed so many rungs, or has ended."""
        while len(self.finished_rungs) < num and self.process.poll() is None:
            time.sleep(0.02)

    def kill(self) -> None:
        """kill -9 the driver, and nothing else."""
        self.process.kill()
        self.process.wait()

    def orphans(self) -> dict[int, str]:
        """What it started and is still there some seconds after its end."""
        deadline = time.monotonic() + ORPHAN_SECONDS
        while (left := processes(self.mark)) and time.monotonic() < deadline:
            time.sleep(0.05)
        return left


@dataclasses.dataclass(kw_only=True, frozen=True)
class Scene:
    """A tiny dataset, and a cache that every search shares: what is prepared once need not be prepared after a kill."""

    folder: Path
    workers: int = 2
    trials: int = TRIALS
    space: str = "lstn"
    program: Path = ROOT / "cli.py"

    @property
    def seeds(self) -> tuple[str, ...]:
        """The names of its seed points."""
        return tuple(load_space(self.space).seeds)

    def command(self, out: Path) -> list[str]:
        """The search, which begins or goes on."""
        return [
            *(sys.executable, str(self.program), "search", "--dataset", f"folder:{self.folder / 'images'}"),
            *("--image-size", "48", "--trial-size", "24", "--budget-gflops", "0.0012", "--backbone", "test_byobnet"),
            *("--recover-steps", "60", "--warm-epochs", "20", "--batch-size", "32", "--ladder", "1,2"),
            *("--space", self.space, "--trials", str(self.trials), "--workers", str(self.workers)),
            *("--retries", str(MAX_KILLS), "--device", "cpu"),
            *("--cache-dir", str(self.folder / "cache"), "--out", str(out), "--resume"),
        ]

    def start(self, out: Path) -> Victim:
        """Start it; what it prints goes to a file beside its folder."""
        return Victim(self.command(out), out.with_name(out.name + ".log"))


def draw_images(root: Path, num_classes: int = 6) -> Path:
    """root/{train,val,test}/<class>/<number>.png, some hundred images that a localizer learns to read in no time.

    A colour ramp tells how the image was warped; the class is the place of a dot.
    """
    import numpy as np
    from PIL import Image

    rng = np.random.RandomState(0)
    x, y = np.meshgrid(np.linspace(-1, 1, 24), np.linspace(-1, 1, 24))
    for part, num_images in (("train", 32), ("val", 10), ("test", 4)):
        for label in range(num_classes):
            folder = root / part / f"dot {label}"
            folder.mkdir(parents=True)
            angle = 2 * np.pi * label / num_classes
            dot = np.hypot(x - 0.45 * np.cos(angle), y - 0.45 * np.sin(angle)) < 0.2
            pixels = np.stack([128 + 100 * x, 128 + 100 * y, np.where(dot, 240, 20)], axis=2)
            for number in range(num_images):
                noisy = np.clip(pixels + rng.normal(0, 8, pixels.shape), 0, 255).astype(np.uint8)
                Image.fromarray(noisy).save(folder / f"{number}.png")
    return root


def processes(mark: str) -> dict[int, str]:
    """The command lines of all processes that carry the mark, by process id; zombies do not count."""
    found = {}
    for folder in Path("/proc").iterdir():
        with contextlib.suppress(OSError):  # gone, or someone else's
            if folder.name.isdecimal() and f"{MARK}={mark}".encode() in (folder / "environ").read_bytes():
                found[int(folder.name)] = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
    return found


def recorded(out: Path) -> list[tuple[tuple[int, int], tuple[str, str]]]:
    """Every finished rung in the study of a search that is dead, in the order they ended: see `Results`.

    Read with nothing but SQLite, from a copy, journal included, so that the victim's files stay as they are.
    """
    with tempfile.TemporaryDirectory() as scratch:
        for file in out.glob("study.db*"):
            shutil.copy(file, scratch)
        with contextlib.closing(sqlite3.connect(Path(scratch, "study.db"))) as database:
            tables = {name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
            if not {"studies", "trials", "trial_user_attributes"} <= tables:
                return []
            rows = database.execute(
                "SELECT t.trial_id, a.key, a.value_json FROM trials t JOIN studies s ON s.study_id = t.study_id "
                "JOIN trial_user_attributes a ON a.trial_id = t.trial_id "
                "WHERE s.study_name = 'lstn-search rungs' ORDER BY t.trial_id"
            ).fetchall()
    rungs: dict[int, dict[str, object]] = {}
    for trial_id, key, value in rows:
        rungs.setdefault(trial_id, {})[key] = json.loads(value)
    return [((r["trial"], r["rung"]), (r["name"], r["result"])) for r in rungs.values()]  # type: ignore[misc]


def inspect(out: Path, before: Results, printed: Counter[str], tally: Tally) -> Results:
    """Look at what a dead search left; `before` is what was recorded earlier, `printed` the rungs on its screens."""
    rungs = recorded(out)
    now: Results = dict(rungs)
    tally.twice += [
        f"{out.name}: {key} is recorded {n} times" for key, n in Counter(k for k, _ in rungs).items() if n > 1
    ]
    tally.lost += [f"{out.name}: {key} was recorded and is not now" for key in before if now.get(key) != before[key]]
    unrecorded = printed - Counter(name for name, _ in now.values())
    tally.lost += [f"{out.name}: {name} was printed as finished and is not recorded" for name in unrecorded]
    for file in (out / "checkpoints").glob("[!.]*"):
        if not (zipfile.is_zipfile(file) and zipfile.ZipFile(file).testzip() is None):
            tally.broken.append(f"{out.name}: {file.name} is torn")
    return now


def inspect_finished(scene: Scene, out: Path, results: Results, tally: Tally) -> None:
    """Look at a search that says it is done."""
    try:
        json.loads((out / "manifest.json").read_text())
        json.loads((out / "pareto.json").read_text())
        list(csv.DictReader((out / "pareto.csv").open()))
        rows = list(csv.DictReader((out / "trials.csv").open()))
    except (OSError, ValueError, csv.Error) as error:
        tally.broken.append(f"{out.name}: {error}")
        return
    keys = [(int(row["trial"]), int(row["rung"])) for row in rows]
    if sorted(keys) != sorted(results):
        tally.broken.append(f"{out.name}: trials.csv has {len(keys)} rows, the study {len(results)} rungs")
    digests = {row["trial"]: row["digest"] for row in rows}
    seeds = {row["name"] for row in rows if row["seed_point"] == "True"}
    if len(set(digests.values())) < len(digests):
        tally.twice.append(f"{out.name}: a network was trained twice")
    if seeds != set(scene.seeds) or len(digests) != scene.trials + len(seeds):
        tally.broken.append(f"{out.name}: {len(digests)} architectures, among them the seed points {sorted(seeds)}")
    if left_over := [file.name for file in (out / "checkpoints").glob(".*")]:
        tally.broken.append(f"{out.name}: left over: {left_over}")


def campaign(scene: Scene, out: Path, rng: random.Random, max_kills: int, seconds: float, tally: Tally) -> None:
    """One search, killed and resumed until it is finished; kills come up to `seconds` after a start or another kill."""
    tally.campaigns += 1
    results: Results = {}
    printed: Counter[str] = Counter()
    last_kill = tally.kills + max_kills
    finished = False
    while not finished:
        victim = scene.start(out)
        while True:
            if victim.ended_within(rng.uniform(0, seconds) if tally.kills < last_kill else None):
                finished = True
                break
            assert tally.kills < last_kill, victim.output
            workers = victim.workers if rng.random() < 0.5 else []
            if workers:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(rng.choice(workers), signal.SIGKILL)
                    tally.worker_kills += 1
            else:
                victim.kill()
                tally.driver_kills += 1
                break
        tally.orphans += [f"{out.name}: {command}" for command in victim.orphans().values()]
        printed += Counter(victim.finished_rungs)
        results = inspect(out, results, printed, tally)
    tally.results += len(results)
    if victim.process.returncode:
        tally.refusals.append(f"{out.name}: exit code {victim.process.returncode}: {victim.output[-2000:]}")
    else:
        inspect_finished(scene, out, results, tally)


def undisturbed_seconds(scene: Scene, tally: Tally) -> float:
    """How long a search takes that nobody kills, once the cache is filled."""
    seconds = 0.0
    for name in ("warm-up", "undisturbed"):
        start = time.monotonic()
        campaign(scene, scene.folder / name, random.Random(0), 0, 0.0, tally)
        seconds = time.monotonic() - start
    return seconds


def run(scene: Scene, kills: int, seed: int, seconds: float, tally: Tally) -> None:
    """So many kills in as many campaigns as that takes, each up to `seconds` after a start or another kill."""
    rng = random.Random(seed)
    while tally.kills < kills and not tally.incidents:
        name = f"run{tally.campaigns}"
        campaign(scene, scene.folder / name, rng, min(MAX_KILLS, kills - tally.kills), seconds, tally)
        print(f"{tally.kills} kills, {tally.campaigns} searches, {len(tally.incidents)} incidents", flush=True)


def main() -> None:
    """Kill, resume, count; exit code 1 when anything happened that must not."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    start = time.monotonic()
    tally = Tally()
    with tempfile.TemporaryDirectory(prefix="lstn-chaos-") as folder:
        draw_images(Path(folder, "images"))
        scene = Scene(folder=Path(folder))
        seconds = undisturbed_seconds(scene, tally)
        run(scene, options.kills, options.seed, seconds, tally)
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    print(f"{time.monotonic() - start:.0f} s in all; a search that nobody kills takes {seconds:.0f} s")
    print(f"{tally.driver_kills} drivers and {tally.worker_kills} workers killed in {tally.campaigns} searches")
    print(
        f"{tally.results} results: {len(tally.lost)} lost, {len(tally.twice)} counted twice; "
        f"{len(tally.orphans)} orphans, {len(tally.refusals)} refusals, {len(tally.broken)} broken"
    )
    print("\n".join(tally.incidents))
    sys.exit(bool(tally.incidents))


if __name__ == "__main__":
    main()
