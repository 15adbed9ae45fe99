"""More work than can be done in time. How much of it is done in spite of that, tests/benchmarks/overload.py tells."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import httpx
import pytest

from service.model.artifact import Artifact
from tests.conftest import Service, start_service
from tests.corpus.trial import decode_processes, send
from tests.imagery import geotiff, reflectance
from tests.service.test_life import begin_upload
from tests.waiting import wait_until

TILE = geotiff(reflectance())


@pytest.fixture(scope="module")
def hurried(tmp_path_factory: pytest.TempPathFactory, tiny_artifact: Artifact) -> Iterator[Service]:
    """A service in which nothing may wait for anything else."""
    running = start_service(tmp_path_factory.mktemp("service"), tiny_artifact.path, MAX_WAIT_S="0.0001")
    running.wait_until_ready()
    yield running
    running.process.kill()
    running.process.wait()


@contextmanager
def busy(service: Service) -> Iterator[None]:
    """With a tile in a decode process that stands still; it is answered afterwards."""
    wait_until(lambda: service.post(TILE).status_code == 200)  # and no self-test comes for a while
    with ThreadPoolExecutor(1) as asking:
        send(signal.SIGSTOP, decode_processes(service))
        try:
            asked = asking.submit(service.post, TILE)
            wait_until(lambda: service.metric("aerial_patches_waiting") == 1)
            yield
        finally:
            send(signal.SIGCONT, decode_processes(service))
    assert asked.result().status_code == 200


def test_who_would_be_late_is_told_when_to_come_back_before_any_of_the_body_is_sent(hurried: Service) -> None:
    with busy(hurried), begin_upload(hurried, b"", 20_000_000) as client, client.makefile("rb") as answer:
        head = b"".join(iter(answer.readline, b"\r\n")).lower()
        problem = json.loads(answer.read(int(head.split(b"content-length: ")[1].split()[0])))
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


def test_of_tiles_too_many_for_the_time_some_are_served_and_the_others_told_to_come_back(hurried: Service) -> None:
    files = [(f"tile{i}", (f"tile{i}.tif", TILE, "image/tiff")) for i in range(8)]
    predictions = httpx.post(f"{hurried.url}/invocations", files=files, timeout=60).json()["predictions"]
    assert "embedding" in predictions[0]
    refused = [said["error"] for said in predictions if "error" in said]
    assert refused and {error["code"] for error in refused} == {"overloaded"}
    assert all(error["retry_after_s"] >= 1 for error in refused)
