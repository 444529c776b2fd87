"""How fast the cost of an architecture is, against thop on the built module: python benchmarks/cost.py"""

import os
import platform
import random
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import thop
import torch

from lstn_search.nets.localizer import Localizer
from lstn_search.spec import moves
from lstn_search.spec.cost import cost, fits
from lstn_search.spec.space import Space, load_space

Item = TypeVar("Item")


def median_us(call: Callable[[], object], *, repeats: int) -> float:
    """Median microseconds of one call, after a first one that is not counted."""
    call()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return statistics.median(times) * 1e6


def processor() -> str:
    """The processor's name, where Linux tells it."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.processor())


def main() -> None:
    """Measure and print a Markdown table."""
    torch.set_num_threads(1)
    space = load_space("lstn")
    arch = space.seeds["lstn"]
    module = Localizer(arch, 224).eval()
    x_BCHW = torch.zeros(1, 3, 224, 224)
    rng = random.Random(0)
    samples = [space.sample(rng) for _ in range(1000)]
    archs = [space.expand(choices) for choices in samples]
    five_units = Space(name="five units", values={**space.values, "units": (5,)})

    def profile() -> None:
        with torch.no_grad():
            thop.profile(module, (x_BCHW,), verbose=False)

    def build_and_profile() -> None:
        with torch.no_grad():
            thop.profile(Localizer(arch, 224).eval(), (x_BCHW,), verbose=False)

    ours = median_us(lambda: cost(arch, 224), repeats=5000)
    rows = [
        ("cost of L-STN at 224", 5000, ours),
        ("thop on L-STN's module, already built", 100, median_us(profile, repeats=100)),
        ("build the module, then thop", 50, median_us(build_and_profile, repeats=50)),
        (
            "cost of a random architecture at 64, or its refusal",
            1000,
            median_us(_each(lambda a: fits(a, 64), archs), repeats=1000),
        ),
        ("sample and expand", 1000, median_us(lambda: space.expand(space.sample(rng)), repeats=1000)),
        ("encode a random architecture", 1000, median_us(_each(space.encode, archs), repeats=1000)),
        ("mutate random choices", 1000, median_us(_each(lambda c: moves.mutate(space, c, rng), samples), repeats=1000)),
        ("load and check lstn.toml", 200, median_us(lambda: load_space("lstn"), repeats=200)),
        ("cheapest of the space at 224 and 64", 20, median_us(lambda: moves.cheapest(space, 224, 64), repeats=20)),
        ("cheapest with exactly five units", 5, median_us(lambda: moves.cheapest(five_units, 224, 64), repeats=5)),
    ]
    machine = f"{processor()}, {os.cpu_count()} cores, 1 thread"
    print(f"{machine}; Python {platform.python_version()}, torch {torch.__version__}.\n")
    print("| what | n | median, µs |\n|---|---|---|")
    for what, n, microseconds in rows:
        print(f"| {what} | {n:,} | {microseconds:,.0f} |")
    print(f"\nthop on the built module takes {rows[1][2] / ours:,.0f} times as long as cost.")


def _each(call: Callable[[Item], object], items: list[Item]) -> Callable[[], object]:
    """A call that takes the next item each time, round and round."""
    position = 0

    def step() -> object:
        nonlocal position
        position = (position + 1) % len(items)
        return call(items[position])

    return step


if __name__ == "__main__":
    main()
