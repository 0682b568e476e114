"""Number of CPU cores that this process may use, from its affinity mask and the quota of its control groups.

``os.cpu_count()`` counts the cores of the machine. In a container limited to two of 64 cores, an engine with 64 threads
would use up the quota at once and be throttled for the rest of each period.
"""

from __future__ import annotations

import os
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")
SELF = Path("/proc/self/cgroup")


def usable_cores(cgroups: Path = CGROUPS, own: Path = SELF) -> int:
    """Return the number of usable cores, at least 1.

    A fractional quota is rounded down, because one thread too many costs more time than one too few.
    """
    pinned = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, int(min([pinned, *_quotas(cgroups, own)])))


def _quotas(cgroups: Path, own: Path) -> list[float]:
    """Return the CPU quotas, in cores, of this process's control group and all groups above it that have one."""
    try:
        lines = own.read_text().splitlines()
    except OSError:
        return []
    quotas = []
    for line in lines:
        # Format: HIERARCHY:CONTROLLERS:PATH. In version 2 the controllers field is empty (cgroups(7)).
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if controllers == "":
            base = cgroups
        elif "cpu" in controllers.split(","):
            base = cgroups / "cpu"
        else:
            continue
        parts = Path(path.lstrip("/")).parts
        # In a container the process's own group may be mounted as the root, although the path is that on the host.
        folders = [base.joinpath(*parts[:count]) for count in range(len(parts) + 1)]
        quotas += [quota for folder in folders if (quota := _quota(folder)) is not None]
    return quotas


def _quota(folder: Path) -> float | None:
    try:
        if (folder / "cpu.max").exists():
            limit, period = (folder / "cpu.max").read_text().split()
        else:
            limit = (folder / "cpu.cfs_quota_us").read_text().strip()
            period = (folder / "cpu.cfs_period_us").read_text().strip()
        return int(limit) / int(period) if limit not in ("max", "-1") and int(period) > 0 else None
    except (OSError, ValueError):
        return None
