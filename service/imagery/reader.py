"""GeoTIFF bytes to patches. Runs in a decode process, never in the one that serves."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import rasterio
from affine import Affine
from numpy.typing import NDArray
from PIL import Image
from rasterio._err import CPLE_BaseError, CPLE_OutOfMemoryError  # what GDAL raises where rasterio does not translate it
from rasterio.crs import CRS
from rasterio.errors import RasterioError
from rasterio.io import DatasetReader, MemoryFile

from service.imagery import georeference, header, radiometry
from service.imagery.bands import canonical, choose
from service.imagery.errors import ImageryError
from service.imagery.patches import Caution, InputSpec, Patch, PatchFacts, Radiometry, ReadOptions, TileFile
from service.imagery.windows import cut

LEAST_VALID = 0.05  # share of pixels with data; with less there is no land cover to tell
GDAL_ERRORS = (RasterioError, CPLE_BaseError)
# Only the bytes at hand: no sidecar files, no directory listing, no .aux.xml.
GDAL_OPTIONS = {"GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR", "GDAL_PAM_ENABLED": "NO", "GDAL_NUM_THREADS": "1"}


@dataclass(frozen=True)
class _Raster:
    """The bands that the model reads, as they are in the file."""

    values: NDArray[Any]  #: C × H × W
    valid: NDArray[np.bool_]  #: H × W
    crs: CRS | None
    transform: Affine
    scale: float | None  #: from the file's tags: value × scale + offset is in DN
    offset: int | None
    cautions: tuple[Caution, ...]


def read_tile(files: Sequence[TileFile], spec: InputSpec, options: ReadOptions) -> list[Patch]:
    """Patches of one tile: one GeoTIFF with all bands, or one single-band GeoTIFF for each band.

    A larger side of up to 1.5 × `spec.patch_px` makes one patch, else windows of `patch_px` (see `windows.cut`).
    Windows with less than 5 % of data are left out of a scene. Raises ImageryError with one of the
    codes 413, 415 and 422 of the error table.
    """
    if len(files) == 1 and files[0].band is None:
        raster = _read_file(files[0].data, spec, options)
    else:
        raster = _read_band_files(files, spec, options)
    windows = cut(raster.values.shape[2], raster.values.shape[1], spec.patch_px)
    pixels, applied, cautions = _to_pixels(raster, spec, options)
    referenced = georeference.is_referenced(raster.crs, raster.transform)
    if referenced and raster.crs:
        cautions += georeference.gsd_caution(raster.crs, raster.transform, spec.gsd_m)
    else:
        if options.require_geo:
            raise ImageryError("no_georeference", "The image has no usable reference system and transform.")
        cautions.append(Caution("no_georeference", "The image has no usable georeference, so there is no footprint."))

    patches = []
    for window in windows:
        column, row, width, height = window
        here = (slice(row, row + height), slice(column, column + width))
        valid = raster.valid[here]
        if valid.mean() < LEAST_VALID:
            continue
        place = raster.transform @ Affine.translation(column, row)
        outline = georeference.footprint(raster.crs, raster.transform, window) if referenced and raster.crs else None
        facts = PatchFacts(
            window=window,
            valid_fraction=float(valid.mean()),
            crs=georeference.name_of(raster.crs),
            transform=tuple(place)[:6] if referenced else None,
            footprint=outline,
            radiometry=applied,
            warnings=tuple(cautions),
        )
        patches.append(Patch(radiometry.fill_invalid(pixels[here], valid), valid, facts))
    if not patches:
        raise ImageryError(
            "no_valid_pixels",
            f"Less than {LEAST_VALID:.0%} of the pixels hold data (the rest is nodata, masked or not a number).",
            {"least_valid_fraction": LEAST_VALID},
        )
    return patches


def _to_pixels(
    raster: _Raster, spec: InputSpec, options: ReadOptions
) -> tuple[NDArray[np.uint8], Radiometry, list[Caution]]:
    cautions = list(raster.cautions)
    if (
        raster.values.dtype == np.uint8
        and options.scale is None
        and options.boa_offset is None
        and raster.scale is None
    ):
        applied = Radiometry(divisor=None, boa_offset=0, scale=1, bands=spec.bands)
        return np.ascontiguousarray(raster.values.transpose(1, 2, 0)), applied, cautions
    said = options.scale if options.scale is not None else raster.scale
    scale = radiometry.scale_of(raster.values, raster.valid, said)
    offset = options.boa_offset if options.boa_offset is not None else raster.offset
    if offset is None:
        cautions += radiometry.offset_caution(raster.values, raster.valid, scale)
        offset = 0
    pixels = radiometry.stretch(raster.values, scale, offset, spec.divisor).transpose(1, 2, 0)
    applied = Radiometry(divisor=spec.divisor, boa_offset=offset, scale=scale, bands=spec.bands)
    return np.ascontiguousarray(pixels), applied, cautions


def _read_file(data: bytes, spec: InputSpec, options: ReadOptions) -> _Raster:
    with _opened(data, options) as dataset:
        descriptions = dataset.descriptions
        colours = [colour.name for colour in dataset.colorinterp]
        chosen, cautions = choose(spec.bands, dataset.count, options.bands, descriptions, colours)
        return _read_bands(dataset, [i + 1 for i in chosen], cautions)


def _read_band_files(files: Sequence[TileFile], spec: InputSpec, options: ReadOptions) -> _Raster:
    if options.bands is not None:
        raise ImageryError(
            "band_mapping_required", "The option bands is for one file with all bands, not for band files."
        )
    names = [canonical(file.band or "") for file in files]
    wanted = [canonical(band) for band in spec.bands]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ImageryError("duplicate_bands", f"There is more than one file for band {', '.join(twice)}.")
    if missing := [band for band in wanted if band not in names]:
        raise ImageryError("band_count", f"The model reads {', '.join(wanted)}; no file came for {', '.join(missing)}.")
    rasters = []
    for band in wanted:
        with _opened(files[names.index(band)].data, options) as dataset:
            if dataset.count != 1:
                raise ImageryError(
                    "band_count", f"The file for band {band} has {dataset.count} bands; a band file has one."
                )
            rasters.append(_read_bands(dataset, [1], []))
    return _stack(rasters)


def _stack(rasters: Sequence[_Raster]) -> _Raster:
    """Band files as one raster, on the grid of the finest; coarser bands are resampled to it (bicubic)."""
    finest = max(rasters, key=lambda raster: raster.values.shape[1] * raster.values.shape[2])
    height, width = finest.values.shape[1:]
    for raster in rasters:
        if not _same_ground(raster, finest):
            raise ImageryError(
                "bands_misaligned", "The band files do not cover the same ground in the same projection."
            )
    for tag in ("scale", "offset"):
        if len({getattr(raster, tag) for raster in rasters}) > 1:
            raise ImageryError("scale_ambiguous", f"The band files disagree on {tag}; say it with an option.")
    return _Raster(
        values=np.concatenate([_resample(raster.values[0], width, height)[None] for raster in rasters]),
        valid=np.logical_and.reduce([_resample(raster.valid, width, height) > 0 for raster in rasters]),
        crs=finest.crs,
        transform=finest.transform,
        scale=finest.scale,
        offset=finest.offset,
        cautions=finest.cautions,
    )


def _same_ground(one: _Raster, other: _Raster) -> bool:
    """True if both cover the same rectangle, to a tenth of the larger pixel."""

    def far_corner(raster: _Raster) -> tuple[float, float]:
        x, y = raster.transform @ (raster.values.shape[2], raster.values.shape[1])
        return float(x), float(y)

    near = 0.1 * max(abs(one.transform.a), abs(one.transform.b), abs(other.transform.a), abs(other.transform.b))
    places = (
        [(one.transform.c, one.transform.f), far_corner(one)],
        [(other.transform.c, other.transform.f), far_corner(other)],
    )
    return one.crs == other.crs and bool(np.allclose(*places, rtol=0, atol=near, equal_nan=True))


def _resample(band: NDArray[Any], width: int, height: int) -> NDArray[Any]:
    if band.shape == (height, width):
        return band
    if band.dtype == np.bool_:
        image, how = Image.fromarray(band.astype(np.uint8)), Image.Resampling.NEAREST
    else:
        image, how = Image.fromarray(band.astype(np.float32)), Image.Resampling.BICUBIC
    resized = np.asarray(image.resize((width, height), how))
    if not np.issubdtype(band.dtype, np.integer):
        return resized
    limits = np.iinfo(band.dtype)
    whole: NDArray[Any] = np.clip(np.rint(resized), limits.min, limits.max).astype(band.dtype)
    return whole


def _read_bands(dataset: DatasetReader, indexes: list[int], cautions: Sequence[Caution]) -> _Raster:
    values = dataset.read(indexes)
    valid = dataset.read_masks(indexes).all(axis=0) & np.isfinite(values).all(axis=0)
    scales = {dataset.scales[i - 1] for i in indexes}
    offsets = {dataset.offsets[i - 1] for i in indexes}
    if len(scales) > 1 or len(offsets) > 1:
        raise ImageryError("scale_ambiguous", "The file's scale and offset tags differ between the bands.")
    (scale,), (offset,) = scales, offsets
    tagged = (scale, offset) != (1, 0)
    # A scale tag of one leaves DN; any other leads to reflectance, which is DN / 10,000.
    to_dn = radiometry.REFLECTANCE_TO_DN if scale != 1 else 1.0
    return _Raster(
        values=values,
        valid=valid,
        crs=dataset.crs,
        transform=dataset.transform,
        scale=scale * to_dn if tagged else None,
        offset=round(offset * to_dn) if tagged else None,
        cautions=tuple(cautions),
    )


@contextmanager
def _opened(data: bytes, options: ReadOptions) -> Iterator[DatasetReader]:
    """A GeoTIFF in memory, opened by the GTiff driver alone; whatever GDAL says of it becomes an ImageryError."""
    header.check(data)
    with rasterio.Env(**GDAL_OPTIONS), MemoryFile(data) as file:
        try:
            with file.open(driver="GTiff") as dataset:
                _refuse_what_cannot_be_read(dataset, options.max_pixels)
                yield dataset
        except GDAL_ERRORS as error:
            if _ran_out_of_memory(error):
                raise MemoryError from error
            raise ImageryError("corrupt", "The file is a TIFF, but its image data cannot be decoded.") from error


def _ran_out_of_memory(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, CPLE_OutOfMemoryError):
            return True
        error = error.__cause__ or error.__context__
    return False


def _refuse_what_cannot_be_read(dataset: DatasetReader, max_pixels: int) -> None:
    for dtype in dataset.dtypes:
        if dtype not in radiometry.READABLE:
            readable = ", ".join(radiometry.READABLE)
            raise ImageryError("unsupported_dtype", f"Values of type {dtype} cannot be read; send {readable}.")
    if dataset.width * dataset.height > max_pixels:
        raise ImageryError(
            "image_too_large",
            f"The image has {dataset.width} × {dataset.height} pixels; send windows of at most {max_pixels} pixels.",
            {"max_pixels": max_pixels},
        )
