"""Clients that stall, trickle, or leave."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from collections.abc import Iterator

import httpx
import pytest
from starlette.types import Message, Receive, Scope, Send

from service.callers.connection import LARGEST_HEAD
from service.callers.deadline import BodyDeadline
from service.model.artifact import Artifact
from tests.conftest import Service, start_service
from tests.imagery import geotiff, reflectance

TILE = geotiff(reflectance())
HEAD = b"POST /invocations HTTP/1.1\r\nHost: x\r\nContent-Type: image/tiff\r\nContent-Length: %d\r\n\r\n"


@pytest.fixture(scope="module")
def impatient(tmp_path_factory: pytest.TempPathFactory, tiny_artifact: Artifact) -> Iterator[Service]:
    """A service that waits a second for each part of a request."""
    running = start_service(tmp_path_factory.mktemp("service"), tiny_artifact.path, RECEIVE_TIMEOUT_S="1")
    running.wait_until_ready()
    yield running
    running.process.kill()
    running.process.wait()


def connect(service: Service) -> socket.socket:
    host, port = service.url.removeprefix("http://").split(":")
    return socket.create_connection((host, int(port)), timeout=30)


def everything(client: socket.socket) -> bytes:
    """Until the other side closes."""
    return b"".join(iter(lambda: client.recv(65536), b""))


def problem(answer: bytes) -> tuple[int, str]:
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"content-type: application/problem+json" in head.lower()
    return int(head.split()[1]), json.loads(body)["code"]


TIMEOUT = (408, "receive_timeout")


@pytest.mark.parametrize(
    "said", [b"", b"\r\n", b"POST /invocations HTTP/1.1\r\nHost: x\r\n", HEAD % len(TILE) + TILE[:50]]
)
def test_a_client_that_stops_is_told_so_and_its_connection_closed(impatient: Service, said: bytes) -> None:
    with connect(impatient) as client:
        client.sendall(said)
        answer = everything(client)
    assert problem(answer) == TIMEOUT
    assert b"connection: close" in answer.lower()


@pytest.mark.parametrize("said", [b"GET /ping HTTP/1.1\r\nX-Long: ", HEAD % len(TILE)])
def test_a_client_that_trickles_is_told_so_and_its_connection_closed(impatient: Service, said: bytes) -> None:
    with connect(impatient) as client:
        client.sendall(said)
        client.settimeout(0.1)
        answer = b""
        while not answer.endswith(b"}"):
            client.sendall(b"x")  # 10 bytes a second, so that no pause is long
            try:
                answer += client.recv(65536)
            except TimeoutError:
                continue
    assert problem(answer) == TIMEOUT


def test_a_body_that_keeps_coming_is_waited_for_far_longer_than_one_that_stops(impatient: Service) -> None:
    large = TILE + bytes(400_000)  # GDAL does not mind what follows an image
    with connect(impatient) as client:
        client.sendall(HEAD % len(large))
        for i in range(0, len(large), 50_000):
            client.sendall(large[i : i + 50_000])
            time.sleep(0.2)  # 2 s in all
        assert client.recv(12) == b"HTTP/1.1 200"


def test_a_connection_that_was_used_may_begin_its_next_request_late_but_not_forget_it(impatient: Service) -> None:
    ping = b"GET /ping HTTP/1.1\r\nHost: x\r\n\r\n"
    with connect(impatient) as client:
        for _ in range(2):
            client.sendall(ping)
            assert client.recv(65536).startswith(b"HTTP/1.1 200")
            time.sleep(1.2)
        client.sendall(ping[:20])
        assert problem(everything(client)) == TIMEOUT


def test_the_rest_of_a_body_that_nobody_wants_is_not_waited_for(impatient: Service) -> None:
    with connect(impatient) as client:
        client.sendall(b"POST /ping HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nx")
        answer = everything(client)
    assert problem(answer) == (405, "method_not_allowed")


def test_only_a_body_has_a_deadline_and_not_the_answer_that_follows() -> None:
    seen: list[str] = []

    async def app(_scope: Scope, receive: Receive, _send: Send) -> None:
        seen.extend([(await receive())["type"] for _ in range(2)])

    async def receive() -> Message:
        if not began:
            began.append(True)
            return {"type": "http.request", "body": b"all of it", "more_body": False}
        await asyncio.sleep(0.1)
        return {"type": "http.disconnect"}

    async def send(_message: Message) -> None: ...

    began: list[bool] = []
    asyncio.run(BodyDeadline(app, seconds=0.01)({"type": "http"}, receive, send))
    assert seen == ["http.request", "http.disconnect"]


def header(size: int) -> bytes:
    return b"GET /ping HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX-Long: " + b"x" * size


@pytest.mark.parametrize("ends", [True, False])
@pytest.mark.parametrize("size", [LARGEST_HEAD + 1, 200_000, 2_000_000])
def test_headers_that_are_too_large_are_refused_and_endless_ones_while_they_come(
    service: Service, size: int, ends: bool
) -> None:
    with connect(service) as client:
        try:
            client.sendall(header(size) + b"\r\n\r\n" * ends)
        except OSError:
            assert size == 2_000_000  # it is told before it has said all
        answer = everything(client)
    assert problem(answer) == (431, "headers_too_large")


def test_headers_within_the_limit_are_taken_in_whatever_pieces_they_come(service: Service) -> None:
    with connect(service) as client:
        said = header(LARGEST_HEAD - 100) + b"\r\n\r\n"
        for i in range(0, len(said), 4000):
            client.sendall(said[i : i + 4000])
            time.sleep(0.01)
        assert everything(client).startswith(b"HTTP/1.1 200")


def test_a_long_url_is_a_large_head_too(service: Service) -> None:
    response = httpx.get(f"{service.url}/ping", params={"x": "x" * LARGEST_HEAD})
    assert (response.status_code, response.json()["code"]) == (431, "headers_too_large")


def metric(service: Service, name: str) -> float:
    rows = httpx.get(f"{service.url}/metrics", timeout=30).text.splitlines()
    return next((float(row.split()[-1]) for row in rows if row.startswith(name)), 0.0)


def test_what_a_client_that_left_had_asked_for_is_dropped(impatient: Service) -> None:
    scene = geotiff(reflectance(side=3600), compress="deflate")  # 900 windows
    patches, gone = "aerial_batch_size_sum", 'aerial_requests_total{code="client_gone"}'
    before = {name: metric(impatient, name) for name in (patches, gone)}
    for begun in (patches, "aerial_requests_in_flight"):  # one leaves its work in the engine, one on its way there
        at_first = metric(impatient, begun)
        with connect(impatient) as client:
            client.sendall(HEAD % len(scene) + scene)
            while metric(impatient, begun) == at_first:
                time.sleep(0.01)
        while metric(impatient, "aerial_requests_in_flight") > 0:  # draining would not wait for it either
            time.sleep(0.01)
    assert impatient.post(TILE).status_code == 200
    assert metric(impatient, gone) == before[gone] + 2
    assert metric(impatient, patches) - before[patches] < 900  # of 1,801
