"""A service and the processes it started, as the kernel sees them."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path

TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")


def tree(pid: int) -> list[int]:
    """A process and all below it."""
    found = [pid]
    for parent in found:
        for children in Path(f"/proc/{parent}/task").glob("*/children"):
            with contextlib.suppress(OSError):  # it has ended
                found += map(int, children.read_text().split())
    return found


def cpu_seconds(pid: int) -> float:
    """That its tree took so far, in user and system mode."""
    return sum(_cpu_seconds(one) for one in tree(pid))


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_A_SECOND  # utime and stime: 14 and 15 in proc(5)


def resident_mb(pid: int) -> float:
    """10⁶ bytes of the process alone, pages that it shares included."""
    return _rollup(pid, "Rss")


def tree_mb(pid: int) -> float:
    """10⁶ bytes of its tree; a page that several share counts once (Pss)."""
    return sum(_rollup(one, "Pss") for one in tree(pid))


def _rollup(pid: int, figure: str) -> float:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 / 1e6 for line in lines if line.startswith(f"{figure}:"))


def libraries(pid: int) -> set[str]:
    """Names of the files that it has mapped."""
    return {Path(line.split()[-1]).name for line in Path(f"/proc/{pid}/maps").read_text().splitlines() if "/" in line}


def pause(pid: int) -> None:
    """Stops its tree, so that it takes nothing from what is measured meanwhile: an idle LitServe polls."""
    for one in tree(pid):
        os.kill(one, signal.SIGSTOP)


@contextlib.contextmanager
def resumed(pid: int) -> Iterator[None]:
    """Its turn: what was paused runs."""
    for one in reversed(tree(pid)):
        os.kill(one, signal.SIGCONT)
    try:
        yield
    finally:
        pause(pid)
