from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from affine import Affine
from rasterio.warp import transform_geom

from tests.imagery import PLACE, UTM_33N, codes, geotiff, read, reflectance, refused


def test_a_footprint_is_the_four_corners_in_longitude_and_latitude() -> None:
    (patch,) = read(geotiff(reflectance()))
    x, y = PLACE.c, PLACE.f
    corners = [[x, y], [x, y - 1200], [x + 1200, y - 1200], [x + 1200, y], [x, y]]
    expected = transform_geom(UTM_33N, "EPSG:4326", {"type": "Polygon", "coordinates": [corners]})
    assert patch.facts.footprint is not None
    assert patch.facts.footprint["type"] == "Polygon"
    assert np.allclose(patch.facts.footprint["coordinates"], expected["coordinates"], atol=1e-6)
    assert patch.facts.crs == UTM_33N


def test_a_south_up_footprint_still_turns_counter_clockwise() -> None:
    (patch,) = read(geotiff(reflectance(), transform=Affine(10, 0, PLACE.c, 0, 10, PLACE.f - 1200)))
    (upright,) = read(geotiff(reflectance()))
    assert patch.facts.footprint is not None
    assert upright.facts.footprint is not None
    ring, other = patch.facts.footprint["coordinates"][0], upright.facts.footprint["coordinates"][0]
    assert {*map(tuple, ring)} == {*map(tuple, other)}
    area = sum(a[0] * b[1] - b[0] * a[1] for a, b in pairwise(ring))
    assert area > 0


def test_without_georeference_there_is_a_warning_or_an_error_if_it_is_required() -> None:
    bare = geotiff(reflectance(), crs=None, transform=None)
    (patch,) = read(bare)
    assert patch.facts.footprint is None
    assert patch.facts.crs is None
    assert "no_georeference" in codes(patch)
    assert refused(bare, require_geo=True) == "no_georeference"


@pytest.mark.parametrize("crs", ['LOCAL_CS["site",UNIT["metre",1]]', "EPSG:5773"])
def test_a_system_without_a_place_on_a_map_is_no_georeference(crs: str) -> None:
    (patch,) = read(geotiff(reflectance(), crs=crs))
    assert patch.facts.footprint is None
    assert "no_georeference" in codes(patch)


def test_web_mercators_pixels_are_measured_on_the_ground() -> None:
    at_60_north = (1_500_000, 8_399_737)  # where a metre of the projection is half a metre on the ground
    for size, warned in ((20, False), (10, True)):
        transform = Affine(size, 0, at_60_north[0], 0, -size, at_60_north[1])
        (patch,) = read(geotiff(reflectance(), crs="EPSG:3857", transform=transform))
        assert ("gsd_mismatch" in codes(patch)) is warned


def test_pixels_of_another_size_on_the_ground_are_warned_of() -> None:
    (patch,) = read(geotiff(reflectance(), transform=Affine(60, 0, PLACE.c, 0, -60, PLACE.f)))
    assert "gsd_mismatch" in codes(patch)
    degrees = geotiff(reflectance(), crs="EPSG:4326", transform=Affine(1e-4, 0, 13.7, 0, -1e-4, 48.2))
    assert "gsd_mismatch" not in codes(read(degrees)[0])
