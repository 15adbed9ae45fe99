from __future__ import annotations

import httpx

from tests.conftest import StartService
from tests.imagery import geotiff, reflectance


def test_tiles_beyond_the_decode_queue_are_told_to_come_back(start: StartService) -> None:
    service = start(DECODE_WORKERS="1", DECODE_QUEUE="1")
    service.wait_until_ready()
    tile = geotiff(reflectance(side=600), compress="deflate")
    files = [(f"tile{i}", (f"tile{i}.tif", tile, "image/tiff")) for i in range(5)]
    answer = httpx.post(f"{service.url}/invocations?outputs=probabilities", files=files, timeout=60)
    assert answer.status_code == 200
    errors = [said["error"] for said in answer.json()["predictions"] if "error" in said]
    assert [error["code"] for error in errors] == ["overloaded"] * 3
    assert errors[0]["limits"] == {"decode_queue": 1} and errors[0]["retry_after_s"] >= 1
    assert len([said for said in answer.json()["predictions"] if "error" not in said]) == 2 * 25
