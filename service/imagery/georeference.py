"""Where on Earth a patch lies. Only the file's own reference system is used, never a caller's string."""

from __future__ import annotations

import math
from typing import Any

from affine import Affine
from rasterio._err import CPLE_BaseError
from rasterio.crs import CRS
from rasterio.errors import RasterioError
from rasterio.warp import transform as reproject

from service.imagery.patches import Caution

METRES_PER_DEGREE = 111_320.0  # of longitude at the equator (WGS 84), of latitude to 0.6 % anywhere
GSD_TOLERANCE = 1.5  # a 10 m model reads 6.7 to 15 m without a warning
WGS84 = CRS.from_epsg(4326)

Window = tuple[int, int, int, int]


def name_of(crs: CRS | None) -> str | None:
    """ "EPSG:32633" where the reference system has a code, else its WKT."""
    if not crs:
        return None
    code = crs.to_epsg()
    return f"EPSG:{code}" if code else str(crs.to_wkt())


def is_referenced(crs: CRS | None, transform: Affine) -> bool:
    """True if pixels can be put on a map: a map's reference system, and a transform that is finite and not the default.

    A local or vertical system has no place on a map.
    """
    on_a_map = crs is not None and bool(crs.is_geographic or crs.is_projected)
    return on_a_map and all(map(math.isfinite, transform)) and transform != Affine.identity()


def footprint(crs: CRS, transform: Affine, window: Window) -> dict[str, Any] | None:
    """GeoJSON polygon of a window in WGS 84 longitude/latitude, from its four corners, counter-clockwise (RFC 7946).

    `transform` maps pixel (column, row) of the tile to `crs`; `window` is column, row, width, height.
    None where the corners have no finite place on Earth.
    """
    column, row, width, height = window
    corners = [(column, row), (column, row + height), (column + width, row + height), (column + width, row)]
    xs, ys = zip(*(transform @ corner for corner in corners), strict=True)
    try:
        longitudes, latitudes = reproject(crs, WGS84, xs, ys)
    except (RasterioError, CPLE_BaseError):
        return None
    ring = [[round(x, 7), round(y, 7)] for x, y in zip(longitudes, latitudes, strict=True)]
    if not all(math.isfinite(x) and math.isfinite(y) and abs(x) <= 180 and abs(y) <= 90 for x, y in ring):
        return None
    if _signed_area(ring) < 0:
        ring.reverse()
    return {"type": "Polygon", "coordinates": [[*ring, ring[0]]]}


def _signed_area(ring: list[list[float]]) -> float:
    return sum(x0 * y1 - x1 * y0 for (x0, y0), (x1, y1) in zip(ring, ring[1:] + ring[:1], strict=True)) / 2


def pixel_size_m(crs: CRS, transform: Affine) -> float:
    """Side of a pixel on the ground in metres: the root of its area, at the tile's first corner.

    Measured as lengths on the ground rather than in the projection's own units, which Web Mercator, for one,
    stretches away from the equator. NaN where the corner has no place on Earth.
    """
    corners = [transform @ corner for corner in ((0, 0), (1, 0), (0, 1))]
    try:
        longitudes, latitudes = reproject(crs, WGS84, *zip(*corners, strict=True))
    except (RasterioError, CPLE_BaseError):
        return math.nan
    x = [longitude * METRES_PER_DEGREE * math.cos(math.radians(latitudes[0])) for longitude in longitudes]
    y = [latitude * METRES_PER_DEGREE for latitude in latitudes]
    area = (x[1] - x[0]) * (y[2] - y[0]) - (x[2] - x[0]) * (y[1] - y[0])
    return math.sqrt(abs(area))


def gsd_caution(crs: CRS, transform: Affine, gsd_m: float) -> list[Caution]:
    """A warning when the pixels are much larger or smaller on the ground than those the model learnt from."""
    size = pixel_size_m(crs, transform)
    if math.isnan(size) or gsd_m / GSD_TOLERANCE <= size <= gsd_m * GSD_TOLERANCE:
        return []
    return [Caution("gsd_mismatch", f"Pixels are {size:.3g} m wide; the model learnt from {gsd_m:g} m.")]
