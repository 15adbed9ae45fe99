"""The bands of a GeoTIFF that a model reads, as the file holds them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio.enums import MaskFlags
from rasterio.io import DatasetReader

from service.imagery import georeference, tags
from service.imagery.band_order import FileBands, choose, is_alpha_a_band
from service.imagery.errors import ImageryError
from service.imagery.patches import Caution, InputSpec, ReadOptions, TileFile
from service.imagery.radiometry import READABLE
from service.imagery.raster import Raster
from service.imagery.tiff.header import Header
from service.imagery.tiff.opening import opened

LEAST_BITS = 8  # of a sample; less is a mask or a drawing
WITH_ALPHA = 2  # bands of a palette
#: Photometric interpretations (TIFF 6.0, and the registered ones).
NO_COLOURS = {
    0: "white as 0", 4: "a mask", 8: "L*a*b*", 9: "L*a*b*", 10: "L*a*b*", 32803: "the raw mosaic of a camera",
    32844: "logarithms", 32845: "logarithms",
}  # fmt: skip


def read_bands(tile: TileFile, spec: InputSpec, options: ReadOptions) -> Raster:
    """The bands of `spec`, in its order. Raises ImageryError."""
    with opened(tile, options.limits, options.window) as (dataset, header):
        _refuse_types(dataset)
        colours = [colour.name for colour in dataset.colorinterp]
        _refuse_drawings(header, colours)
        if colours[0] == "palette":
            return _read_palette(dataset, header, spec, options)
        file = FileBands(
            called=_names(dataset, header),
            colours=colours,
            pixel_m=partial(georeference.pixel_size_m, dataset.crs, dataset.transform, dataset.width, dataset.height),
            images=header.images,
        )
        chosen, cautions = choose(spec.bands, options.bands, file)
        raster = _read(dataset, header, [i + 1 for i in chosen], cautions)
        is_masked_by_alpha = MaskFlags.alpha in dataset.mask_flag_enums[0]  # as it is not where there is nodata
        if is_masked_by_alpha and is_alpha_a_band(options.bands, spec.bands, file):
            return replace(raster, valid=_are_numbers(raster.values))
        return raster


def read_band(file: TileFile, options: ReadOptions) -> Raster:
    """The band of a band file. Raises ImageryError."""
    with opened(file, options.limits, options.window) as (dataset, header):
        _refuse_types(dataset)
        if dataset.count != 1:
            detail = f"The file for band {file.band} has {dataset.count} bands; a band file has one."
            raise ImageryError("band_count", detail)
        colours = [colour.name for colour in dataset.colorinterp]
        _refuse_drawings(header, colours)
        if colours[0] == "palette":
            raise ImageryError("unsupported_dtype", f"The file for band {file.band} holds a palette, not values.")
        return _read(dataset, header, [1], [])


def _read(dataset: DatasetReader, header: Header, indexes: list[int], cautions: Sequence[Caution]) -> Raster:
    """Bands (counted from 1) as they are; a pixel is valid where each of them holds data."""
    values = dataset.read(indexes)
    valid = _are_numbers(values)
    flags = dataset.mask_flag_enums
    if any(flags[i - 1] != [MaskFlags.all_valid] for i in indexes):
        valid &= dataset.read_masks(indexes).all(axis=0)
    scale, offset = _scale_and_offset(dataset, indexes)
    if header.images > 1:
        detail = f"The file holds {header.images} images; the first one was read."
        cautions = [*cautions, Caution("first_image_only", detail)]
    return Raster(values, valid, dataset.crs, dataset.transform, scale, offset, tuple(cautions))


def _are_numbers(values: NDArray[Any]) -> NDArray[np.bool_]:
    """H × W: false where a band is NaN or infinite."""
    are_numbers = np.ones(values.shape[1:], np.bool_)
    for band in values if values.dtype.kind == "f" else ():
        are_numbers &= np.isfinite(band)
    return are_numbers


def _scale_and_offset(dataset: DatasetReader, indexes: list[int]) -> tuple[float | None, float | None]:
    found = {(dataset.scales[i - 1], dataset.offsets[i - 1]) for i in indexes}
    if len(found) > 1:
        detail = "The scale and offset tags differ between the bands; send bands that share them."
        raise ImageryError("scale_ambiguous", detail)
    ((scale, offset),) = found
    if scale == 0 or not np.isfinite((scale, offset)).all():
        raise ImageryError("scale_ambiguous", f"A scale tag of {scale} and an offset of {offset} mean nothing.")
    return None if scale == 1 else scale, offset or None


def _read_palette(dataset: DatasetReader, header: Header, spec: InputSpec, options: ReadOptions) -> Raster:
    """Indices are no measure of anything: the colours that they stand for are what is read."""
    table = np.zeros((256, 4), np.uint8)
    for index, colour in dataset.colormap(1).items():
        if index < len(table):
            table[index] = colour
    nameless = FileBands([()] * 3, ["red", "green", "blue"], lambda: np.nan)
    chosen, cautions = choose(spec.bands, options.bands, nameless)
    indices = _read(dataset, header, [1], cautions)
    looked_up = table[indices.values[0]]
    return replace(
        indices,
        values=looked_up[..., chosen].transpose(2, 0, 1),
        valid=indices.valid & (looked_up[..., 3] > 0),
        scale=None,
        offset=None,
    )


def _names(dataset: DatasetReader, header: Header) -> list[tuple[str, ...]]:
    """What each band is called: its description, then what its metadata says."""
    tagged = tags.band_names(header.gdal_metadata, dataset.count)
    try:
        described = [tags.legible(description or "") for description in dataset.descriptions]
    except UnicodeDecodeError:  # GDAL promises UTF-8, files do not
        return tagged
    return [(name, *names) if name else names for name, names in zip(described, tagged, strict=True)]


def _refuse_types(dataset: DatasetReader) -> None:
    for dtype in dataset.dtypes:
        if dtype not in READABLE:
            detail = f"Values of type {dtype} cannot be read; send {', '.join(READABLE)}."
            raise ImageryError("unsupported_dtype", detail)


def _refuse_drawings(header: Header, colours: Sequence[str]) -> None:
    """And what else GDAL hands out as if it were bands or colours: black and white, for one, has a palette there."""
    if header.photometric in NO_COLOURS:
        raise ImageryError(
            "unsupported_dtype",
            f"The file says that its samples are {NO_COLOURS[header.photometric]}, which is neither bands nor colours: "
            "write it as RGB, or as bands with black as 0 (PHOTOMETRIC=MINISBLACK).",
        )
    if colours[0] == "palette" and header.bands > WITH_ALPHA:
        detail = f"The file has {header.bands} bands and a palette, which is for one; send its bands or its colours."
        raise ImageryError("unsupported_dtype", detail)
    if header.bits < (2 if colours[0] == "palette" else LEAST_BITS):
        raise ImageryError(
            "unsupported_dtype",
            f"Samples of {header.bits} bits are a mask or a drawing, not imagery; send {LEAST_BITS} bits or more.",
        )
