from __future__ import annotations

import math
import struct
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from affine import Affine
from rasterio.warp import transform, transform_geom

from service.imagery.outline import area_m2, of_well_known_binary, polygons, well_known_binary
from tests.imagery import PLACE, UTM_33N, codes, geotiff, read, reflectance, refused
from tests.oddities import with_control_points


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


def test_systems_of_the_same_name_are_not_taken_for_each_other() -> None:
    for latitude in (47, 48, 47):
        (patch,) = read(geotiff(reflectance(), crs=f"+proj=laea +lat_0={latitude} +lon_0=11 +ellps=bessel +units=m"))
        assert patch.facts.crs
        assert f'"latitude_of_center",{latitude}]' in patch.facts.crs


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


def footprint(crs: str, transform: Affine) -> dict[str, Any] | None:
    """Of 120 × 120 pixels."""
    (patch,) = read(geotiff(reflectance(), crs=crs, transform=transform))
    assert ("no_georeference" in codes(patch)) is (patch.facts.footprint is None)
    return patch.facts.footprint


def square_metres(footprint: dict[str, Any]) -> float:
    """Of a footprint on the sphere; each ring turns counter-clockwise and stays on the map."""
    total = 0.0
    for (ring,) in polygons(footprint):
        assert ring[0] == ring[-1]
        assert all(abs(x) <= 180 and abs(y) <= 90 for x, y in ring)
        assert all(one != other for one, other in pairwise(ring))
        area = sum(
            math.radians(x0 - x1) * (math.sin(math.radians(y0)) + math.sin(math.radians(y1))) / 2
            for (x0, y0), (x1, y1) in pairwise(ring)
        )
        assert area > 0
        total += area * 6_371_007**2
    return total


def bounds(ring: list[list[float]]) -> tuple[float, float, float, float]:
    xs, ys = zip(*ring, strict=True)
    return min(xs), min(ys), max(xs), max(ys)


@pytest.mark.parametrize(
    ("crs", "place", "side_m"),
    [
        ("EPSG:4326", Affine(0.01, 0, 179.4, 0, -0.01, 0.6), 133_430),
        ("EPSG:4326", Affine(0.01, 0, -180.6, 0, -0.01, 0.6), 133_430),
        ("EPSG:3857", Affine(10, 0, 20_037_508 - 600, 0, -10, 600), 1198.7),
        ("EPSG:32660", Affine(60, 0, 830_000, 0, -60, 3600), 7209),
        ("EPSG:32660", Affine(60, 0, 830_000, 0, 60, -3600), 7209),
        ("EPSG:3995", Affine(100, 0, -6000, 0, -100, 2_000_000), 11_996),
    ],
)
def test_a_footprint_across_the_antimeridian_is_two_polygons_that_meet_there(
    crs: str, place: Affine, side_m: float
) -> None:
    found = footprint(crs, place)
    assert found is not None
    assert found["type"] == "MultiPolygon"
    (west,), (east,) = sorted(polygons(found), key=lambda rings: -bounds(rings[0])[2])
    assert bounds(west)[2] == 180
    assert bounds(west)[0] > 170
    assert bounds(east)[0] == -180
    assert bounds(east)[2] < -170
    seams = [sorted(y for x, y in ring if abs(x) == 180) for ring in (west, east)]
    assert {*seams[0]} == {*seams[1]}
    assert math.sqrt(square_metres(found)) == pytest.approx(side_m, rel=2e-3)


def test_a_footprint_that_only_touches_the_antimeridian_is_one_polygon() -> None:
    for west in (-180, 178.8):
        found = footprint("EPSG:4326", Affine(0.01, 0, west, 0, -0.01, 10))
        assert found is not None
        assert found["type"] == "Polygon"
        assert bounds(found["coordinates"][0]) == (west, 8.8, west + 1.2, 10)


def test_longitudes_over_180_are_brought_back() -> None:
    found = footprint("EPSG:4326", Affine(0.01, 0, 200, 0, -0.01, 10))
    assert found is not None
    assert bounds(found["coordinates"][0]) == pytest.approx((-160, 8.8, -158.8, 10))


@pytest.mark.parametrize(("crs", "pole"), [("EPSG:3995", 90), ("EPSG:3031", -90)])
@pytest.mark.parametrize(("east", "north"), [(0, 0), (3000, 0), (0, -3000), (2500, 5000)])
@pytest.mark.parametrize("is_south_up", [False, True])
def test_a_footprint_around_a_pole_covers_it(crs: str, pole: int, east: int, north: int, is_south_up: bool) -> None:
    step = 100 if is_south_up else -100
    found = footprint(crs, Affine(100, 0, east - 6000, 0, step, north - 60 * step))
    assert found is not None
    assert found["type"] == "Polygon"
    (ring,) = found["coordinates"]
    west, south, east_end, north_end = bounds(ring)
    assert (west, east_end) == (-180, 180)
    assert pole in (south, north_end)
    of_the_projection = 12_000**2 * 1.0226**2 if pole > 0 else 12_000**2 * 1.0273**2
    assert square_metres(found) == pytest.approx(of_the_projection, rel=0.02)


@pytest.mark.parametrize(
    ("x", "y"), [(0, 0), (-12_000, 0), (0, 12_000), (-12_000, 12_000), (-6000, 0), (-6000, 12_000)]
)
def test_a_footprint_with_the_pole_on_its_edge_is_as_large_as_it_should_be(x: int, y: int) -> None:
    found = footprint("EPSG:3995", Affine(100, 0, x, 0, -100, y))
    assert found is not None
    assert square_metres(found) == pytest.approx(12_000**2 * 1.0226**2, rel=0.02)


def test_the_whole_world_is_a_footprint() -> None:
    found = footprint("EPSG:4326", Affine(3, 0, -180, 0, -1.5, 90))
    assert found is not None
    assert bounds(found["coordinates"][0]) == (-180, -90, 180, 90)


@pytest.mark.parametrize("pixel_m", [10, 300, 1000])
def test_edges_have_as_many_points_as_straight_lines_need(pixel_m: int) -> None:
    place = Affine(pixel_m, 0, 200_000, 0, -pixel_m, 7_500_000)
    found = footprint(UTM_33N, place)
    assert found is not None
    (ring,) = found["coordinates"]
    assert (len(ring) == 5) is (pixel_m == 10)
    steps = np.linspace(0, 120, 1201)
    edge = [place @ (0, row) for row in steps]  # the first edge of the tile runs down on its left
    longitudes, latitudes = transform(UTM_33N, "EPSG:4326", *zip(*edge, strict=True))
    on_edge = ring[: (len(ring) - 1) // 4 + 1]
    straight = np.interp(latitudes[::-1], [y for _, y in on_edge][::-1], [x for x, _ in on_edge][::-1])[::-1]
    off_m = np.abs(straight - longitudes) * 111_320 * np.cos(np.radians(latitudes))
    assert off_m.max() < 0.11 * pixel_m


@pytest.mark.parametrize(
    ("crs", "place"),
    [
        (UTM_33N, Affine(10, 0, 1e12, 0, -10, 5e6)),
        ("EPSG:3857", Affine(10, 0, 1e12, 0, -10, 5e6)),
        ("EPSG:4326", Affine(10, 0, -180, 0, -1, 90)),
        ("EPSG:4326", Affine(1, 0, 0, 0, -1, 95)),
        ("EPSG:4326", Affine(1, 0, 4000, 0, -1, 50)),
        (UTM_33N, Affine(0, 0, 4e5, 0, -10, 5e6)),
        (UTM_33N, Affine(10, 10, 4e5, 10, 10, 5e6)),
        (UTM_33N, Affine(math.nan, 0, 4e5, 0, -10, 5e6)),
        (UTM_33N, Affine(10, 0, math.inf, 0, -10, 5e6)),
    ],
)
def test_what_lies_nowhere_on_earth_has_no_footprint_and_says_so(crs: str, place: Affine) -> None:
    assert footprint(crs, place) is None
    assert refused(geotiff(reflectance(), crs=crs, transform=place), require_geo=True) == "no_georeference"


def test_control_points_are_not_warped_to() -> None:
    (patch,) = read(with_control_points(reflectance()))
    assert patch.facts.footprint is None
    assert "no_georeference" in codes(patch)


def test_pixels_are_measured_in_the_middle_of_the_tile_and_at_the_poles_too() -> None:
    degrees = Affine(1e-4, 0, 13.7, 0, -1e-4, 80)  # 11.1 m from north to south, 1.9 from west to east: 4.6
    assert "gsd_mismatch" in codes(read(geotiff(reflectance(), crs="EPSG:4326", transform=degrees))[0])
    for x, y in ((-600, 600), (0, 0)):
        polar = geotiff(reflectance(), crs="EPSG:3995", transform=Affine(10, 0, x, 0, -10, y))
        assert "gsd_mismatch" not in codes(read(polar)[0])


def test_two_polygons_are_a_multipolygon_in_well_known_binary() -> None:
    found = footprint("EPSG:4326", Affine(0.01, 0, 179.4, 0, -0.01, 0.6))
    assert found is not None
    data = well_known_binary(found)
    assert struct.unpack_from("<BII", data) == (1, 6, 2)
    at = 9
    for (ring,) in found["coordinates"]:
        assert struct.unpack_from("<BIII", data, at) == (1, 3, 1, len(ring))
        numbers = struct.unpack_from(f"<{2 * len(ring)}d", data, at + 13)
        assert [list(point) for point in zip(numbers[::2], numbers[1::2], strict=True)] == ring
        at += 13 + 16 * len(ring)
    assert at == len(data)
    assert of_well_known_binary(data) == found


def test_a_polygon_comes_back_from_well_known_binary_and_has_its_area() -> None:
    found = footprint(UTM_33N, PLACE)
    assert found is not None
    assert of_well_known_binary(well_known_binary(found)) == found
    assert area_m2(found) == pytest.approx(1200**2, rel=5e-3)
    across = footprint("EPSG:4326", Affine(0.01, 0, 179.4, 0, -0.01, 0.6))
    assert across is not None
    assert area_m2(across) == pytest.approx(square_metres(across), rel=1e-3)
