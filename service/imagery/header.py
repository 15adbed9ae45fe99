"""A look at a TIFF's first directory in pure Python, before GDAL sees a byte.

Layout: TIFF 6.0, section 2; BigTIFF design, libtiff.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from service.imagery.errors import ImageryError

_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
_INTEGERS = {1: "B", 3: "H", 4: "I", 16: "Q"}
_STRIPS, _TILES = (273, 279), (324, 325)  # tags: offsets, byte counts


def check(data: bytes) -> None:
    """Raises ImageryError empty_body, not_a_tiff or truncated; says nothing of a TIFF that is all there."""
    if not data:
        raise ImageryError("empty_body", "The tile is empty; send the bytes of a GeoTIFF.")
    order = {b"II": "<", b"MM": ">"}.get(data[:2])
    magic = int.from_bytes(data[2:4], "little" if order == "<" else "big")
    if order is None or magic not in (42, 43):
        raise ImageryError("not_a_tiff", "The tile does not begin like a TIFF; send a GeoTIFF.")
    try:
        entries = dict(_entries(data, order, is_big=magic == 43))
        for offsets, counts in (_STRIPS, _TILES):
            for offset, count in zip(entries.get(offsets, ()), entries.get(counts, ()), strict=False):
                if offset + count > len(data):
                    raise struct.error
    except struct.error:
        raise ImageryError("truncated", "The file ends before its image data does; send it again, whole.") from None


def _entries(data: bytes, order: str, is_big: bool) -> Iterator[tuple[int, tuple[int, ...]]]:
    """(tag, values) of the first directory, integers only; struct.error where it points past the end."""
    (directory,) = struct.unpack_from(order + ("Q" if is_big else "I"), data, 8 if is_big else 4)
    if directory > len(data):
        raise struct.error
    (count,) = struct.unpack_from(order + ("Q" if is_big else "H"), data, directory)
    start, size, inline = directory + (8 if is_big else 2), (20 if is_big else 12), (8 if is_big else 4)
    if start + count * size > len(data):
        raise struct.error
    for at in range(start, start + count * size, size):
        tag, kind, length = struct.unpack_from(order + ("HHQ" if is_big else "HHI"), data, at)
        value_at = at + size - inline
        if length * _SIZES.get(kind, 1) > inline:
            (value_at,) = struct.unpack_from(order + ("Q" if is_big else "I"), data, value_at)
        if value_at + length * _SIZES.get(kind, 1) > len(data):
            raise struct.error
        if kind in _INTEGERS:
            yield tag, struct.unpack_from(f"{order}{length}{_INTEGERS[kind]}", data, value_at)
