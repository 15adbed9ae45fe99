"""More work than can be done in time. How much of it is done in spite of that, tests/benchmarks/overload.py tells."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import socket
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
import uvicorn
import uvloop
from starlette.types import Receive, Scope, Send

from service import problems
from service.callers import connection
from service.callers.connection import LARGEST_HEAD, MOST_WAITING
from service.errors import ServiceError
from service.model.artifact import Artifact
from tests.conftest import Service, StartService, start_service
from tests.corpus.trial import decode_processes, send
from tests.imagery import geotiff, reflectance
from tests.service.test_life import begin_upload
from tests.service.test_slow_clients import connect, everything
from tests.waiting import wait_until

TILE = geotiff(reflectance())
PING = b"GET /ping HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
WORK = b"POST /invocations HTTP/1.1\r\nHost: x\r\nContent-Type: image/tiff\r\nContent-Length: %d\r\n\r\n"
SETTINGS = {"MAX_WAIT_S": "0.0001", "RECEIVE_TIMEOUT_S": "2"}  # in which nothing may wait for anything else


@pytest.fixture(scope="module")
def hurried(tmp_path_factory: pytest.TempPathFactory, tiny_artifact: Artifact) -> Iterator[Service]:
    running = start_service(tmp_path_factory.mktemp("service"), tiny_artifact.path, **SETTINGS)
    running.wait_until_ready()
    yield running
    running.process.kill()
    running.process.wait()


@contextlib.contextmanager
def busy(service: Service, key: str = "") -> Iterator[None]:
    """With a tile in a decode process that stands still; it is answered afterwards."""
    more = {"headers": {"Content-Type": "image/tiff", "X-API-Key": key}}

    def post() -> httpx.Response:
        return httpx.post(f"{service.url}/invocations", content=TILE, timeout=60, **more)

    wait_until(lambda: post().status_code == 200)  # and no self-test comes for a while
    with ThreadPoolExecutor(1) as asking:
        send(signal.SIGSTOP, decode_processes(service))
        try:
            asked = asking.submit(post)
            wait_until(lambda: service.metric("aerial_patches_waiting", **more) == 1)
            yield
        finally:
            send(signal.SIGCONT, decode_processes(service))
    assert asked.result().status_code == 200


def answer(client: socket.socket) -> bytes:
    """The next on a connection."""
    said = b""
    while b"\r\n\r\n" not in said:
        said += (piece := client.recv(1))
        assert piece, f"the connection was closed after {said!r}"
    return said + client.recv(int(said.lower().split(b"content-length: ")[1].split()[0]), socket.MSG_WAITALL)


def is_listening(service: Service) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", service.port.number)) == 0


def test_who_would_be_late_is_told_when_to_come_back_before_any_of_the_body_is_sent(hurried: Service) -> None:
    with busy(hurried), begin_upload(hurried, b"", 20_000_000) as client:
        head, _, body = answer(client).partition(b"\r\n\r\n")
    head, problem = head.lower() + b"\r\n", json.loads(body)
    assert (problem["status"], problem["code"]) == (429, "overloaded")
    assert problem["retry_after_s"] >= 1
    assert problem["limits"] == {"wait_s": pytest.approx(0, abs=5), "max_wait_s": 0.0001}
    assert b"retry-after: %d\r\n" % problem["retry_after_s"] in head
    assert hurried.metric('aerial_requests_total{code="overloaded"}') >= 1


def test_other_routes_are_open_while_work_is_refused(hurried: Service) -> None:
    with busy(hurried):
        assert httpx.get(f"{hurried.url}/ping").status_code == 200
        assert httpx.get(f"{hurried.url}/model").status_code == 200
        assert httpx.get(f"{hurried.url}/invocations").status_code == 405
        assert hurried.post(TILE).status_code == 429


@pytest.mark.parametrize("ends", [False, True])
def test_a_refusal_is_for_clients_too_that_send_all_before_they_read(hurried: Service, ends: bool) -> None:
    with busy(hurried), connect(hurried) as client:
        client.sendall(WORK[:-2] % 1_000_000 + b"Connection: close\r\n" * ends + b"\r\n")
        client.recv(1, socket.MSG_PEEK)  # it is refused
        for _ in range(10):
            client.sendall(bytes(100_000))
            time.sleep(0.01)
        with contextlib.suppress(ConnectionError):  # closed with the last of them, it may reset what comes later
            client.sendall(PING)
        answers = answer(client)
        with contextlib.suppress(ConnectionError):
            answers += everything(client)
    assert answers.startswith(b"HTTP/1.1 429")
    assert b"\r\ndate: " in answers
    assert answers.count(b"HTTP/1.1 ") == (1 if ends else 2)


def test_a_connection_on_which_work_was_refused_serves_on(hurried: Service) -> None:
    with busy(hurried), connect(hurried) as client:
        for piece in (WORK % 2 + b"I", b"I" + PING):
            client.sendall(piece)
            time.sleep(0.05)
        answers = everything(client)
    assert answers.startswith(b"HTTP/1.1 429")
    assert b"HTTP/1.1 200" in answers


def test_a_body_that_follows_a_refused_request_is_not_read_either(hurried: Service) -> None:
    with busy(hurried), connect(hurried) as client:
        client.sendall(WORK % 2 + b"II" + WORK % 20_000_000)
        assert [answer(client)[:12] for _ in range(2)] == [b"HTTP/1.1 429"] * 2


def test_a_head_that_is_too_large_is_told_so_in_overload_too(hurried: Service) -> None:
    with busy(hurried):
        refused = httpx.post(f"{hurried.url}/invocations", content=TILE, headers={"X-Long": "x" * LARGEST_HEAD})
    assert (refused.status_code, refused.json()["code"]) == (431, "headers_too_large")


@pytest.mark.parametrize("headers", [b"", b"Connection: close\r\n"])
def test_whoever_was_refused_and_trickles_is_cut_off(hurried: Service, headers: bytes) -> None:
    with busy(hurried), connect(hurried) as client:
        client.sendall(WORK[:-2] % 1_000_000 + headers + b"\r\n")
        with pytest.raises(ConnectionError):
            for _ in range(100):  # 10 s, and none of it a pause that is long
                client.sendall(b"x")
                time.sleep(0.1)


def test_of_requests_sent_without_waiting_for_answers_some_are_refused_and_many_close_the_connection(
    hurried: Service,
) -> None:
    with busy(hurried):
        for sent, refused in ((MOST_WAITING + 1, MOST_WAITING + 1), (10 * MOST_WAITING, 1)):
            with connect(hurried) as client:
                client.sendall((WORK % 2 + b"II") * sent + PING)
                answers = everything(client)
            assert answers.count(b"HTTP/1.1 429") == refused
            assert answers.count(b"HTTP/1.1 200") == (sent == refused)


def test_who_is_refused_and_does_not_read_is_left_to_the_application_which_waits() -> None:
    left: list[str] = []

    def refuse(_scope: Mapping[str, Any]) -> ServiceError:
        return ServiceError("overloaded", "x" * 1000)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        left.append(scope["path"])
        await problems.response(refuse(scope))(scope, receive, send)

    async def ask_without_reading() -> None:
        http = connection.kind(30, refuse)
        server = uvicorn.Server(uvicorn.Config(app, http=http, ws="none", lifespan="off", log_config=None))
        with socket.create_server(("127.0.0.1", 0)) as listening:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)  # of all that connect
            serving = asyncio.create_task(server.serve([listening]))
            reader, writer = await asyncio.open_connection(*listening.getsockname(), limit=1)
            for asked in range(10_000):  # noqa: B007 as many as it takes
                if left:
                    break
                writer.write(WORK % 2 + b"II")
                await asyncio.sleep(0.001)
            writer.write(PING)
            answers = await reader.read()
            server.should_exit = True
            await serving
        assert left
        assert answers.count(b"HTTP/1.1 429") == asked + 1

    uvloop.run(ask_without_reading())


def test_who_has_no_key_is_told_that_and_not_how_busy_the_service_is(start: StartService) -> None:
    service = start(**SETTINGS, API_KEYS="a-key-of-the-service")
    service.wait_until_ready()
    with busy(service, "a-key-of-the-service"):
        for key, code in (("a-key-of-the-service", "overloaded"), ("another", "unauthorized")):
            answer = httpx.post(f"{service.url}/invocations", content=TILE, headers={"X-API-Key": key}, timeout=60)
            assert answer.json()["code"] == code


def test_who_was_refused_and_still_sends_when_the_service_ends_may_read_why(start: StartService) -> None:
    service = start(MAX_WAIT_S=SETTINGS["MAX_WAIT_S"])
    service.wait_until_ready()
    with busy(service):
        client = begin_upload(service, b"", 1_000_000)
        wait_until(lambda: client.recv(1, socket.MSG_PEEK) == b"H")
        service.process.send_signal(signal.SIGTERM)
    wait_until(lambda: not is_listening(service))  # since all is answered
    with client:
        for _ in range(10):
            client.sendall(bytes(100_000))
            time.sleep(0.02)
        assert everything(client).startswith(b"HTTP/1.1 429")
    assert service.process.wait(60) == 0


def test_of_tiles_too_many_for_the_time_some_are_served_and_the_others_told_to_come_back(hurried: Service) -> None:
    files = [(f"tile{i}", (f"tile{i}.tif", TILE, "image/tiff")) for i in range(8)]
    predictions = httpx.post(f"{hurried.url}/invocations", files=files, timeout=60).json()["predictions"]
    assert "embedding" in predictions[0]
    refused = [said["error"] for said in predictions if "error" in said]
    assert refused and {error["code"] for error in refused} == {"overloaded"}
    assert all(error["retry_after_s"] >= 1 for error in refused)
