"""How many processors there are for us."""

from __future__ import annotations

import os
from pathlib import Path


def usable_cpus() -> int:
    """Processors that this container may use: its CPU quota (cgroup v2), else its affinity, not the host's count."""
    cpus = len(os.sched_getaffinity(0))
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
    except (OSError, ValueError):
        return cpus
    return cpus if quota == "max" else max(1, min(cpus, int(quota) // int(period)))
