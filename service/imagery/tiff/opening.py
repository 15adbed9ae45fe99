"""A GeoTIFF in memory, opened by GDAL's GTiff driver alone, after its header was looked at."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import rasterio
import rasterio.env
from rasterio._err import CPLE_BaseError, CPLE_OutOfMemoryError  # what GDAL raises where rasterio does not translate it
from rasterio.errors import CRSError, RasterioError
from rasterio.io import DatasetReader, MemoryFile

from service.imagery.errors import ImageryError
from service.imagery.patches import TileFile
from service.imagery.tiff import header
from service.imagery.tiff.crop import Crop
from service.imagery.tiff.header import Header
from service.imagery.tiff.limits import Limits
from service.imagery.tiff.mapped import dataset_of
from service.imagery.tiff.reference import Reader

# CRSError is a ValueError, and no RasterioError; rasterio takes every text of a file for UTF-8.
GDAL_ERRORS = (RasterioError, CRSError, CPLE_BaseError, UnicodeDecodeError)
# Only the bytes at hand: no sidecar files, no directory listing, no .aux.xml.
GDAL_OPTIONS = {
    "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR", "GDAL_PAM_ENABLED": "NO", "GDAL_NUM_THREADS": "1",
    "GDAL_CACHEMAX": 128_000_000,  # bytes; by itself GDAL would take its share of the machine, not of the process
}  # fmt: skip
EXPANDED_BANDS = 4  # of CMYK and of what else GDAL reads as RGBA


def _set_up() -> AbstractContextManager[Any]:
    """GDAL with our options; nothing where it has them, as in decode processes.

    On leaving an Env within another, rasterio sets GDAL and PROJ up anew: 0.15 ms a file.
    """
    has_them = rasterio.env.hasenv() and GDAL_OPTIONS.items() <= rasterio.env.getenv().items()
    return nullcontext() if has_them else rasterio.Env(**GDAL_OPTIONS)


@contextmanager
def opened(
    file: TileFile, limits: Limits, window: tuple[int, int, int, int] | None = None
) -> Iterator[tuple[DatasetReader, Header]]:
    """The file, or a window of it, as GDAL sees it; and the whole as its header says it is.

    Whatever GDAL says of the file within the block becomes an ImageryError; beside those of `header.read`, corrupt.
    Raises MemoryError where decoding asks for too much.
    """
    kept = file.kept and file.kept.opened
    about = kept[1] if kept else header.read(file.data, limits)
    with _set_up():
        try:
            with _dataset(file, about) as dataset:
                _refuse_another_image(dataset, about)
                yield (Crop(dataset, window) if window else dataset), about
        except GDAL_ERRORS as error:
            if _ran_out_of_memory(error):
                raise MemoryError from error
            raise ImageryError("corrupt", "The file is a TIFF, but its image data cannot be decoded.") from error


@contextmanager
def _dataset(file: TileFile, about: Header) -> Iterator[DatasetReader]:
    if file.kept is not None:
        file.kept.opened = file.kept.opened or (dataset_of(memoryview(file.data)), about)
        yield file.kept.opened[0]
    elif isinstance(file.data, memoryview):
        with dataset_of(file.data) as dataset:
            yield dataset
    else:
        with MemoryFile(file.data) as memory, Reader(memory.name, about.geo_keys) as dataset:
            yield dataset
            dataset.remember()


def _refuse_another_image(dataset: DatasetReader, about: Header) -> None:
    """What was checked must be what is decoded."""
    if dataset.shape != (about.height, about.width) or dataset.count not in (about.bands, EXPANDED_BANDS):
        raise ImageryError("corrupt", "The file's header can be read in two ways; write it again.")


def _ran_out_of_memory(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, CPLE_OutOfMemoryError):
            return True
        error = error.__cause__ or error.__context__
    return False
