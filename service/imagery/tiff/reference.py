"""Reference systems that GDAL has worked out before: that takes 0.45 ms, most of what opening a patch does."""

from __future__ import annotations

from affine import Affine
from rasterio.crs import CRS
from rasterio.io import DatasetReader

from service.imagery.tiff.directories import GeoKeys

MOST_SYSTEMS = 64  # those of the patches of a country are fewer
LONGEST_KEYS = 8192  # bytes; those of a system with a code are 150
_known: dict[GeoKeys, CRS] = {}


class Reader(DatasetReader):
    """The GeoTIFF at `path`, which has these GeoKeys: the same bytes mean the same system. Not for threads."""

    def __init__(self, path: str, geo_keys: GeoKeys) -> None:
        self._geo_keys = geo_keys
        super().__init__(path, driver="GTiff")

    def read_crs(self) -> CRS | None:
        """Where rasterio has `crs` from when it opens a file."""
        has_a_place = self.transform != Affine.identity()  # else its control points may have the system
        return (has_a_place and _known.get(self._geo_keys)) or super().read_crs()

    def remember(self) -> None:
        """The system of a file that was read without an error: whatever GDAL complains of, it shall every time."""
        if not self.crs or self._geo_keys in _known or sum(len(key[-1]) for key in self._geo_keys) > LONGEST_KEYS:
            return
        if len(_known) == MOST_SYSTEMS:
            del _known[next(iter(_known))]
        _known[self._geo_keys] = self.crs
