"""A file that is mapped into memory, for GDAL to read without a copy and without opening anything."""

from __future__ import annotations

import io
import mmap
from pathlib import Path
from typing import Any

import rasterio
from rasterio.io import DatasetReader

NAME = "mapped.tif"


def mapped(file: Path) -> memoryview:
    """All bytes of a file, for reading, read from disk as they are looked at. Raises OSError."""
    with file.open("rb") as opened:
        return memoryview(mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ))


def dataset_of(data: memoryview) -> DatasetReader:
    """The GeoTIFF in `data`. Raises what rasterio raises."""

    def opener(name: str, mode: str = "rb", **_: Any) -> _Reading:
        if name.rpartition("/")[2] != NAME or "r" not in mode:
            raise FileNotFoundError(name)  # whatever else GDAL looks for beside it
        return _Reading(data)

    return rasterio.open(NAME, driver="GTiff", opener=opener)


class _Reading(io.RawIOBase):
    """A place in the bytes, as of an open file."""

    def __init__(self, data: memoryview) -> None:
        self._data, self._at = data, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: len(self._data)}[whence]
        return self._at

    def readinto(self, buffer: Any) -> int:
        part = self._data[self._at : self._at + len(buffer)]
        buffer[: len(part)] = part
        self._at += len(part)
        return len(part)
