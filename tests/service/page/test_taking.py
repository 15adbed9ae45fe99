from __future__ import annotations

import json
import shutil
import subprocess
from io import BytesIO
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from playwright.sync_api import Page, expect

from tests.conftest import Service
from tests.imagery import geotiff, reflectance
from tests.service.page.conftest import SCENE, choose, tiff


def test_what_is_downloaded_is_what_the_service_answers(page: Page, service: Service) -> None:
    choose(page, tiff(SCENE, "valley.tif"))
    with page.expect_download() as download:
        page.get_by_role("button", name="Download").click()
    assert download.value.suggested_filename == "valley-land-cover.parquet"
    table = pq.read_table(BytesIO(Path(download.value.path()).read_bytes()))
    expected = [one["embedding"] for one in service.post(SCENE).json()["predictions"]]
    assert np.array(table["embedding"].to_pylist()) == pytest.approx(np.array(expected), abs=1e-5)
    expect(page.get_by_text("valley-land-cover.parquet: ")).to_be_visible()


def test_a_map_for_gis_is_one_choice_away(page: Page) -> None:
    choose(page, tiff(SCENE, "valley.tif"))
    for name, ending, begins in (("GeoTIFF map (COG)", "tif", b"II*\0"), ("GeoJSON", "geojson", b"{")):
        page.select_option("#format", label=name)
        with page.expect_download() as download:
            page.get_by_role("button", name="Download").click()
        assert download.value.suggested_filename == f"valley-land-cover.{ending}"
        assert Path(download.value.path()).read_bytes().startswith(begins)


def test_a_file_that_cannot_be_had_says_why(page: Page) -> None:
    choose(page, tiff(SCENE, "a.tif"), tiff(b"no", "b.tif"))
    page.select_option("#format", label="NumPy, embeddings alone")  # an array has no place for an error
    page.get_by_role("button", name="Download").click()
    expect(page.locator("#taken")).to_contain_text("There is no such file (not_a_tiff): ")


@pytest.mark.parametrize("names", [["it's a scene.tif"], ["a, b;_B04.tif", "a, b;_B03.tif", "a, b;_B02.tif"]])
def test_the_curl_line_does_the_same(page: Page, tmp_path: Path, names: list[str]) -> None:
    if shutil.which("curl") is None:
        pytest.skip("no curl to run the line with")
    values = reflectance()
    files = [geotiff(values, names=("B04", "B03", "B02"))]
    if len(names) > 1:
        files = [geotiff(values[i : i + 1]) for i in range(3)]
    for name, data in zip(names, files, strict=True):
        (tmp_path / name).write_bytes(data)
    choose(page, *(tiff(data, name) for name, data in zip(names, files, strict=True)))
    page.select_option("#format", label="JSON")
    line = page.locator("#curl code").inner_text()
    subprocess.run(["sh", "-c", line], cwd=tmp_path, check=True, capture_output=True)
    (answer,) = tmp_path.glob("*.json")
    assert json.loads(answer.read_text())["predictions"][0]["window"] == [0, 0, 120, 120]


def test_the_curl_line_can_be_copied(page: Page) -> None:
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    choose(page, tiff(SCENE, "valley.tif"))
    page.get_by_role("button", name="Copy").click()
    expect(page.locator("#taken")).to_have_text("Copied.")
    assert page.evaluate("navigator.clipboard.readText()") == page.locator("#curl code").inner_text()
