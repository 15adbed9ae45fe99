"""Good patches at a steady rate, alone and with one bomb in ten requests, in turns.

    python -m tests.benchmarks.bombs [--rounds 7] [--seconds 8] [--share 0.4] [--rate R]

The rate is a share of what eight clients get out of the service when nothing else is asked of it, and the same in every
phase; bombs come on top. At 0.6, two processors that carry the clients too are so near their limit that p99 alone is
anything from 14 to 73 ms. Requests are sent when they are due, whether or not others were answered. A bomb is drawn
from the classes of the corpus that ask for more than they are, each class as often as the others; a file of theirs that
the service serves is work, not a bomb, and left out. They are sent by a process of its own that is nice(2): what it
takes to send 18 MB is not the service's time, and good requests are not to wait for it. In a third phase one class more
is among them: scenes of 16 million pixels without data, a few kilobytes each, which pass every check since nothing is
wrong with them but their size. Prints p50 and p99 of the good requests, and of the rounds' ratios of p99 the median and
both ends.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import os
import random
import statistics
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

from tests.benchmarks.load import Reply, Request, ask, closed_loop, milliseconds, port, serving
from tests.conftest import Service
from tests.corpus.canary import Canary
from tests.corpus.cases import corpus
from tests.corpus.sizes import NOTHING
from tests.imagery import geotiff, reflectance

CLASSES = (
    *("more than a machine has", "metadata", "tables", "directories", "strips and tiles", "offset past the end"),
    *("payload made by hand", "payload of another size", "random bytes"),
)
GOOD = Request(geotiff(reflectance(), compress="deflate"))
BOMBS_AMONG_ALL = 0.1
NICENESS = 19  # of what sends bombs
START_S = 5.0  # until the process that sends them is there

Bombs = dict[str, list[Request]]  #: by class


async def bombs(service: Service) -> Bombs:
    """What the service refuses."""
    found = defaultdict(list)
    with tempfile.TemporaryDirectory() as folder, Canary(Path(folder) / "canary", GOOD.body) as canary:
        for case in corpus(canary, 0):
            if case.kind in (*CLASSES, NOTHING) and (await ask(port(service), Request(case.data))).status != 200:
                found[case.kind].append(Request(case.data))
    return found


async def steady(service: Service, rate: float, seconds: float, some: Bombs) -> tuple[list[Reply], list[Reply]]:
    """Replies to good requests, and to bombs if there are some."""
    chance = random.Random(0)
    every = (1 - BOMBS_AMONG_ALL) / BOMBS_AMONG_ALL / rate
    drawn = [chance.choice(some[chance.choice(list(some))]) for _ in range(int(seconds / every)) if some]
    with ProcessPoolExecutor(1, get_context("spawn"), os.nice, (NICENESS,)) as elsewhere:
        loop, started = asyncio.get_running_loop(), time.perf_counter() + START_S
        bad = loop.run_in_executor(elsewhere, at_a_rate, port(service), drawn, started, every)
        good = await in_time(port(service), [GOOD] * int(rate * seconds), started, 1 / rate)
        return good, await bad


def at_a_rate(number: int, requests: Sequence[Request], started: float, every: float) -> list[Reply]:
    """As `in_time`, in a process without an event loop."""
    return asyncio.run(in_time(number, requests, started, every))


async def in_time(number: int, requests: Sequence[Request], started: float, every: float) -> list[Reply]:
    """Each is sent when it is due."""

    async def at(due: float, request: Request) -> Reply:
        await asyncio.sleep(due - time.perf_counter())
        return await ask(number, request, due)

    return await asyncio.gather(*(at(started + i * every, request) for i, request in enumerate(requests)))


async def compare(service: Service, asked: argparse.Namespace) -> None:
    """Prints the phases of each round, and all rounds together."""
    scenes_too = await bombs(service)
    refused = {kind: some for kind, some in scenes_too.items() if kind != NOTHING}
    phases: dict[str, Bombs] = {"alone": {}, "with bombs": refused, "with bombs and scenes": scenes_too}
    for seconds in (3, 6):  # the first is for warming up
        capacity = len(await closed_loop(service, itertools.repeat(GOOD), 8, seconds)) / seconds
    rate = asked.rate or asked.share * capacity
    print(f"eight clients get {capacity:.0f} answers/s; good patches come at {rate:.0f}/s", flush=True)
    good: dict[str, list[float]] = defaultdict(list)  # p99 of each round
    bad: dict[str, list[Reply]] = defaultdict(list)
    for number in range(asked.rounds):
        for phase, some in phases.items():
            answered, met = await steady(service, rate, asked.seconds, some)
            good[phase].append(milliseconds(answered, 0.99))
            bad[phase] += met
            print(f"round {number}, {phase}: {told(answered)}", flush=True)
    for phase in list(phases)[1:]:
        ratios = sorted(with_bombs / alone for with_bombs, alone in zip(good[phase], good["alone"], strict=True))
        print(f"{phase}: p99 is {statistics.median(ratios):.2f} of that alone ({ratios[0]:.2f}–{ratios[-1]:.2f})")
    for phase, replies in bad.items():
        codes = Counter(reply.code or str(reply.status) for reply in replies)
        if replies:
            print(f"{phase}: {dict(codes.most_common())}, slowest {milliseconds(replies, 1):.0f} ms")


def told(replies: list[Reply]) -> str:
    failed = sum(reply.status != 200 for reply in replies)
    p50, p99 = milliseconds(replies, 0.5), milliseconds(replies, 0.99)
    return f"{len(replies)} good, {failed} not answered, p50 {p50:.1f} ms, p99 {p99:.1f} ms"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=8, help="of a phase")
    parser.add_argument("--share", type=float, default=0.4, help="of what the service can do")
    parser.add_argument("--rate", type=float, help="good patches a second, instead")
    asked = parser.parse_args()
    with serving() as service:
        asyncio.run(compare(service, asked))


if __name__ == "__main__":
    main()
