"""A service that is asked for three times what it can do, and one that is asked for just that, in turns.

    python -m tests.benchmarks.overload [--rounds 3] [--seconds 20] [--times 3] [--wait 4] [--connections kept | new]

Capacity is what 32 clients get that each ask again as soon as they are answered; in overload, requests are sent when
they are due, whether or not others were answered. The load generator is on the same cores and takes more of them where
it sends more: each rate is counted by the cores that it leaves, so answers a second ÷ (cores - its own CPU seconds a
second); the ratio of bare rates stands beside. What is accepted in overload is counted once its queue is full. Prints,
of the rounds, medians with both ends.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import statistics
import time
from collections import Counter
from collections.abc import Awaitable
from dataclasses import dataclass, replace

from service.cpus import usable_cpus
from tests.benchmarks.figures import print_row, spread
from tests.benchmarks.load import Kept, Reply, Request, ask, closed_loop, milliseconds, port, serving
from tests.conftest import SMALL, TINY, Service
from tests.imagery import geotiff, reflectance

MODELS = {"small": SMALL, "tiny": TINY}  # ViT-S/16 at 224 px, and one that takes less time than its requests
CLIENTS = 32
PING_EVERY_S = 0.05
PATCH = Request(geotiff(reflectance(), compress="deflate"), is_last=False)


@dataclass(frozen=True)
class Phase:
    """What was seen of one."""

    replies: list[Reply]
    pings: list[Reply]
    rate: float  #: answers a second
    cores: float  #: that the load generator left


async def ping(service: Service) -> Reply:
    began = time.perf_counter()
    reader, writer = await asyncio.open_connection("127.0.0.1", port(service))
    writer.write(b"GET /ping HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    status = int((await reader.read()).split()[1])
    writer.close()
    return Reply(status, "", began, time.perf_counter())


async def watched(service: Service, load: Awaitable[list[Reply]], settled: float, ends: float) -> Phase:
    """The phase that `load` makes, counted from `settled` to `ends` (time.perf_counter)."""
    pings: list[Reply] = []

    async def pinging() -> None:
        while True:
            pings.append(await ping(service))
            await asyncio.sleep(PING_EVERY_S)

    async def generator_share() -> float:
        await asyncio.sleep(settled - time.perf_counter())
        before, began = time.process_time(), time.perf_counter()
        await asyncio.sleep(ends - time.perf_counter())
        return (time.process_time() - before) / (time.perf_counter() - began)

    watching = asyncio.create_task(pinging())
    replies, share = await asyncio.gather(load, generator_share())
    watching.cancel()
    counted = [reply for reply in replies if reply.status == 200 and settled <= reply.ended < ends]
    return Phase(replies, pings, len(counted) / (ends - settled), usable_cpus() - share)


async def steady(service: Service, request: Request, rate: float, starts: float, seconds: float) -> list[Reply]:
    """Requests at a steady rate, each sent when it is due."""
    kept, asked = Kept(port(service)), []
    for i in range(int(rate * seconds)):
        due = starts + i / rate
        if (early := due - time.perf_counter()) > 0:
            await asyncio.sleep(early)
        one = ask(port(service), request, due) if request.is_last else kept.ask(request, due)
        asked.append(asyncio.create_task(one))
    replies = await asyncio.gather(*asked)
    kept.close()
    return replies


async def compare(service: Service, asked: argparse.Namespace) -> None:
    """Prints the phases of each round, and all rounds together."""
    request = replace(PATCH, is_last=asked.connections == "new")
    await closed_loop(service, itertools.repeat(request), CLIENTS, 5)
    rounds: list[tuple[Phase, Phase]] = []
    for number in range(asked.rounds):
        now = time.perf_counter()
        load = closed_loop(service, itertools.repeat(request), CLIENTS, asked.seconds)
        capacity = await watched(service, load, now + 1, now + asked.seconds)
        if any(reply.status != 200 for reply in capacity.replies):
            raise SystemExit(f"{CLIENTS} clients alone wait too long on this machine: choose a longer --wait")
        now, full, ends = time.perf_counter(), asked.wait + 1, asked.wait + 1 + asked.seconds
        load = steady(service, request, asked.times * capacity.rate, now, ends)
        rounds.append((capacity, await watched(service, load, now + full, now + ends)))
        for name, phase in zip(("capacity", "overload"), rounds[-1], strict=True):
            print(f"round {number}, {name}: {told(phase)}", flush=True)
    refused = [r for _, phase in rounds for r in phase.replies if r.status == 429]
    accepted = [[r for r in phase.replies if r.status == 200] for _, phase in rounds]
    print(f"{asked.times:g} times the load, {asked.wait:g} s allowed, {asked.rounds} rounds")
    fair = [(over.rate / over.cores) / (most.rate / most.cores) for most, over in rounds]
    print(f"accepted ÷ capacity: {spread(fair)}")
    print(f"  of bare rates: {spread([over.rate / most.rate for most, over in rounds])}")
    late = [milliseconds(replies, 0.99) / 1000 for replies in accepted]
    print(f"p99 of accepted, s: {spread(late)}")
    print(f"p99 of 429, ms: {milliseconds(refused, 0.99):.0f}; retry_after_s {dict(waits(refused))}")
    print(f"p99 of /ping, ms: {spread([milliseconds(phase.pings, 0.99) for both in rounds for phase in both])}")
    most, taken = (
        statistics.median(phase.rate / phase.cores for phase in phases) for phases in zip(*rounds, strict=True)
    )
    print_row(
        "overload",
        f"{taken:.1f} images/s a core that its clients leave, asked for {asked.times:g} times what it can do; "
        f"p99 {statistics.median(late):.1f} s of {asked.wait:g} s allowed, the rest refused",
        f"asked for just that, {most:.1f}",
        spread(fair),
    )


def told(phase: Phase) -> str:
    codes = Counter(reply.code or reply.status for reply in phase.replies)
    accepted = [reply for reply in phase.replies if reply.status == 200]
    return (
        f"{phase.rate:.1f} answers/s on {phase.cores:.2f} cores, p50 {milliseconds(accepted, 0.5):.0f} ms, "
        f"p99 {milliseconds(accepted, 0.99):.0f} ms; {dict(codes.most_common())}; "
        f"/ping p99 {milliseconds(phase.pings, 0.99):.1f} ms, {Counter(r.status for r in phase.pings)[200]} of "
        f"{len(phase.pings)} well"
    )


def waits(refused: list[Reply]) -> list[tuple[int | None, int]]:
    return sorted(Counter(reply.retry_after_s for reply in refused).items(), key=lambda item: item[0] or 0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=20, help="of a phase; batches come in bursts")
    parser.add_argument("--times", type=float, default=3, help="the load, by what the service can do")
    parser.add_argument("--wait", type=float, default=4, help="seconds that an answer may take (MAX_WAIT_S)")
    parser.add_argument("--connections", choices=("kept", "new"), default="kept", help="new: one for each request")
    parser.add_argument("--model", choices=MODELS, default="small")
    asked = parser.parse_args()
    with serving(MODELS[asked.model], ENGINE="auto", MAX_WAIT_S=str(asked.wait)) as service:
        asyncio.run(compare(service, asked))


if __name__ == "__main__":
    main()
