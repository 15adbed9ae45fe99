"""A service under load: requests as cheap as can be sent, so that the client does not take what it measures."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from service.cpus import usable_cpus
from service.model.manifest import BackboneSpec
from tests.benchmarks.processes import cpu_seconds
from tests.conftest import TINY, Service, save_tiny_artifact, start_service

PIECE_BYTES = 2**17
WARM_UP_S = 3.0  # at the beginning of a turn, and not counted


@dataclass(frozen=True)
class Request:
    """One POST to /invocations."""

    body: bytes
    kind: str = "image/tiff"
    accept: str = "application/json"
    query: str = "outputs=probabilities"
    is_last: bool = True  #: of its connection

    @cached_property
    def bytes(self) -> bytes:
        head = (
            f"POST /invocations?{self.query} HTTP/1.1\r\nHost: x\r\nContent-Type: {self.kind}\r\n"
            f"Connection: {'close' if self.is_last else 'keep-alive'}\r\n"
            f"Accept: {self.accept}\r\nContent-Length: {len(self.body)}\r\n\r\n"
        )
        return head.encode() + self.body

    @property
    def view(self) -> memoryview:
        return memoryview(self.bytes)


@dataclass(frozen=True)
class Reply:
    """What came back, and when."""

    status: int  #: of HTTP; 0 where nothing came
    code: str  #: of an error
    began: float  #: seconds, by time.perf_counter
    ended: float
    retry_after_s: int | None = None  #: where it was told

    @property
    def seconds(self) -> float:
        return self.ended - self.began


async def ask(port: int, request: Request, due: float | None = None) -> Reply:
    """The answer on a port. Its time counts from when it was due, so that a late start is no excuse."""
    began = time.perf_counter() if due is None else due
    answer = b""
    with contextlib.suppress(OSError):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            for start in range(0, len(request.bytes), PIECE_BYTES):  # at once, 18 MB keep this process for 20 ms
                writer.write(request.view[start : start + PIECE_BYTES])
                await writer.drain()
            answer = await reader.read()
        finally:
            writer.close()
    ended = time.perf_counter()
    head, _, body = answer.partition(b"\r\n\r\n")
    status = int(head.split()[1]) if head else 0
    problem = {} if status in (0, 200) else json.loads(body)
    return Reply(status, str(problem.get("code", "")), began, ended, problem.get("retry_after_s"))


async def ask_one_after_another(service: Service, requests: Iterator[Request], end: float) -> list[Reply]:
    """Until `end`, on one connection, each as soon as the one before is answered; none of them is the last."""
    kept = Kept(port(service))
    replies = []
    try:
        while time.perf_counter() < end:
            replies.append(await kept.ask(next(requests)))
    finally:
        kept.close()
    return replies


class Kept:
    """Connections that are kept for further requests, as balancers, SDKs and SageMaker keep theirs.

    There are as many as requests are under way at once; none of these is the last of its connection.
    """

    def __init__(self, port: int) -> None:
        self._port = port
        self._idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def ask(self, request: Request, due: float | None = None) -> Reply:
        """As `ask`."""
        began = time.perf_counter() if due is None else due
        status, problem = 0, {}
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            reader, writer = self._take() or await asyncio.open_connection("127.0.0.1", self._port)
            writer.write(request.bytes)
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            body = await reader.readexactly(int(head.partition(b"content-length:")[2].partition(b"\r")[0]))
            self._idle.append((reader, writer))
            status = int(head.split()[1])
            problem = {} if status == 200 else json.loads(body)
        return Reply(status, str(problem.get("code", "")), began, time.perf_counter(), problem.get("retry_after_s"))

    def _take(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
        """The one used last: others may be closed, for they were idle for long."""
        while self._idle:
            reader, writer = self._idle.pop()
            if not reader.at_eof():
                return reader, writer
            writer.close()
        return None

    def close(self) -> None:
        """Those that are idle."""
        for _, writer in self._idle:
            writer.close()


def port(service: Service) -> int:
    return int(service.url.rpartition(":")[2])


async def closed_loop(service: Service, requests: Iterator[Request], clients: int, seconds: float) -> list[Reply]:
    """Clients that each ask again as soon as they are answered, on a connection each or on many."""
    end = time.perf_counter() + seconds
    first = next(requests)
    requests = itertools.chain([first], requests)

    async def client() -> list[Reply]:
        if not first.is_last:
            return await ask_one_after_another(service, requests, end)
        replies = []
        while time.perf_counter() < end:
            replies.append(await ask(port(service), next(requests)))
        return replies

    return [reply for replies in await asyncio.gather(*(client() for _ in range(clients))) for reply in replies]


@dataclass(frozen=True)
class Turn:
    """What some clients got in a while, after a warm-up, and the processors' time that it took."""

    replies: list[Reply]  #: that ended in that while
    seconds: float
    client_cpu_s: float  #: of this process: user and system, all threads
    service_cpu_s: float  #: of the service and all below it

    @property
    def rate(self) -> float:
        """Replies a second."""
        return len(self.replies) / self.seconds


async def turn(service: Service, requests: Iterator[Request], clients: int, seconds: float) -> Turn:
    """Of a closed loop. Raises SystemExit if a request was refused."""
    asking = asyncio.create_task(closed_loop(service, requests, clients, WARM_UP_S + seconds))
    await asyncio.sleep(WARM_UP_S)
    before = time.perf_counter(), time.process_time(), cpu_seconds(service.process.pid)
    await asyncio.sleep(seconds)
    after = time.perf_counter(), time.process_time(), cpu_seconds(service.process.pid)
    replies = await asking
    if refused := [reply for reply in replies if reply.status != 200]:
        raise SystemExit(f"{service.url} answered {refused[0].status} {refused[0].code}: {service.log.read_text()}")
    done = [reply for reply in replies if before[0] <= reply.ended < after[0]]
    if not done:
        raise SystemExit(f"{service.url} answered nothing in {seconds:g} s; try more --seconds")
    took = (end - start for start, end in zip(before, after, strict=True))
    return Turn(done, *took)


@contextlib.contextmanager
def serving(spec: BackboneSpec = TINY, **settings: str) -> Iterator[Service]:
    """A ready service with random weights, and else as people start it."""
    settings = {"DECODE_WORKERS": str(usable_cpus()), "DECODE_TIMEOUT_S": "10"} | settings
    with tempfile.TemporaryDirectory() as name:
        artifact = save_tiny_artifact(Path(name) / "artifact", spec=spec)
        service = start_service(Path(name), artifact.path, **settings)
        try:
            service.wait_until_ready()
            yield service
        finally:
            service.process.kill()
            service.process.wait()


def milliseconds(replies: list[Reply], share: float) -> float:
    """The time within which this share of them was answered."""
    times = sorted(reply.seconds for reply in replies)
    return 1000 * times[min(len(times) - 1, int(share * len(times)))]
