from __future__ import annotations

import base64

import numpy as np
import pytest

from service.errors import ServiceError
from service.imagery.tiff import header
from service.imagery.tiff.header import Header
from service.imagery.tiff.limits import Limits
from service.pixels import PixelRoom
from tests.conftest import StartService
from tests.imagery import geotiff, reflectance


def of(height: int, width: int) -> Header:
    return header.read(geotiff(np.zeros((1, height, width), np.uint8)), Limits())


def test_tiles_share_the_pixels_of_a_request() -> None:
    room = PixelRoom(120 * 120 + 240 * 240)
    assert room.take([of(120, 120)], 120) == 1
    assert room.take([of(240, 240)], 120) == 4
    with pytest.raises(ServiceError) as error:
        room.take([of(8, 8)], 120)
    assert (error.value.code, error.value.more["limits"]) == ("image_too_large", {"max_pixels": 72_000})


def test_band_files_count_once_and_by_the_finest() -> None:
    room = PixelRoom(240 * 240)
    assert room.take([of(120, 120), of(240, 240), of(240, 240)], 120) == 4
    assert room.take([], 120) == 0


def test_a_long_thin_image_counts_by_its_patches() -> None:
    with pytest.raises(ServiceError):
        PixelRoom(300_000).take([of(8, 12_000)], 120)  # 96,000 pixels in 100 patches
    assert PixelRoom(1_000_000).take([of(8, 12_000)], 120) == 100


def test_tiles_beyond_the_pixels_of_a_request_are_refused_and_those_before_are_served(start: StartService) -> None:
    service = start(MAX_PIXELS=str(2 * 120 * 120))
    service.wait_until_ready()
    image = base64.b64encode(geotiff(reflectance())).decode()
    lines = b"\n".join(b'{"id": "%d", "image": "%b"}' % (i, image.encode()) for i in range(3))
    answer = service.post(lines, kind="application/jsonlines", accept="application/json")
    assert answer.status_code == 200
    refused = [one for one in answer.json()["predictions"] if "error" in one]
    assert len(answer.json()["predictions"]) == 3
    assert [(one["error"]["code"], one["error"]["limits"]) for one in refused] == [
        ("image_too_large", {"max_pixels": 28_800})
    ]
