"""Kill commands at random instants, go on, and count what is lost: python benchmarks/chaos.py --kills 50 --seed 0

Real processes, a real study, real kill -9. A campaign is one search (`cli.py search`, two workers, a tiny dataset) that
is killed up to six times, its driver or one of its workers, and resumed until it is finished; then `export`, `verify`
and `report` of it, each killed twice and then let to its end. Needs Linux (/proc). `--out FILE` writes what came of it.

lost      a result that was recorded, or printed as finished, and is not in the study (or not the same) later; a
          training of `verify` that was on file and is not any more
twice     a rung of an architecture recorded twice, or a network trained twice
orphan    a process of a killed driver that is still there after three seconds
refusal   a command that goes on after a kill and ends with an error
broken    anything else: a torn checkpoint, table or page, an export of old and new files, a search that is not complete
"""

import argparse
import contextlib
import csv
import dataclasses
import hashlib
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
ERRAND_KILLS = 2
"""Of each, after each search."""
TRIALS = 12
SEED_POINTS = tuple(load_space("lstn").seeds)
MARK = "LSTN_CHAOS_MARK"
"""An environment variable by which a driver and everything it started can be found."""
RUNG_LINE = re.compile(r"^ *\d+:\d\d  (\S+) +\d+\.\d{5}  \S", re.MULTILINE)

Results = dict[tuple[int, int], tuple[str, str]]
"""(trial, rung) -> (the architecture's name, its result as JSON)."""


@dataclasses.dataclass(kw_only=True)
class Tally:
    """What has happened; each string is one line about one incident."""

    driver_kills: int = 0
    worker_kills: int = 0
    errand_kills: Counter[str] = dataclasses.field(default_factory=Counter)
    """Of the commands on a finished run, by their name."""
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
        """Of drivers, workers and errands."""
        return self.driver_kills + self.worker_kills + self.errand_kills.total()

    @property
    def incidents(self) -> list[str]:
        """Everything that must not happen."""
        return self.lost + self.twice + self.orphans + self.refusals + self.broken


class Victim:
    """One process `cli.py COMMAND`, what it prints, and everything it started."""

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

    def errand(self, name: str, out: Path, pick: str) -> list[str]:
        """One of the commands on a finished search."""
        words = {
            "export": [str(out), "--pick", pick, "--out", str(out.with_name(f"{out.name}-exported"))],
            "verify": [
                *(str(out), "--top", "1", "--seeds", "2", "--against", "light", "--workers", str(self.workers)),
                *("--retries", str(MAX_KILLS), "--cache-dir", str(self.folder / "cache")),
            ],
            "report": [str(out)],
        }
        return [sys.executable, str(self.program), name, *words[name]]

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


def run_errand(
    scene: Scene, name: str, out: Path, rng: random.Random, kills: int, seconds: float, tally: Tally
) -> None:
    """A command on a finished search: killed so often, up to `seconds` after its start, and then let to its end."""
    results = dict(recorded(out))
    front = [row["name"] for row in csv.DictReader((out / "pareto.csv").open())]
    if not front:
        return
    while True:
        records = _contents(out / "verify")
        victim = Victim(scene.errand(name, out, rng.choice(front)), out.with_name(f"{out.name}-{name}.log"))
        has_ended = victim.ended_within(rng.uniform(0, seconds) if kills else None)
        if not has_ended:
            kills -= 1
            tally.errand_kills[name] += 1
            workers = victim.workers if rng.random() < 0.5 else []
            if workers:  # the command goes on: one kill more, or its end
                with contextlib.suppress(ProcessLookupError):
                    os.kill(rng.choice(workers), signal.SIGKILL)
                has_ended = victim.ended_within(None)
            else:
                victim.kill()
        tally.orphans += [f"{out.name}, {name}: {command}" for command in victim.orphans().values()]
        if has_ended and victim.process.returncode:
            code = victim.process.returncode
            tally.refusals.append(f"{out.name}, {name}: exit code {code}: {victim.output[-2000:]}")
            return
        inspect_errand(name, out, results, records, tally)
        if has_ended and not kills:
            return
        kills = max(0, kills - has_ended)  # it was too fast to be killed


def inspect_errand(name: str, out: Path, results: Results, records: dict[str, str], tally: Tally) -> None:
    """Look at what a command left of a finished search, itself dead or done."""
    if dict(recorded(out)) != results:
        tally.lost.append(f"{out.name}, {name}: the study is another one afterwards")
    now = _contents(out / "verify")
    tally.lost += [f"{out.name}, {name}: {file} was on file" for file in records if now.get(file) != records[file]]
    exported = out.with_name(f"{out.name}-exported")
    for folder in (exported, out / "best"):
        if (folder / "model.py").exists():  # else there is nothing to be run by mistake
            written = json.loads((folder / ".lstn-export.json").read_text())
            found = {file: hashlib.sha256((folder / file).read_bytes()).hexdigest() for file in written}
            if found != written:
                tally.broken.append(f"{out.name}, {name}: {folder.name} holds files of two exports")
    for file in (out / "report.html", *(out / "report").glob("[!.]*.png")):
        end = b"</html>" if file.suffix == ".html" else b"IEND\xaeB`\x82"
        if file.exists() and not file.read_bytes().rstrip().endswith(end):
            tally.broken.append(f"{out.name}, {name}: {file.name} is torn")
    for file in (*(out / "verify").glob("[!.]*.json"), *out.glob("verify.json")):
        try:
            json.loads(file.read_text())
        except ValueError:
            tally.broken.append(f"{out.name}, {name}: {file.name} is torn")


def _contents(folder: Path) -> dict[str, str]:
    return {file.name: file.read_text() for file in folder.glob("[!.]*.json")}


ERRANDS = ("export", "verify", "report")


def undisturbed_seconds(scene: Scene, tally: Tally) -> dict[str, float]:
    """How long a search and each errand take that nobody kills, once the cache is filled."""
    seconds = {}
    for name in ("warm-up", "undisturbed"):
        start = time.monotonic()
        campaign(scene, scene.folder / name, random.Random(0), 0, 0.0, tally)
        seconds["search"] = time.monotonic() - start
    for name in ERRANDS:
        start = time.monotonic()
        run_errand(scene, name, scene.folder / "undisturbed", random.Random(0), 0, 0.0, tally)
        seconds[name] = time.monotonic() - start
    return seconds


def run(scene: Scene, kills: int, seed: int, seconds: dict[str, float], tally: Tally) -> None:
    """So many kills in as many campaigns as that takes, each up to `seconds` after a start or another kill.

    Of errands those that `seconds` names.
    """
    rng = random.Random(seed)
    while tally.kills < kills and not tally.incidents:
        out = scene.folder / f"run{tally.campaigns}"
        campaign(scene, out, rng, min(MAX_KILLS, kills - tally.kills), seconds["search"], tally)
        for name in (name for name in ERRANDS if name in seconds):
            wanted = min(ERRAND_KILLS, kills - tally.kills)
            if wanted > 0 and not tally.incidents:
                run_errand(scene, name, out, rng, wanted, seconds[name], tally)
        print(f"{tally.kills} kills, {tally.campaigns} searches, {len(tally.incidents)} incidents", flush=True)


def written_down(tally: Tally, command: str, machine: str) -> str:
    """The page that says what came of it."""
    errands = ", ".join(f"{tally.errand_kills[name]} of {name}" for name in ERRANDS)
    rows = {
        "kills": f"{tally.kills}: {tally.driver_kills} drivers and {tally.worker_kills} workers in {tally.campaigns} "
        f"searches; {errands}",
        "finished results": tally.results,
        "lost": len(tally.lost),
        "counted twice": len(tally.twice),
        f"orphans after {ORPHAN_SECONDS:.0f} s": len(tally.orphans),
        "commands that refused to go on": len(tally.refusals),
        "torn files, mixed exports, incomplete searches": len(tally.broken),
    }
    table = "\n".join(f"| {name} | {value} |" for name, value in rows.items())
    return f"""# Killed at random instants

    make chaos        # {command}

A campaign is one real search (`cli.py search`: two worker processes, {TRIALS} trials and {len(SEED_POINTS)} seed
points, ladder 1,2, a tiny dataset) that is killed with SIGKILL up to {MAX_KILLS} times at random instants, its driver
or one of its workers, and resumed until it is finished; then `export`, `verify` and `report` of it, each killed up to
{ERRAND_KILLS} times at random instants and then let to its end. After every kill the study is compared with everything
that was recorded or printed before, and every file with what it should be.

| | |
|---|---|
{table}

{machine}. The instants are random in wall time, so another machine is killed at other places.

In the test suite (`tests/study/test_chaos.py`): six kills, every transaction of a search interrupted one after the
other, Ctrl-C twice, a full disk, torn checkpoints and tables, and a killed search that ends in the same front, digit
for digit.
"""


def main() -> None:
    """Kill, resume, count; exit code 1 when anything happened that must not."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="also write it down in this file")
    options = parser.parse_args()
    start = time.monotonic()
    tally = Tally()
    with tempfile.TemporaryDirectory(prefix="lstn-chaos-") as folder:
        draw_images(Path(folder, "images"))
        scene = Scene(folder=Path(folder))
        seconds = undisturbed_seconds(scene, tally)
        run(scene, options.kills, options.seed, seconds, tally)
    took = ", ".join(f"{name} {value:.0f} s" for name, value in seconds.items())
    machine = (
        f"Seed {options.seed}, {time.monotonic() - start:.0f} s in all, of which undisturbed: {took}; "
        f"{os.cpu_count()} cores ({platform.processor() or platform.machine()}), load {os.getloadavg()[2]:.1f}, "
        f"Python {platform.python_version()}, {platform.system()}"
    )
    command = f"python benchmarks/chaos.py --kills {options.kills} --seed {options.seed}"
    page = written_down(tally, command, machine)
    print("\n".join([page, *tally.incidents]))
    if options.out is not None:
        options.out.write_text(page)
    sys.exit(bool(tally.incidents))


if __name__ == "__main__":
    main()
