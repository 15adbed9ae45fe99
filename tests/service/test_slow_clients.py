"""Clients that stall, trickle, or leave."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import time
from collections.abc import Iterator

import httpx
import pytest
from starlette.types import Message, Receive, Scope, Send

from service.callers.connection import LARGEST_HEAD, MOST_WAITING
from service.callers.deadline import BodyDeadline
from service.errors import ServiceError
from service.model.artifact import Artifact
from tests.conftest import Service, start_service
from tests.imagery import geotiff, reflectance
from tests.waiting import wait_until

TILE = geotiff(reflectance())
HEAD = b"POST /invocations HTTP/1.1\r\nHost: x\r\nContent-Type: image/tiff\r\nContent-Length: %d\r\n\r\n"
PING = b"GET /ping HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.fixture(scope="module")
def silent_s3() -> Iterator[socket.socket]:
    """An S3 that answers nothing by itself."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(30)
        yield listening


@pytest.fixture(scope="module")
def impatient(
    tmp_path_factory: pytest.TempPathFactory, tiny_artifact: Artifact, silent_s3: socket.socket
) -> Iterator[Service]:
    """A service that waits two seconds for each part of a request."""
    s3 = {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{silent_s3.getsockname()[1]}", "ALLOWED_S3_PREFIXES": "s3://tiles"}
    role = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_DEFAULT_REGION": "eu-central-1"}
    running = start_service(
        tmp_path_factory.mktemp("service"), tiny_artifact.path, RECEIVE_TIMEOUT_S="2", MAX_WAIT_S="600", **s3, **role
    )
    running.wait_until_ready()
    yield running
    running.end()


def connect(service: Service) -> socket.socket:
    host, port = service.url.removeprefix("http://").split(":")
    return socket.create_connection((host, int(port)), timeout=60)


def everything(client: socket.socket) -> bytes:
    """Until the other side closes."""
    return b"".join(iter(lambda: client.recv(65536), b""))


def problem(answer: bytes) -> tuple[int, str]:
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"content-type: application/problem+json" in head.lower()
    return int(head.split()[1]), json.loads(body)["code"]


TIMEOUT = (408, "receive_timeout")


@pytest.mark.parametrize("said", [b"\r\n", b"POST /invocations HTTP/1.1\r\nHost: x\r\n", HEAD % len(TILE) + TILE[:50]])
def test_a_client_that_stops_is_told_so_and_its_connection_closed(impatient: Service, said: bytes) -> None:
    with connect(impatient) as client:
        client.sendall(said)
        answer = everything(client)
    assert problem(answer) == TIMEOUT
    assert b"connection: close" in answer.lower()


def test_a_connection_on_which_nothing_was_said_is_closed_without_a_word(impatient: Service) -> None:
    with connect(impatient) as client:
        assert everything(client) == b""


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
    large = TILE + bytes(600_000)  # GDAL does not mind what follows an image
    with connect(impatient) as client:
        client.sendall(HEAD % len(large))
        for i in range(0, len(large), 50_000):
            client.sendall(large[i : i + 50_000])
            time.sleep(0.2)  # 2.8 s in all
        assert client.recv(12) == b"HTTP/1.1 200"


def test_a_connection_that_was_used_may_begin_its_next_request_late_but_not_forget_it(impatient: Service) -> None:
    with connect(impatient) as client:
        for _ in range(2):
            client.sendall(PING)
            assert client.recv(65536).startswith(b"HTTP/1.1 200")
            time.sleep(2.2)
        client.sendall(PING[:20])
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


def test_what_came_fast_buys_no_right_to_stall() -> None:
    pieces = [{"type": "http.request", "body": bytes(10_000_000), "more_body": True}]

    async def app(_scope: Scope, receive: Receive, _send: Send) -> None:
        for _ in range(2):
            await receive()

    async def receive() -> Message:
        return pieces.pop() if pieces else await asyncio.Future()

    async def send(_message: Message) -> None: ...

    async def asked() -> None:
        async with asyncio.timeout(30):  # of the 100 s that it would have bought
            await BodyDeadline(app, seconds=0.01)({"type": "http"}, receive, send)

    with pytest.raises(ServiceError) as error:
        asyncio.run(asked())
    assert error.value.code == "receive_timeout"


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
    response = service.get("/ping", params={"x": "x" * LARGEST_HEAD})
    assert (response.status_code, response.json()["code"]) == (431, "headers_too_large")


@pytest.mark.parametrize("trailers", [b"a:b\r\n" * 200_000, b"a: " + b"x" * 1_000_000])
@pytest.mark.parametrize("path", [b"/ping", b"/invocations"])
def test_what_follows_a_body_without_end_closes_the_connection(service: Service, path: bytes, trailers: bytes) -> None:
    with connect(service) as client:
        client.settimeout(15)  # well before the deadline of a body, which would close it too
        client.sendall(b"POST " + path + b" HTTP/1.1\r\nHost: x\r\nContent-Type: image/tiff\r\n")
        client.sendall(b"Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n")
        with contextlib.suppress(ConnectionError):  # what it had not read when it closed resets the connection
            client.sendall(trailers)
            everything(client)


def test_some_requests_may_wait_on_a_connection_and_many_close_it(service: Service) -> None:
    last = PING.replace(b"Host: x", b"Connection: close")
    for waiting, answered in ((MOST_WAITING, MOST_WAITING + 1), (MOST_WAITING + 1, 0)):
        with connect(service) as client:
            client.sendall(PING * waiting + last)
            assert everything(client).count(b"HTTP/1.1 200") == answered


@pytest.mark.parametrize("headers", [{}, {"Connection": "close"}])
def test_an_early_answer_reaches_clients_that_send_all_before_they_read(
    service: Service, headers: dict[str, str]
) -> None:
    said = {"Content-Type": "text/css", **headers}
    refused = httpx.post(f"{service.url}/invocations", content=bytes(10_000_000), headers=said, timeout=60)
    assert (refused.status_code, refused.json()["code"]) == (415, "unsupported_media_type")


@pytest.mark.parametrize(
    "said",
    [
        b"nonsense\r\n\r\n",
        b"CONNECT x:80 HTTP/1.1\r\nHost: x\r\n\r\n",
        b"POST /invocations HTTP/1.1\r\nContent-Type: image/tiff\r\nTransfer-Encoding: chunked\r\n\r\nnonsense",
    ],
)
def test_what_is_no_request_is_answered_with_a_problem(service: Service, said: bytes) -> None:
    with connect(service) as client:
        client.sendall(said)
        assert problem(everything(client)) == (400, "bad_request")


def test_nobody_is_redirected_to_a_host_of_their_choice(service: Service) -> None:
    response = service.get("/ping/", headers={"Host": "elsewhere"})
    assert (response.status_code, response.json()["code"]) == (404, "not_found")


def test_who_asks_for_another_protocol_is_answered_in_this_one_and_fills_no_log(service: Service) -> None:
    response = service.get("/ping", headers={"Connection": "Upgrade", "Upgrade": "h2c"})
    assert response.status_code == 200
    assert "upgrade" not in service.log.read_text()


def test_what_a_client_that_left_had_asked_for_is_dropped(impatient: Service) -> None:
    scene = geotiff(reflectance(side=3600), compress="deflate")  # 900 windows
    patches, gone = "aerial_batch_size_sum", 'aerial_requests_total{code="client_gone"}'
    before = {name: impatient.metric(name) for name in (patches, gone)}
    for begun in (patches, "aerial_requests_in_flight"):  # one leaves its work in the engine, one on its way there
        at_first = impatient.metric(begun)
        with connect(impatient) as client:
            client.sendall(HEAD % len(scene) + scene + PING)  # its newest request is not the one that costs
            wait_until(lambda begun=begun, at_first=at_first: impatient.metric(begun) != at_first)
        wait_until(lambda: impatient.metric("aerial_requests_in_flight") == 0)  # draining would not wait for it either
    assert impatient.post(TILE).status_code == 200
    assert impatient.metric(gone) == before[gone] + 2
    assert impatient.metric(patches) - before[patches] < 900  # of 1,801


def test_a_tile_that_is_fetched_for_a_client_that_left_is_not_looked_at(
    impatient: Service, silent_s3: socket.socket
) -> None:
    scene = geotiff(reflectance(side=480))  # 16 windows
    at_first = impatient.metric("aerial_batch_size_sum")
    line = b'{"s3_uri": "s3://tiles/scene.tif"}\n'
    with connect(impatient) as client:
        client.sendall(HEAD.replace(b"image/tiff", b"application/jsonlines") % len(line) + line)
        s3, _ = silent_s3.accept()
    wait_until(lambda: impatient.metric("aerial_requests_in_flight") == 0)
    with s3:
        s3.recv(65536)
        s3.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(scene) + scene)
        assert impatient.post(TILE).status_code == 200
    assert impatient.metric("aerial_batch_size_sum") - at_first < 16
