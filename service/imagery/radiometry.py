"""File values to 8-bit pixels: one stretch for training and serving alike."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.imagery.bands import canonical
from service.imagery.errors import ImageryError
from service.imagery.patches import Caution, InputSpec, Radiometry, ReadOptions
from service.imagery.raster import Raster

READABLE = ("uint8", "uint16", "int16", "uint32", "int32", "float16", "float32", "float64")
REFLECTANCE_TO_DN = 10_000.0  # Sentinel-2 quantification value
OFFSET_SUSPECTED_DN = 1000  # offset of baseline 04.00; below it lies dark ground in every L2A scene without offset
DARK_SHARE = 0.02  # of the values that are dark ground at least, where there is no offset
OFFSET_SEEN_IN = ("B02", "B03", "B04")  # where some ground is dark in every scene
DARKEST_REFLECTANCE = -0.5  # what correction for the atmosphere makes of shade, at worst
BRIGHTEST_REFLECTANCE = 2.0  # clouds and snow exceed 1; whole-number DN in floats exceed this by far
FARTHEST_OFFSET_DN = 1_000_000  # a hundred times what reflects everything
SATURATED_SHARE = 0.5  # of the valid pixels, in all bands: some are bright over a desert or a forest
SAMPLE_PX = 250_000  # enough for percentiles; those of all pixels of a large scene take seconds


def to_pixels(
    raster: Raster, spec: InputSpec, options: ReadOptions
) -> tuple[NDArray[np.uint8], Radiometry, list[Caution]]:
    """H × W × C of 0–255, what was done to get there, and what is odd about it.

    What the caller says counts first, then the file's tags, then the type: uint8 stays as it is, other whole numbers
    are DN (reflectance × 10,000), and floats reflectance. Pixels that are not valid count in no statistic.
    Raises ImageryError scale_ambiguous, or bad_option for an offset of what is no DN.
    """
    if raster.values.dtype == np.uint8 and options.scale is None and raster.scale is None:
        _refuse_offsets_of_8_bits(raster, options)
        pixels, cautions = raster.values, []
        applied = Radiometry(divisor=None, boa_offset=0, scale=1, bands=spec.bands)
    else:
        sample = _sample(raster)
        scale = options.scale or _scale(sample, raster)
        said = options.boa_offset if options.boa_offset is not None else _tagged_offset(raster, scale)
        applied = Radiometry(divisor=spec.divisor, boa_offset=said or 0, scale=scale, bands=spec.bands)
        cautions = _offset_caution(sample, spec, scale) if said is None else []
        if options.scale is None and raster.scale is None:
            cautions += _8_bit_caution(raster)
        pixels = stretch(raster.values, scale, applied.boa_offset, spec.divisor)
    cautions = cautions + _saturation_caution(pixels, raster.valid)
    return np.stack(list(pixels), axis=2), applied, cautions  # a third of the time of a transposed copy


def stretch(values: NDArray[Any], scale: float, offset: int, divisor: float) -> NDArray[np.uint8]:
    """clip((value × scale + offset) × 255 / divisor, 0, 255), truncated, as EuroSAT and BigEarthNet users do.

    Multiplies before it divides, so that whole results stay whole. Values that are not finite become 0. `values`
    is C × H × W; band after band, since a whole Sentinel-2 tile takes 3 GB in float64. Numbers of up to 16 bits are
    looked up: a scene has more of them than there are different ones, and one patch is stretched like the next.
    """
    is_looked_up = values.dtype.kind in "iu" and values.itemsize <= 2
    if is_looked_up:
        unsigned, table = f"u{values.itemsize}", _table(values.dtype, scale, offset, divisor)
    pixels = np.empty(values.shape, np.uint8)
    for band, out in zip(values, pixels, strict=True):
        out[...] = table.take(band.view(unsigned)) if is_looked_up else _stretched(band, scale, offset, divisor)
    return pixels


@lru_cache(8)
def _table(dtype: np.dtype[Any], scale: float, offset: int, divisor: float) -> NDArray[np.uint8]:
    """What each number becomes, by its bits."""
    every = np.arange(256**dtype.itemsize).astype(f"u{dtype.itemsize}").view(dtype)
    return _stretched(every, scale, offset, divisor)


def _stretched(band: NDArray[Any], scale: float, offset: int, divisor: float) -> NDArray[np.uint8]:
    dn = band.astype(np.float64)
    if band.dtype.kind == "f":
        dn = np.nan_to_num(dn, copy=False, posinf=0, neginf=0)
    if scale != 1:
        dn *= scale
    dn += offset
    dn *= 255
    dn /= divisor
    return np.clip(dn, 0, 255, out=dn).astype(np.uint8)


def _sample(raster: Raster) -> NDArray[Any]:
    """C × n valid values, evenly spread over the image; of few valid pixels all."""
    count = len(raster.values)
    if raster.valid.all():
        step = math.ceil(math.sqrt(raster.valid.size / SAMPLE_PX))
        return raster.values[:, ::step, ::step].reshape(count, -1)
    places = np.flatnonzero(raster.valid)
    return raster.values.reshape(count, -1)[:, places[:: math.ceil(len(places) / SAMPLE_PX) or 1]]


def _scale(sample: NDArray[Any], raster: Raster) -> float:
    """Factor from file values to DN.

    A scale tag leads to reflectance. Whole numbers without one are DN already, floats are reflectance if they look it.
    """
    if raster.scale is None and np.issubdtype(sample.dtype, np.integer):
        return 1.0
    tag = raster.scale or 1.0
    if sample.size:
        low, high = np.percentile(sample, (2, 98)) * tag + (raster.offset or 0)
        low, high = min(low, high), max(low, high)  # a scale tag may be negative
        if low < DARKEST_REFLECTANCE or high > BRIGHTEST_REFLECTANCE or (raster.scale is None and high <= 0):
            what = "Floating-point values" if raster.scale is None else "Values that are, by the file's own tags,"
            raise ImageryError(
                "scale_ambiguous",
                f"{what} between {low:.6g} and {high:.6g} are not reflectance from 0 to 1: "
                "say with the option scale what turns them into reflectance × 10,000.",
            )
    return tag * REFLECTANCE_TO_DN


def _tagged_offset(raster: Raster, scale: float) -> int | None:
    """The offset tag, which counts in what value × scale tag is, as DN."""
    if raster.offset is None:
        return None
    offset = raster.offset * (scale / (raster.scale or 1))
    if not abs(offset) <= FARTHEST_OFFSET_DN:
        raise ImageryError(
            "scale_ambiguous",
            f"The file's offset tag of {raster.offset:g} is far beyond reflectance: say with the option boa_offset "
            "what is to be added.",
        )
    if not round(offset) and raster.scale is None:
        raise ImageryError(
            "scale_ambiguous",
            f"The file's offset tag of {raster.offset:g} without a scale tag is nothing beside its values: say "
            "with the option boa_offset what is to be added.",
        )
    return round(offset) or None


def _refuse_offsets_of_8_bits(raster: Raster, options: ReadOptions) -> None:
    if options.boa_offset:
        detail = "The values are 8-bit pixels, not DN: leave the option boa_offset out, or say scale too."
        raise ImageryError("bad_option", detail)
    if raster.offset is not None and options.boa_offset is None:
        detail = f"The file's 8-bit values have an offset tag of {raster.offset:g} and no scale: say with the option "
        raise ImageryError("scale_ambiguous", detail + "scale what turns them into reflectance × 10,000.")


def _offset_caution(sample: NDArray[Any], spec: InputSpec, scale: float) -> list[Caution]:
    """A warning when the +1000 of Sentinel-2 baseline 04.00 seems to be in the values still; never a correction."""
    dark = sample[[canonical(band) in OFFSET_SEEN_IN for band in spec.bands]]
    dn = dark if scale == 1 else dark * np.float64(scale)
    # Not by a percentile, which takes a twentieth of a tile's time.
    if not dark.size or int(np.count_nonzero(dn <= OFFSET_SUSPECTED_DN)) / dark.size >= DARK_SHARE:
        return []
    return [
        Caution(
            "boa_offset_suspected",
            "Even the darkest pixels are above 1000 DN, as in Sentinel-2 products with the +1000 offset: "
            "send boa_offset=-1000 if this is one, or boa_offset=0 to say that it is not.",
        )
    ]


def _8_bit_caution(raster: Raster) -> list[Caution]:
    """A warning when 8-bit pixels seem to be stored as wider whole numbers; never a correction."""
    is_whole = np.issubdtype(raster.values.dtype, np.integer)
    counts = True if raster.valid.all() else raster.valid  # with a mask it takes seven times as long
    if not is_whole or not raster.valid.any() or raster.values.max(initial=0, where=counts) > 255:
        return []
    detail = f"No value of this {raster.values.dtype} image is over 255: if they are 8-bit pixels, send them as uint8."
    return [Caution("eight_bits_suspected", detail)]


def _saturation_caution(pixels: NDArray[np.uint8], valid: NDArray[np.bool_]) -> list[Caution]:
    is_bright = (pixels == 255).all(axis=0) & valid
    share = int(np.count_nonzero(is_bright)) / max(1, int(np.count_nonzero(valid)))
    if share <= SATURATED_SHARE:
        return []
    detail = (
        f"{share:.0%} of the pixels are as bright as can be: if this is not snow or cloud, the values are not "
        "reflectance × 10,000; say with the option scale what turns them into it."
    )
    return [Caution("saturated", detail)]
