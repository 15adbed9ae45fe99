"""Accept: image/tiff, read by a GDAL program."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest
import rasterio
from rio_cogeo.cogeo import cog_validate

from tests.conftest import Service
from tests.imagery import PLACE, UTM_33N, geotiff, reflectance

TIFF = "image/tiff"
TILE = geotiff(reflectance())


def info(path: Path) -> dict[str, Any]:
    """What rasterio's program says of a file."""
    program = Path(sys.executable).with_name("rio")
    said: dict[str, Any] = json.loads(subprocess.run([program, "info", path], check=True, capture_output=True).stdout)
    return said


def test_a_scene_is_answered_with_its_map_which_lies_where_the_scene_lies(service: Service, tmp_path: Path) -> None:
    scene = geotiff(reflectance(side=360))
    map_ = tmp_path / "map.tif"
    response = service.post(scene, TIFF)
    assert (response.status_code, response.headers["content-type"]) == (200, TIFF)
    map_.write_bytes(response.content)
    assert cog_validate(map_, strict=True) == (True, [], [])
    told = info(map_)
    assert (told["crs"], told["bounds"]) == (UTM_33N, [404400, 5342400 - 3600, 404400 + 3600, 5342400])
    assert (told["shape"], told["descriptions"]) == ([3, 3], ["field", "town", "lake", "sea", "desert", "Water (any)"])
    predictions = service.post(scene).json()["predictions"]
    with rasterio.open(map_) as cells:
        for prediction in predictions:
            column, row, *_ = prediction["window"]
            (found,) = cells.sample([PLACE @ (column + 60, row + 60)])
            probabilities = {**prediction["probabilities"], **prediction["groups"]}
            assert found.tolist() == [255 if p is None else round(250 * p) for p in probabilities.values()]


def test_windows_that_overlap_are_cells_of_a_stride(service: Service) -> None:
    response = service.post(geotiff(reflectance(side=250)), TIFF, stride="60")
    with rasterio.open(io.BytesIO(response.content)) as cells:
        assert (cells.shape, cells.res) == ((4, 4), (600, 600))
        assert cells.transform @ (0, 0) == PLACE @ (30, 30)
        assert (cells.read(1) != 255).all()


def test_a_patch_is_a_map_of_one_cell_and_top_k_leaves_the_rest_without_data(service: Service) -> None:
    response = service.post(TILE, TIFF, top_k="1")
    with rasterio.open(io.BytesIO(response.content)) as cell:
        assert (cell.shape, cell.transform @ (1, 1)) == ((1, 1), PLACE @ (120, 120))
        labels = cell.read().ravel()[:5]
        assert (labels != 255).sum() == 1


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"outputs": "embedding"}, (400, "bad_option")),
        ({"outputs": "embedding,probabilities"}, (400, "bad_option")),
        ({"embedding_dtype": "int8"}, (400, "bad_option")),
        ({"threshold": "0.5"}, (400, "bad_option")),
    ],
)
def test_a_map_refuses_what_it_cannot_show(service: Service, options: dict[str, str], code: tuple[int, str]) -> None:
    refused = service.post(TILE, TIFF, **options)
    assert (refused.status_code, refused.json()["code"]) == code


def test_a_map_needs_one_tile_that_lies_somewhere(service: Service) -> None:
    files = [(name, (f"{name}.tif", TILE, TIFF)) for name in "ab"]
    two = httpx.post(f"{service.url}/invocations", files=files, headers={"Accept": TIFF})
    assert (two.status_code, two.json()["code"]) == (406, "not_acceptable")
    nowhere = service.post(geotiff(reflectance(), crs=None, transform=None), TIFF)
    assert (nowhere.status_code, nowhere.json()["code"]) == (422, "no_georeference")
    broken = service.post(TILE[:500], TIFF)
    assert (broken.status_code, broken.json()["code"]) == (422, "truncated")
