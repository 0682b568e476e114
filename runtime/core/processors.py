"""How many processors this process may use: what it is pinned to, and what its control group grants it.

``os.cpu_count()`` counts the machine's. In a container that may use two of its 64 processors, 64 threads of an engine
would spend the two in an instant and stand still for the rest of each period.
"""

from __future__ import annotations

import os
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")
SELF = Path("/proc/self/cgroup")


def usable_cores(cgroups: Path = CGROUPS, own: Path = SELF) -> int:
    """At least 1. A share of a processor counts as none: a thread more than is granted is slower than one less."""
    pinned = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, int(min([pinned, *_quotas(cgroups, own)])))


def _quotas(cgroups: Path, own: Path) -> list[float]:
    """Processors that each control group above this process grants, where it says."""
    try:
        lines = own.read_text().splitlines()
    except OSError:
        return []
    quotas = []
    for line in lines:
        # HIERARCHY:CONTROLLERS:PATH; version 2 has no controllers named (cgroups(7)).
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if controllers == "":
            base = cgroups
        elif "cpu" in controllers.split(","):
            base = cgroups / "cpu"
        else:
            continue
        parts = Path(path.lstrip("/")).parts
        # A container may see its own group as the root while the path is still the host's.
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
