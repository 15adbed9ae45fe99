"""GeoTIFF bytes to patches. Runs in a decode process, never in the one that serves."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from affine import Affine
from numpy.typing import NDArray

from service.imagery import georeference, holes, radiometry
from service.imagery.bands import canonical
from service.imagery.errors import ImageryError
from service.imagery.geotiff import read_band, read_bands
from service.imagery.patches import Caution, InputSpec, Patch, PatchFacts, ReadOptions, TileFile
from service.imagery.raster import Raster, stack
from service.imagery.windows import Window, cut

LEAST_VALID = 0.05  # share of pixels with data; with less there is no land cover to tell
NOWHERE = Caution("no_georeference", "The image has no usable georeference, so there is no footprint.")


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
        raster = read_bands(files[0], spec, options)
    else:
        raster = _read_band_files(files, spec, options, band_reader)
    height, width = raster.valid.shape
    windows = cut(width, height, spec.patch_px, options.stride, is_part=options.window is not None)
    pixels, applied, cautions = radiometry.to_pixels(raster, spec, options)
    crs = raster.crs if georeference.is_referenced(raster.crs, raster.transform) else None
    name = georeference.name_of(raster.crs)
    kept = [window for window in windows if _share(raster.valid[_within(window)]) >= LEAST_VALID]
    pixel_m, outlines = georeference.survey(crs, raster.transform, width, height, kept)
    cautions = [*raster.cautions, *cautions, *georeference.gsd_caution(pixel_m, spec.gsd_m)]
    patches = []
    for window, outline in zip(kept, outlines, strict=True):
        valid = raster.valid[_within(window)]
        if outline is None and options.require_geo:
            raise ImageryError("no_georeference", "The image has no usable reference system and transform.")
        facts = PatchFacts(
            window=window,
            valid_fraction=_share(valid),
            crs=name,
            transform=tuple(raster.transform @ Affine.translation(*window[:2]))[:6] if crs else None,
            footprint=outline,
            radiometry=applied,
            warnings=tuple(cautions if outline else [*cautions, NOWHERE]),
        )
        patches.append(Patch(holes.fill(pixels[_within(window)], valid), valid, facts))
    if not patches:
        raise ImageryError(
            "no_valid_pixels",
            f"Less than {LEAST_VALID:.0%} of the pixels hold data (the rest is nodata, masked or not a number).",
            {"least_valid_fraction": LEAST_VALID},
        )
    return patches


def _within(window: Window) -> tuple[slice, slice]:
    """Its rows and columns."""
    column, row, width, height = window
    return slice(row, row + height), slice(column, column + width)


def _share(valid: NDArray[np.bool_]) -> float:
    return int(np.count_nonzero(valid)) / valid.size


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
