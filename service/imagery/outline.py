"""A ring on the globe as GeoJSON: cut at the antimeridian, led round the poles (RFC 7946, sections 3.1.6 and 3.1.9).

The package `antimeridian` (0.4.9) agrees where no pole is near; it takes a ring that runs clockwise around the South
Pole for the rest of the world, and cuts a notch of up to 8 % into one with a corner at a pole.
"""

from __future__ import annotations

import math
import struct
from itertools import chain, pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

EARTH_RADIUS_M = 6_371_007.0  # of the sphere with the area of WGS 84; lengths are right to 0.6 %
DIGITS = 7  # of a degree: a centimetre
LARGEST_TURN = 360.0  # degrees of longitude; what goes on is not on one Earth
AT_THE_POLE = 90 - 1e-9
POLYGON, MULTIPOLYGON = 3, 6  # of well-known binary
SMALLEST_AREA = 1e-13  # square degrees: a tenth of the square of 3 cm

Point = tuple[float, float]


def on_the_globe(places: NDArray[np.float64]) -> NDArray[np.float64]:
    """… × 3, metres from the centre of the Earth, for … × 2 of longitude and latitude in degrees.

    Distances between such points know no antimeridian and no poles.
    """
    radians = np.radians(places)
    longitude, latitude = radians[..., 0], radians[..., 1]
    across = np.cos(latitude)
    points = np.empty((*latitude.shape, 3))
    points[..., 0] = across * np.cos(longitude)
    points[..., 1] = across * np.sin(longitude)
    points[..., 2] = np.sin(latitude)
    return points * EARTH_RADIUS_M


def geometries(
    rings: NDArray[np.float64], globe: NDArray[np.float64], steps: int, tolerances_m: NDArray[np.float64]
) -> list[dict[str, Any] | None]:
    """Polygons, or MultiPolygons of what lies on both sides of the antimeridian; counter-clockwise.

    `rings` are closed, N × points × 2 of longitude and latitude in degrees, with `steps` steps to an edge, each much
    shorter than half the Earth, and `globe` is `on_the_globe` of them; those are left out that straight lines are
    within their ring's tolerance of, in metres. A ring around a pole covers it. None for a ring without an area.
    """
    rings = _unwound(rings)
    is_on_one_earth = np.ptp(rings[..., 0], axis=1) <= LARGEST_TURN + 1e-6
    thinned = _thinned(rings, globe[:, :-1], steps, tolerances_m)
    return [_geometry(ring) if is_one else None for ring, is_one in zip(thinned, is_on_one_earth, strict=True)]


def _geometry(ring: NDArray[np.float64]) -> dict[str, Any] | None:
    points = _with_poles(ring)
    laps = round((points[-1][0] - points[0][0]) / 360)
    if laps:
        pieces = [_between_antimeridians(_over_the_pole(points, laps))]
    elif max(abs(x) for x, _ in points) <= 180:
        pieces = [points[:-1]]
    else:
        turns = ([(x + by, y) for x, y in points[:-1]] for by in (-360, 0, 360))
        pieces = [_between_antimeridians(turn) for turn in turns]
    rings = [[_closed(piece)] for piece in pieces if abs(_signed_area(piece)) > SMALLEST_AREA]
    if not rings:
        return None
    if len(rings) == 1:
        return {"type": "Polygon", "coordinates": rings[0]}
    return {"type": "MultiPolygon", "coordinates": rings}


def _unwound(rings: NDArray[np.float64]) -> NDArray[np.float64]:
    """With longitudes that go on where they would jump by 360 degrees; the first is between -180 and 180."""
    longitude, is_pole = rings[:, :-1, 0].copy(), abs(rings[:, :-1, 1]) > AT_THE_POLE
    if is_pole.any():
        # Every longitude is the pole's, so the one before will do. An edge along a pole is one of degrees: it has its
        # own.
        is_corner = is_pole & ~np.roll(is_pole, 1, axis=1) & ~np.roll(is_pole, -1, axis=1)
        longitude[is_corner] = np.roll(longitude, 1, axis=1)[is_corner]
    longitude = np.concatenate([longitude, longitude[:, :1]], axis=1)
    if (abs(np.diff(longitude)) > 180).any():
        longitude = np.unwrap(longitude, period=360)
    longitude -= 360 * np.floor((longitude[:, :1] + 180) / 360)
    return np.stack([longitude, rings[..., 1]], axis=-1)


def polygons(footprint: dict[str, Any]) -> list[list[list[list[float]]]]:
    """The rings of each polygon of a Polygon or MultiPolygon."""
    coordinates: list[Any] = footprint["coordinates"]
    return [coordinates] if footprint["type"] == "Polygon" else coordinates


def area_m2(footprint: dict[str, Any]) -> float:
    """Square metres of a Polygon or MultiPolygon without holes, to 0.6 %: on the sphere, strip by strip from the pole.

    Chamberlain and Duquette, Some algorithms for polygons on a sphere, JPL publication 07-3 (2007).
    """
    total = 0.0
    for outer, *_ in polygons(footprint):
        sines = [math.sin(math.radians(y)) for _, y in outer]
        for ((x0, _), s0), ((x1, _), s1) in pairwise(zip(outer, sines, strict=True)):
            total += math.radians(x0 - x1) * (s0 + s1) / 2
    return total * EARTH_RADIUS_M**2


def well_known_binary(footprint: dict[str, Any]) -> bytes:
    """A Polygon or MultiPolygon as little-endian WKB (OGC 06-103r4, section 8)."""
    parts = [_wkb_of_polygon(rings) for rings in polygons(footprint)]
    return (
        parts[0]
        if footprint["type"] == "Polygon"
        else struct.pack("<BII", 1, MULTIPOLYGON, len(parts)) + b"".join(parts)
    )


def of_well_known_binary(data: bytes) -> dict[str, Any]:
    """What `well_known_binary` wrote."""
    count, at = (1, 0) if data[1] == POLYGON else (struct.unpack_from("<I", data, 5)[0], 9)
    found = []
    for _ in range(count):
        rings, at = [], at + 9
        for _ in range(*struct.unpack_from("<I", data, at - 4)):
            (points,) = struct.unpack_from("<I", data, at)
            rings.append(np.frombuffer(data, "<f8", 2 * points, at + 4).reshape(-1, 2).tolist())
            at += 4 + 16 * points
        found.append(rings)
    if data[1] == POLYGON:
        return {"type": "Polygon", "coordinates": found[0]}
    return {"type": "MultiPolygon", "coordinates": found}


def _wkb_of_polygon(rings: list[list[list[float]]]) -> bytes:
    head = struct.pack("<BII", 1, POLYGON, len(rings))
    return head + b"".join(struct.pack(f"<I{2 * len(ring)}d", len(ring), *chain.from_iterable(ring)) for ring in rings)


def _thinned(
    rings: NDArray[np.float64], globe: NDArray[np.float64], steps: int, tolerances_m: NDArray[np.float64]
) -> list[NDArray[np.float64]]:
    """As few points an edge as will do, the corners among them."""
    thinned = list(rings)
    left = np.arange(len(rings))  # those that need more points than were tried
    every = np.arange(rings.shape[1] - 1)
    for step in (steps // parts for parts in (1, 2, 4, 8) if parts < steps):
        if not left.size:
            break
        kept = rings[left, ::step]
        share = (every % step / step)[:, None]
        straight = kept[:, every // step] * (1 - share) + kept[:, every // step + 1] * share
        off_m = np.linalg.norm(on_the_globe(straight) - globe[left], axis=2).max(axis=1)
        is_enough = off_m <= tolerances_m[left]
        for i in np.flatnonzero(is_enough):
            thinned[left[i]] = kept[i]
        left = left[~is_enough]
    return thinned


def _with_poles(ring: NDArray[np.float64]) -> list[Point]:
    """A corner at a pole is as wide as the longitudes that meet there."""
    points: list[Point] = [(float(x), float(y)) for x, y in ring]
    wide = []
    for point, (following, _) in pairwise(points):
        wide.append(point)
        if abs(point[1]) > AT_THE_POLE and point[0] != following:
            wide.append((following, point[1]))
    return [*wide, points[-1]]


def _over_the_pole(points: list[Point], laps: int) -> list[Point]:
    """A ring around a pole as the land between it and the pole, for more than one turn of the Earth."""
    pole = math.copysign(90.0, sum(y for _, y in points))
    along = [(x + 360 * laps * lap, y) for lap in (-1, 0, 1) for x, y in points[:-1]]
    return [*along, (along[-1][0], pole), (along[0][0], pole)]


def _between_antimeridians(ring: list[Point]) -> list[Point]:
    """The part of an open ring from -180 to 180 degrees of longitude (Sutherland and Hodgman 1974)."""
    for bound, inwards in ((-180.0, 1), (180.0, -1)):
        kept: list[Point] = []
        for (x0, y0), (x1, y1) in pairwise([*ring, *ring[:1]]):
            is_in, is_next_in = (x0 - bound) * inwards >= 0, (x1 - bound) * inwards >= 0
            if is_in:
                kept.append((x0, y0))
            if is_in != is_next_in:
                kept.append((bound, y0 + (y1 - y0) * (bound - x0) / (x1 - x0)))
        ring = kept
    return ring


def _closed(ring: list[Point]) -> list[list[float]]:
    if _signed_area(ring) < 0:
        ring = ring[::-1]
    rounded = [[round(x, DIGITS), round(min(90.0, max(-90.0, y)), DIGITS)] for x, y in ring]
    rounded = [point for before, point in zip([rounded[-1], *rounded], rounded, strict=False) if point != before]
    return [*rounded, rounded[0]]


def _signed_area(ring: list[Point]) -> float:
    """In square degrees; over 0 if the ring turns counter-clockwise."""
    if not ring:
        return 0.0
    west, south = ring[0]  # numbers near 0 lose nothing
    near = [(x - west, y - south) for x, y in ring]
    return sum(x0 * y1 - x1 * y0 for (x0, y0), (x1, y1) in pairwise([*near, near[0]])) / 2
