from __future__ import annotations

import signal
from concurrent.futures import ThreadPoolExecutor

import httpx

from tests.conftest import StartService
from tests.corpus.trial import decode_processes, send
from tests.imagery import geotiff, reflectance
from tests.waiting import wait_until


def test_tiles_beyond_the_decode_queue_are_told_to_come_back(start: StartService) -> None:
    service = start(DECODE_QUEUE="1")
    service.wait_until_ready()
    tile = geotiff(reflectance(side=240))
    files = [(f"tile{i}", (f"tile{i}.tif", tile, "image/tiff")) for i in range(5)]
    with ThreadPoolExecutor(1) as asking:
        send(signal.SIGSTOP, decode_processes(service))  # so that none is decoded before the last has come
        asked = asking.submit(httpx.post, f"{service.url}/invocations?outputs=probabilities", files=files, timeout=60)
        wait_until(lambda: service.metric('aerial_refused_tiles_total{code="overloaded"}') == 3)
        send(signal.SIGCONT, decode_processes(service))
        answer = asked.result()
    assert answer.status_code == 200
    errors = [said["error"] for said in answer.json()["predictions"] if "error" in said]
    assert [error["code"] for error in errors] == ["overloaded"] * 3
    assert errors[0]["limits"] == {"decode_queue": 1} and errors[0]["retry_after_s"] >= 1
    assert len([said for said in answer.json()["predictions"] if "error" not in said]) == 2 * 4
