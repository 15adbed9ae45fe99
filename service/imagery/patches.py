"""The values that go into reading imagery and the patches that come out."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.imagery.tiff.kept import Kept
from service.imagery.tiff.limits import Limits


@dataclass(frozen=True)
class InputSpec:
    """The imagery that a model reads, as its artifact says."""

    bands: tuple[str, ...]  #: band names, in the model's order
    patch_px: int  #: side of a patch, pixels
    gsd_m: float  #: ground size of a pixel, metres
    divisor: float  #: DN that becomes 255


@dataclass(frozen=True)
class ReadOptions:
    """What a caller may say about a file that does not say it itself."""

    bands: tuple[str, ...] | None = None  #: names of the file's bands, in file order, or one of `ORDERS`
    boa_offset: int | None = None  #: added to DN; None follows the file's own tags
    scale: float | None = None  #: factor from file values to DN; None follows type and tags
    require_geo: bool = False  #: refuse a tile without a footprint
    limits: Limits = field(default_factory=Limits)  #: of each file
    window: tuple[int, int, int, int] | None = None  #: column, row, width, height; None reads all of the file
    stride: int | None = None  #: pixels from one window of a scene to the next; None lays them side by side


@dataclass(frozen=True)
class TileFile:
    """One GeoTIFF of a tile: the whole tile, or the band named `band`."""

    data: bytes | memoryview
    band: str | None = None
    kept: Kept | None = None  #: where it stays open for the next window


@dataclass(frozen=True)
class Caution:
    """Something assumed or odd, said in the answer: a stable code and a sentence."""

    code: str
    message: str


@dataclass(frozen=True)
class Radiometry:
    """What turned file values into pixels: clip((value × scale + boa_offset) / divisor × 255, 0, 255)."""

    divisor: float | None  #: None where uint8 was taken as it is
    boa_offset: int
    scale: float
    bands: tuple[str, ...]


@dataclass(frozen=True)
class PatchFacts:
    """All that is known of a patch beside its pixels."""

    window: tuple[int, int, int, int]  #: column, row, width, height in the tile, pixels
    valid_fraction: float  #: share of pixels that hold data, 0–1
    crs: str | None  #: "EPSG:32633", or the file's own WKT where it has no code
    transform: tuple[float, ...] | None  #: affine of the patch: a, b, c, d, e, f
    footprint: dict[str, Any] | None  #: GeoJSON Polygon or MultiPolygon, WGS 84 longitude/latitude
    radiometry: Radiometry
    warnings: tuple[Caution, ...]


@dataclass(frozen=True)
class Patch:
    """The piece of ground that gets one prediction."""

    pixels: NDArray[np.uint8]  #: H × W × C, the model's bands in its order, 0–255
    valid: NDArray[np.bool_]  #: H × W, False where the file holds no data
    facts: PatchFacts
