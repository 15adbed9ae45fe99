from __future__ import annotations

import base64
from collections.abc import Iterator

import numpy as np
import pytest

from service.errors import ServiceError
from service.imagery.tiff import header
from service.imagery.tiff.header import Header
from service.imagery.tiff.limits import Limits
from service.model.artifact import Artifact
from service.pixels import PixelRoom
from tests.conftest import Service, start_service
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


def test_overlapping_windows_count_in_full() -> None:
    assert PixelRoom(9 * 120 * 120).take([of(240, 240)], 120, 60) == 9
    for stride in (60, 1):
        with pytest.raises(ServiceError) as error:
            PixelRoom(9 * 120 * 120 - 1).take([of(240, 240)], 120, stride)
        assert error.value.code == "image_too_large"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, tiny_artifact: Artifact) -> Iterator[Service]:
    """One that takes the pixels of two patches in a request."""
    running = start_service(tmp_path_factory.mktemp("pixels"), tiny_artifact.path, MAX_PIXELS=str(2 * 120 * 120))
    running.wait_until_ready()
    yield running
    running.process.kill()
    running.process.wait()


def test_a_scene_over_the_limit_is_told_the_limit_and_what_does_it(service: Service) -> None:
    scene = geotiff(reflectance(200)[:, :140])
    for answer in (service.post(scene, stride="60"), service.post(geotiff(reflectance(200)))):
        assert (answer.status_code, answer.json()["code"]) == (413, "image_too_large")
        assert answer.json()["limits"] == {"max_pixels": 28_800}
        assert "python -m service embed" in answer.json()["detail"]
    windows = [one["window"] for one in service.post(scene).json()["predictions"]]
    assert windows == [[column, row, 120, 120] for row in (0, 20) for column in (0, 80)]
    assert service.post(scene, stride="121").json()["code"] == "bad_option"


def test_tiles_beyond_the_pixels_of_a_request_are_refused_and_those_before_are_served(service: Service) -> None:
    image = base64.b64encode(geotiff(reflectance())).decode()
    lines = b"\n".join(b'{"id": "%d", "image": "%b"}' % (i, image.encode()) for i in range(3))
    answer = service.post(lines, kind="application/jsonlines", accept="application/json")
    assert answer.status_code == 200
    refused = [one for one in answer.json()["predictions"] if "error" in one]
    assert len(answer.json()["predictions"]) == 3
    assert [(one["error"]["code"], one["error"]["limits"]) for one in refused] == [
        ("image_too_large", {"max_pixels": 28_800})
    ]
