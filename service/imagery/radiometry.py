"""File values to 8-bit pixels: one stretch for training and serving alike."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.imagery.errors import ImageryError
from service.imagery.patches import Caution

READABLE = ("uint8", "uint16", "int16", "uint32", "int32", "float32", "float64")
REFLECTANCE_TO_DN = 10_000.0  # Sentinel-2 quantification value
OFFSET_SUSPECTED_DN = 1000  # offset of baseline 04.00; below it lies dark ground in every L2A scene without offset
BRIGHTEST_REFLECTANCE = 2.0  # clouds and snow exceed 1; whole-number DN in floats exceed this by far


def scale_of(values: NDArray[Any], valid: NDArray[np.bool_], tag: float | None) -> float:
    """Factor from file values to DN (reflectance × 10,000).

    A scale `tag` leads to reflectance. Integers without one are DN already, floats between 0 and about 1 are
    reflectance; anything else must be said, or ImageryError scale_ambiguous is raised.
    """
    if tag is not None:
        return tag * REFLECTANCE_TO_DN
    if np.issubdtype(values.dtype, np.integer) or not valid.any():
        return 1.0
    low, high = np.percentile(values[..., valid], (2, 98))
    if low >= -0.5 and 0 < high <= BRIGHTEST_REFLECTANCE:
        return REFLECTANCE_TO_DN
    raise ImageryError(
        "scale_ambiguous",
        f"Floating-point values between {low:.6g} and {high:.6g} are not reflectance from 0 to 1: "
        "say with the option scale what turns them into reflectance × 10,000.",
    )


def stretch(values: NDArray[Any], scale: float, offset: int, divisor: float) -> NDArray[np.uint8]:
    """clip((value × scale + offset) × 255 / divisor, 0, 255), truncated, as EuroSAT and BigEarthNet users do.

    Multiplies before it divides, so that whole results stay whole. Values that are not finite become 0. `values`
    is C × H × W; band after band, since a whole Sentinel-2 tile takes 3 GB in float64.
    """
    pixels = np.empty(values.shape, np.uint8)
    for band, out in zip(values, pixels, strict=True):
        dn = band.astype(np.float64)
        if scale != 1:
            dn *= scale
        dn += offset
        dn *= 255
        dn /= divisor
        out[...] = np.clip(np.nan_to_num(dn, copy=False), 0, 255, out=dn)
    return pixels


def offset_caution(values: NDArray[Any], valid: NDArray[np.bool_], scale: float) -> list[Caution]:
    """A warning when the +1000 of Sentinel-2 baseline 04.00 seems to be in the values still; never a correction."""
    if not valid.any() or float(np.percentile(values[..., valid], 2)) * scale <= OFFSET_SUSPECTED_DN:
        return []
    return [
        Caution(
            "boa_offset_suspected",
            "Even the darkest pixels are above 1000 DN, as in Sentinel-2 products with the +1000 offset: "
            "send boa_offset=-1000 if this is one, or boa_offset=0 to say that it is not.",
        )
    ]


def fill_invalid(pixels: NDArray[np.uint8], valid: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Pixels without data take the mean colour of those with data, so that no dark shape reads as water."""
    if valid.all():
        return pixels
    return np.where(valid[..., None], pixels, pixels[valid].mean(axis=0).astype(np.uint8))
