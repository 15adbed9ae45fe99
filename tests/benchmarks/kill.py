"""A decode process killed under load: what it costs, and for how long.

    python -m tests.benchmarks.kill [--kills 5] [--clients 8]

Clients that each ask again as soon as they are answered; one decode process gets SIGKILL every four seconds. Prints the
answers in each quarter of a second around a kill, the requests that failed with their codes, and when the service was
as fast again as before.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import os
import signal
import statistics
import time
from collections import Counter

from tests.benchmarks.load import Reply, Request, closed_loop, serving
from tests.conftest import Service
from tests.corpus.trial import decode_processes
from tests.imagery import geotiff, reflectance

GOOD = Request(geotiff(reflectance(), compress="deflate"))
WINDOW_S, APART_S, AS_FAST = 0.25, 4.0, 0.9


async def load_with_kills(service: Service, clients: int, kills: int) -> tuple[list[Reply], list[float]]:
    """All replies, and when processes were killed."""
    await closed_loop(service, itertools.repeat(GOOD), clients, 3)
    loading = asyncio.create_task(closed_loop(service, itertools.repeat(GOOD), clients, APART_S * (kills + 1)))
    killed = []
    for _ in range(kills):
        await asyncio.sleep(APART_S)
        os.kill(await one_that_decodes(service), signal.SIGKILL)
        killed.append(time.perf_counter())
    return await loading, killed


async def one_that_decodes(service: Service) -> int:
    """Its process id: of one that runs just now, as no idle one does."""
    while True:
        for process in decode_processes(service):
            if (process / "stat").read_text().split()[2] == "R":
                return int(process.name)
        await asyncio.sleep(0.001)


def answers_by_window(replies: list[Reply], start: float, windows: int) -> list[int]:
    """From some moment on."""
    found = Counter(int((reply.ended - start) // WINDOW_S) for reply in replies if reply.status == 200)
    return [found[window] for window in range(windows)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=5)
    parser.add_argument("--clients", type=int, default=8)
    asked = parser.parse_args()
    with serving() as service:
        replies, killed = asyncio.run(load_with_kills(service, asked.clients, asked.kills))
    for moment in killed:
        before = answers_by_window(replies, moment - 8 * WINDOW_S, 8)
        after = answers_by_window(replies, moment, 12)
        usual = statistics.mean(before)
        back = next((i for i, count in enumerate(after) if count >= AS_FAST * usual), None)
        again = f"{back * WINDOW_S:.2f}–{(back + 1) * WINDOW_S:.2f} s" if back is not None else "not within 3 s"
        print(f"before {before}, after {after}: as fast again in {again}")
    failed = Counter(reply.code or str(reply.status) for reply in replies if reply.status != 200)
    print(f"{len(replies)} requests, {asked.kills} kills, failed: {dict(failed)}")


if __name__ == "__main__":
    main()
