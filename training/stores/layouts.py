"""Band files that differ in pixels and place alone: GDAL reads the first, the others follow its example.

BigEarthNet has seven million files of a few layouts, uncompressed, and opening one takes GDAL some twenty times as
long as reading its pixels. In what files differ is found out, not assumed: all other bytes must equal those of a file
that GDAL has read, and of that file the pixels found here must have equalled GDAL's.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
from affine import Affine
from numpy.typing import NDArray

from service.imagery.geotiff import read_band
from service.imagery.patches import ReadOptions, TileFile
from service.imagery.raster import Raster

REMEMBERED = 64  # layouts for each size of file; BigEarthNet has one for each UTM zone
_ASCII, _SHORT, _LONG, _DOUBLE = 2, 3, 4, 12  # types of TIFF 6.0, section 2
_COMPRESSION, _OFFSETS, _COUNTS, _TIE_POINT, _NODATA = 259, 273, 279, 33922, 42113


class BandReader:
    """Reads band files as `service.imagery.geotiff.read_band` does, and remembers how they are laid out."""

    def __init__(self) -> None:
        self._known: dict[int, list[_Layout]] = {}

    def __call__(self, file: TileFile, options: ReadOptions) -> Raster:
        """The band of a band file. Raises ImageryError."""
        data = bytes(file.data)  # no copy of what are bytes already
        known = self._known.setdefault(len(data), [])
        for layout in known:
            if layout.is_of(data):
                return layout.read(data)
        raster = read_band(file, options)
        if len(known) < REMEMBERED and (found := _layout(data, raster)):
            known.append(found)
        return raster


@dataclass(frozen=True)
class _Layout:
    """Where pixels and place stand in a file, and what the rest of it must be."""

    example: Raster
    nodata: float | None
    pixels_at: int
    place_at: int
    rest: tuple[tuple[slice, bytes], ...]  #: spans of bytes, and what stands there

    def is_of(self, data: bytes) -> bool:
        return all(data[span] == expected for span, expected in self.rest)

    def read(self, data: bytes) -> Raster:
        example = self.example
        values = np.frombuffer(data, example.values.dtype, example.values.size, self.pixels_at)
        values = values.reshape(example.values.shape)
        x, y = struct.unpack_from("<2d", data, self.place_at)
        a, b, _, d, e, _ = example.transform[:6]
        return replace(example, values=values, valid=self._valid(values), transform=Affine(a, b, x, d, e, y))

    def _valid(self, values: NDArray[Any]) -> NDArray[np.bool_]:
        if self.nodata is None:
            return self.example.valid
        valid: NDArray[np.bool_] = values[0] != self.nodata
        return valid


def _layout(data: bytes, raster: Raster) -> _Layout | None:
    """Of a file that GDAL read as `raster`; None where anything is not as simple as it looks."""
    try:
        directory = _directory(data)
        entries = {tag: _values(data, *entry) for tag, entry in directory.items()}
        strips = list(zip(entries[_OFFSETS], entries[_COUNTS], strict=True))
        nodata = float(entries[_NODATA][0]) if _NODATA in entries else None
        is_simple = (
            data[:4] == b"II*\0"
            and np.issubdtype(raster.values.dtype, np.unsignedinteger)
            and entries[_COMPRESSION] == (1,)
            and all(offset + count == following for (offset, count), (following, _) in pairwise(strips))
            and sum(count for _, count in strips) == raster.values.nbytes
            and entries[_TIE_POINT] == (0, 0, 0, raster.transform.c, raster.transform.f, 0)
        )
    except (struct.error, KeyError, ValueError):
        return None
    if not is_simple:
        return None
    pixels = slice(strips[0][0], strips[0][0] + raster.values.nbytes)
    _, _, tie_point_at = directory[_TIE_POINT]
    place = slice(tie_point_at + 24, tie_point_at + 40)  # after three doubles for the pixel: x and y
    spans = sorted((pixels, place), key=lambda span: span.start)
    edges = [0, *(edge for span in spans for edge in (span.start, span.stop)), len(data)]
    rest = tuple((slice(*ends), data[slice(*ends)]) for ends in zip(edges[::2], edges[1::2], strict=True))
    layout = _Layout(raster, nodata, pixels.start, place.start, rest)
    found = layout.read(data)
    is_the_same = np.array_equal(found.values, raster.values) and np.array_equal(found.valid, raster.valid)
    return layout if is_the_same and found.transform == raster.transform else None


def _directory(data: bytes) -> dict[int, tuple[int, int, int]]:
    """Tag → type, count and where its values stand, of the first directory of a whole little-endian TIFF."""
    (at,) = struct.unpack_from("<I", data, 4)
    (count,) = struct.unpack_from("<H", data, at)
    found = {}
    for entry in range(at + 2, at + 2 + 12 * count, 12):
        tag, kind, length, value = struct.unpack_from("<HHII", data, entry)
        size = length * {_ASCII: 1, _SHORT: 2, _LONG: 4, _DOUBLE: 8}.get(kind, 8)
        found[tag] = (kind, length, entry + 8 if size <= 4 else value)
    return found


def _values(data: bytes, kind: int, count: int, at: int) -> tuple[Any, ...]:
    if kind == _ASCII:
        return (data[at : at + count].rstrip(b"\0 ").decode("ascii"),)
    letter = {_SHORT: "H", _LONG: "I", _DOUBLE: "d"}.get(kind)
    return struct.unpack_from(f"<{count}{letter}", data, at) if letter else ()
