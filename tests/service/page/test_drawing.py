from __future__ import annotations

import re

import numpy as np
import pytest
from affine import Affine
from playwright.sync_api import Page, expect
from rasterio.warp import transform

from tests.imagery import PLACE, UTM_33N, geotiff, reflectance
from tests.service.page.conftest import SCENE, SIDE, choose, colour, look, spot, tiff


def test_the_image_has_its_colours_where_they_are(page: Page) -> None:
    values = np.full((3, SIDE, SIDE), 400, np.uint16)
    values[0, :240, :240], values[1, :240, 240:], values[2, 240:, :240] = 1600, 1600, 1600
    choose(page, tiff(geotiff(values, names=("B04", "B03", "B02"))))
    look(page, "Image")
    for x, y, strongest in ((100, 100, 0), (380, 100, 1), (100, 380, 2)):
        seen = colour(page, x, y)
        assert int(np.argmax(seen)) == strongest
        assert max(seen) > 240 and min(seen) < 15, "stretched"
    assert max(colour(page, 380, 380)) < 15


def test_one_label_can_be_seen_alone_and_opacity_counts(page: Page) -> None:
    choose(page, tiff(SCENE))
    look(page, "Image")
    bare = colour(page, 60, 60)
    page.locator("#legend summary").first.click()
    button = page.locator("#legend button", has_text="town")
    button.click()
    assert button.get_attribute("aria-pressed") == "true"
    slider = page.locator("#opacity input")
    slider.fill("100")
    assert colour(page, 60, 60) != bare
    slider.fill("0")
    assert colour(page, 60, 60) == bare


def test_a_window_beside_the_earth_has_no_place(page: Page) -> None:
    ring = [[14, 50], [14, 49], [15, 49], [15, 50], [14, 50]]
    corners = page.evaluate(
        """async (ring) => {
          const { cornersOf } = await import("./page/ground/place.js");
          const cell = (x, footprint) => ({ x, y: 0, width: 120, height: 120, footprint });
          return cornersOf({ cells: [cell(0, null), cell(120, { type: "Polygon", coordinates: [ring] })] });
        }""",
        ring,
    )
    assert corners == [None, {"upperLeft": ring[0], "lowerLeft": ring[1], "lowerRight": ring[2], "upperRight": ring[3]}]


@pytest.mark.parametrize(
    "place",
    [PLACE, PLACE @ Affine.scale(1, -1), PLACE @ Affine.rotation(30), Affine(10, 0, 799_000, 0, -10, 20_000)],
    ids=["north up", "south up", "turned", "over the equator"],
)
def test_the_place_under_the_pointer_is_right_to_half_a_pixel(page: Page, place: Affine) -> None:
    choose(page, tiff(geotiff(reflectance(side=SIDE), transform=place)))
    box = page.locator("#map").bounding_box()
    assert box is not None
    for x, y in ((240, 240), (101, 402)):
        at = spot(page, x, y)
        page.mouse.move(box["x"] + at[0], box["y"] + at[1])
        latitude, north, longitude, east = re.findall(r"[\d.]+|[NSEW]", page.locator("#position").inner_text())
        signed = float(longitude) * (-1) ** (east == "W"), float(latitude) * (-1) ** (north == "S")
        (easting,), (northing,) = transform("EPSG:4326", UTM_33N, [signed[0]], [signed[1]])
        assert ~place @ (easting, northing) == pytest.approx((x, y), abs=1)  # and the pointer is on whole CSS pixels


def test_without_a_place_there_are_pixels(page: Page) -> None:
    choose(page, tiff(geotiff(reflectance(side=SIDE), names=("B04", "B03", "B02"), crs=None, transform=None)))
    page.locator("#map").hover()
    expect(page.locator("#position")).to_have_text(re.compile(r"^column 2[34]\d, row 2[34]\d$"))
    expect(page.locator("#north")).to_be_hidden()
    expect(page.locator("#scale")).to_contain_text("px")
