"""How many processors there are for us."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path


def usable_cpus(root: Path = Path("/")) -> int:
    """Processors that this container may use, at least 1: its CPU quota or its affinity, not the host's count.

    `root` is that of the file system, where the kernel tells of both versions of cgroups (cgroups(7)).
    """
    return max(1, min([len(os.sched_getaffinity(0)), *map(int, _quotas(root))]))


def _quotas(root: Path) -> Iterator[float]:
    """In processors, of each cgroup around this process that has one."""
    for group in _groups(root):
        try:
            if (version_2 := group / "cpu.max").exists():
                quota, period = version_2.read_text().split()
            else:
                quota, period = ((group / f"cpu.cfs_{name}_us").read_text() for name in ("quota", "period"))
            if quota != "max" and int(quota) > 0:  # version 1 says -1
                yield int(quota) / int(period)
        except (OSError, ValueError):
            continue


def _groups(root: Path) -> Iterator[Path]:
    """Folders of this process's cgroup and of those that hold it; some are not to be seen from within a container."""
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        top = root / "sys/fs/cgroup" / controllers  # version 2 has no controllers in its line, nor a folder for them
        group = top / path.lstrip("/")
        yield from (folder for folder in (group, *group.parents) if folder.is_relative_to(top))
