"""What this machine offers: cores and GPUs, and where Python finds its modules. No torch at import time."""

import math
import os
import sys
from pathlib import Path

__all__ = ["default_workers", "num_cores", "python_path"]

CGROUP_V2 = "cpu.max"
CGROUP_V1 = ("cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us")


def default_workers() -> int:
    """One a GPU where there are GPUs, else one a core."""
    import torch

    return torch.cuda.device_count() or num_cores()


def num_cores() -> int:
    """The cores this process may use: its affinity, and no more than its container's share of the machine."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(cores, cgroup_cores() or cores))


def python_path() -> list[str]:
    """`sys.path` for another interpreter, which may work in another folder; some programs put Path objects into it."""
    entries = (os.fspath(entry) for entry in sys.path if isinstance(entry, str | os.PathLike))
    return [entry or str(Path.cwd()) for entry in entries]


def cgroup_cores(root: Path = Path("/sys/fs/cgroup")) -> int | None:
    """The container's share in whole cores, rounded up; None where there is no limit."""
    try:
        if (root / CGROUP_V2).exists():
            quota, period = (root / CGROUP_V2).read_text().split()
        else:
            quota, period = ((root / name).read_text().strip() for name in CGROUP_V1)
        return math.ceil(int(quota) / int(period)) if int(quota) > 0 else None
    except (OSError, ValueError):  # no such file, or "max"
        return None
