"""A service under load: requests as cheap as can be sent, so that the client does not take what it measures."""

from __future__ import annotations

import asyncio
import contextlib
import json
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from service.model.artifact import BackboneSpec
from tests.conftest import TINY, Service, save_tiny_artifact, start_service


@dataclass(frozen=True)
class Request:
    """One POST to /invocations."""

    body: bytes
    kind: str = "image/tiff"
    accept: str = "application/json"
    query: str = "outputs=probabilities"

    @property
    def bytes(self) -> bytes:
        head = (
            f"POST /invocations?{self.query} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: {self.kind}\r\n"
            f"Accept: {self.accept}\r\nContent-Length: {len(self.body)}\r\n\r\n"
        )
        return head.encode() + self.body


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


async def ask(service: Service, request: Request, due: float | None = None) -> Reply:
    """The answer; its time counts from when it was due, so that a late start is no excuse."""
    began = time.perf_counter() if due is None else due
    answer = b""
    with contextlib.suppress(OSError):
        reader, writer = await asyncio.open_connection("127.0.0.1", port(service))
        try:
            writer.write(request.bytes)
            answer = await reader.read()
        finally:
            writer.close()
    ended = time.perf_counter()
    head, _, body = answer.partition(b"\r\n\r\n")
    status = int(head.split()[1]) if head else 0
    problem = {} if status in (0, 200) else json.loads(body)
    return Reply(status, str(problem.get("code", "")), began, ended, problem.get("retry_after_s"))


def port(service: Service) -> int:
    return int(service.url.rpartition(":")[2])


async def closed_loop(service: Service, requests: Iterator[Request], clients: int, seconds: float) -> list[Reply]:
    """Clients that each ask again as soon as they are answered."""
    end = time.perf_counter() + seconds
    replies = []

    async def client() -> None:
        while time.perf_counter() < end:
            replies.append(await ask(service, next(requests)))

    await asyncio.gather(*(client() for _ in range(clients)))
    return replies


@contextlib.contextmanager
def serving(spec: BackboneSpec = TINY, **settings: str) -> Iterator[Service]:
    """A ready service with random weights."""
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
