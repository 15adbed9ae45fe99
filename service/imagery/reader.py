"""GeoTIFF bytes to patches. Runs in a decode process, never in the one that serves."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from rasterio.enums import ColorInterp
from rasterio.io import DatasetReader

from service.imagery import georeference, radiometry
from service.imagery.bands import canonical, choose
from service.imagery.errors import ImageryError
from service.imagery.patches import Caution, InputSpec, Patch, PatchFacts, Radiometry, ReadOptions, TileFile
from service.imagery.raster import Raster, stack
from service.imagery.tiff.header import Header
from service.imagery.tiff.opening import opened
from service.imagery.windows import cut

LEAST_VALID = 0.05  # share of pixels with data; with less there is no land cover to tell


def read_band(file: TileFile, options: ReadOptions) -> Raster:
    """The band of a band file, as it is. Raises ImageryError."""
    with opened(file.data, options.limits, options.window) as (dataset, header):
        _refuse_types(dataset)
        if dataset.count != 1:
            detail = f"The file for band {file.band} has {dataset.count} bands; a band file has one."
            raise ImageryError("band_count", detail)
        if dataset.colorinterp[0] == ColorInterp.palette:
            raise ImageryError("unsupported_dtype", f"The file for band {file.band} holds a palette, not values.")
        return _read_bands(dataset, header, [1], [])


def read_tile(
    files: Sequence[TileFile],
    spec: InputSpec,
    options: ReadOptions,
    band_reader: Callable[[TileFile, ReadOptions], Raster] = read_band,
) -> list[Patch]:
    """Patches of one tile: one GeoTIFF with all bands, or one single-band GeoTIFF for each band.

    A larger side of up to 1.5 × `spec.patch_px` makes one patch, else windows of `patch_px` (see `windows.cut`).
    Windows with less than 5 % of data are left out of a scene. Raises ImageryError with one of the
    codes 413, 415 and 422 of the error table, or bad_option.
    """
    if len(files) == 1 and files[0].band is None:
        raster = _read_file(files[0].data, spec, options)
    else:
        raster = _read_band_files(files, spec, options, band_reader)
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
    raster: Raster, spec: InputSpec, options: ReadOptions
) -> tuple[NDArray[np.uint8], Radiometry, list[Caution]]:
    cautions = list(raster.cautions)
    if raster.values.dtype == np.uint8 and options.scale is None and raster.scale is None:
        if options.boa_offset:
            detail = "The values are 8-bit pixels, not DN: leave the option boa_offset out, or say scale too."
            raise ImageryError("bad_option", detail)
        applied = Radiometry(divisor=None, boa_offset=0, scale=1, bands=spec.bands)
        return np.ascontiguousarray(raster.values.transpose(1, 2, 0)), applied, cautions
    scale = options.scale or radiometry.scale_of(raster.values, raster.valid, raster.scale)
    offset = options.boa_offset
    if offset is None and raster.offset is not None:
        offset = round(raster.offset * scale / (raster.scale or 1))  # the tag counts in what value × scale is
    if offset is None:
        cautions += radiometry.offset_caution(raster.values, raster.valid, scale)
        offset = 0
    pixels = radiometry.stretch(raster.values, scale, offset, spec.divisor).transpose(1, 2, 0)
    applied = Radiometry(divisor=spec.divisor, boa_offset=offset, scale=scale, bands=spec.bands)
    return np.ascontiguousarray(pixels), applied, cautions


def _read_file(data: bytes | memoryview, spec: InputSpec, options: ReadOptions) -> Raster:
    with opened(data, options.limits, options.window) as (dataset, header):
        _refuse_types(dataset)
        colours = [colour.name for colour in dataset.colorinterp]
        if colours == ["palette"]:
            return _read_palette(dataset, header, spec, options)
        chosen, cautions = choose(spec.bands, dataset.count, options.bands, _descriptions(dataset), colours)
        return _read_bands(dataset, header, [i + 1 for i in chosen], cautions)


def _descriptions(dataset: DatasetReader) -> list[str | None]:
    try:
        return list(dataset.descriptions)
    except UnicodeDecodeError:  # GDAL promises UTF-8, files do not
        return [None] * dataset.count


def _read_palette(dataset: DatasetReader, header: Header, spec: InputSpec, options: ReadOptions) -> Raster:
    """Indices are no measure of anything: the colours that they stand for are what is read."""
    table = np.zeros((256, 4), np.uint8)
    for index, colour in dataset.colormap(1).items():
        if index < len(table):
            table[index] = colour
    colours = ["red", "green", "blue"]
    chosen, cautions = choose(spec.bands, len(colours), options.bands, [None] * len(colours), colours)
    indices = _read_bands(dataset, header, [1], cautions)
    if indices.values.dtype != np.uint8:
        raise ImageryError("unsupported_dtype", "A palette of more than 256 colours cannot be read; send its colours.")
    looked_up = table[indices.values[0]]
    return replace(
        indices,
        values=looked_up[..., chosen].transpose(2, 0, 1),
        valid=indices.valid & (looked_up[..., 3] > 0),
        scale=None,
        offset=None,
    )


def _read_band_files(
    files: Sequence[TileFile],
    spec: InputSpec,
    options: ReadOptions,
    band_reader: Callable[[TileFile, ReadOptions], Raster],
) -> Raster:
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
    return stack([band_reader(files[names.index(band)], options) for band in wanted])


def _read_bands(dataset: DatasetReader, header: Header, indexes: list[int], cautions: Sequence[Caution]) -> Raster:
    values = dataset.read(indexes)
    valid = dataset.read_masks(indexes).all(axis=0) & np.isfinite(values).all(axis=0)
    tags = {(dataset.scales[i - 1], dataset.offsets[i - 1]) for i in indexes}
    if len(tags) > 1:
        detail = "The scale and offset tags differ between the bands; send bands that share them."
        raise ImageryError("scale_ambiguous", detail)
    ((scale, offset),) = tags
    if scale == 0 or not np.isfinite((scale, offset)).all():
        raise ImageryError("scale_ambiguous", f"A scale tag of {scale} and an offset of {offset} mean nothing.")
    if header.images > 1:
        detail = f"The file holds {header.images} images; the first one was read."
        cautions = [*cautions, Caution("first_image_only", detail)]
    return Raster(
        values=values,
        valid=valid,
        crs=dataset.crs,
        transform=dataset.transform,
        scale=None if scale == 1 else scale,
        offset=offset or None,
        cautions=tuple(cautions),
    )


def _refuse_types(dataset: DatasetReader) -> None:
    for dtype in dataset.dtypes:
        if dtype not in radiometry.READABLE:
            readable = ", ".join(radiometry.READABLE)
            raise ImageryError("unsupported_dtype", f"Values of type {dtype} cannot be read; send {readable}.")
