"""Where on Earth a patch lies. Only the file's own reference system is used, never a caller's string."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from rasterio._err import CPLE_BaseError
from rasterio.crs import CRS
from rasterio.errors import RasterioError
from rasterio.warp import transform as reproject

from service.imagery.outline import geometry, on_the_globe
from service.imagery.patches import Caution

GSD_TOLERANCE = 1.5  # a 10 m model reads 6.7 to 15 m without a warning
LONGEST_WKT = 8192  # characters; those of real systems have up to 4,000, and each patch of a scene repeats it
STEPS = 16  # of an edge: what a ring is looked at with, before it is thinned
ONCE_AROUND_M = 40_100_000  # the equator; what lies further off is no coordinate, though PROJ goes round and round
STRAIGHT_PX = 0.1  # how far a footprint's edge may be off; nobody sees a tenth of a pixel
WGS84 = CRS.from_epsg(4326)

Window = tuple[int, int, int, int]


def name_of(crs: CRS | None) -> str | None:
    """ "EPSG:32633" where the reference system has a code, else its WKT; None without one, or with a novel for one."""
    if not crs:
        return None
    code = crs.to_epsg()
    name = f"EPSG:{code}" if code else str(crs.to_wkt())
    return name if len(name) <= LONGEST_WKT else None


def is_referenced(crs: CRS | None, transform: Affine) -> bool:
    """True if pixels can be put on a map: a map's reference system, and a transform that is finite and not the default.

    A local or vertical system has no place on a map, nor have pixels without area.
    """
    on_a_map = crs is not None and bool(crs.is_geographic or crs.is_projected)
    has_area = all(map(math.isfinite, transform)) and transform.determinant != 0
    return on_a_map and has_area and transform != Affine.identity()


def footprint(crs: CRS, transform: Affine, window: Window) -> dict[str, Any] | None:
    """GeoJSON of a window in WGS 84 longitude/latitude: its corners, and points between them where edges are curved.

    `transform` maps pixel (column, row) of the tile to `crs`; `window` is column, row, width, height. See
    `outline` for the antimeridian and the poles. None where the window has no finite place on Earth.
    """
    column, row, width, height = window
    corners = np.add((column, row), [(0, 0), (0, height), (width, height), (width, 0), (0, 0)])
    shares = np.linspace(0, 1, STEPS, endpoint=False)[:, None]
    edges = [start + shares * (end - start) for start, end in pairwise(corners)]
    ring = _longitude_latitude(crs, transform, np.concatenate([*edges, corners[:1]]))
    if ring is None:
        return None
    sides = on_the_globe(ring[[0, STEPS, 2 * STEPS]])
    pixel = min(np.linalg.norm(np.diff(sides, axis=0), axis=1) / (height, width))
    return geometry(ring, STEPS, STRAIGHT_PX * pixel)


def _longitude_latitude(crs: CRS, transform: Affine, pixels: NDArray[Any]) -> NDArray[np.float64] | None:
    """N × 2 of longitude and latitude in degrees for as many columns and rows; None if one has no place on Earth."""
    x, y = transform @ pixels.T
    try:
        if crs.is_projected and max(abs(x).max(), abs(y).max()) * crs.linear_units_factor[1] > ONCE_AROUND_M:
            return None
        places = np.array(reproject(crs, WGS84, x, y)).T
    except (RasterioError, CPLE_BaseError):
        return None
    is_on_earth = np.isfinite(places).all() and (abs(places) <= (540, 90 + 1e-9)).all()
    return places if is_on_earth else None


def pixel_size_m(crs: CRS | None, transform: Affine, width: int, height: int) -> float:
    """Side of a pixel on the ground in metres: the root of its area, in the middle of the tile.

    Measured on the ground rather than in the projection's own units, which Web Mercator, for one, stretches away from
    the equator. NaN where that pixel has no place on Earth.
    """
    if crs is None or not is_referenced(crs, transform):
        return math.nan
    corners = np.add((width // 2, height // 2), [(0, 0), (1, 0), (0, 1)])
    places = _longitude_latitude(crs, transform, corners)
    if places is None:
        return math.nan
    corner, right, below = on_the_globe(places)
    across, down = right - corner, below - corner
    area = (across @ across) * (down @ down) - (across @ down) ** 2  # squared: Lagrange's identity
    return math.sqrt(math.sqrt(max(0.0, area)))


def gsd_caution(pixel_m: float, gsd_m: float) -> list[Caution]:
    """A warning when pixels are much larger or smaller on the ground than those the model learnt from."""
    if math.isnan(pixel_m) or gsd_m / GSD_TOLERANCE <= pixel_m <= gsd_m * GSD_TOLERANCE:
        return []
    return [Caution("gsd_mismatch", f"Pixels are {pixel_m:.3g} m wide; the model learnt from {gsd_m:g} m.")]
