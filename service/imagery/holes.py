"""What is put where a patch has no data: something must be, and it must not read as land cover of its own."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

FAR = 2**31  # further than any row or column is long


def fill(pixels: NDArray[np.uint8], valid: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """H × W × C with every pixel that is not valid taken from its own row or column, mirrored at the hole's edge.

    At least one pixel must be valid. What the model says moves far less than with the mean colour: with 30 to 90 % of
    EuroSAT tiles missing, the starter's embeddings keep a cosine of 0.953 to those of the whole tile instead of 0.758,
    and probabilities move by 0.055 instead of 0.137. GDAL's interpolation reaches 0.953 and 0.072, the nearest pixel
    0.935 and 0.076, pixels drawn at random 0.858 and 0.106 (`python -m tests.benchmarks.fill`).
    """
    while not valid.all():
        source, valid = _nearest(valid)
        pixels = pixels.reshape(-1, pixels.shape[2])[source]
    return pixels


def _nearest(valid: NDArray[np.bool_]) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
    """Where each pixel is taken from, as a position in the flat image, and which ones find one: H × W both.

    A valid pixel is taken from where it is.
    """
    places = np.arange(valid.size).reshape(valid.shape)
    source, nearest = places, np.where(valid, 0, FAR)
    for turns in range(4):
        mirror, distance = _from_the_left(np.rot90(places, turns), np.rot90(valid, turns))
        mirror, distance = np.rot90(mirror, -turns), np.rot90(distance, -turns)
        source = np.where(distance < nearest, mirror, source)
        nearest = np.minimum(nearest, distance)
    return source, nearest < FAR


def _from_the_left(places: NDArray[np.intp], valid: NDArray[np.bool_]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """For each pixel the mirror image at the last valid one to its left, and how far away that is."""
    columns = np.broadcast_to(np.arange(valid.shape[1]), valid.shape)
    edge = np.maximum.accumulate(np.where(valid, columns, -1), axis=1)
    distance = np.where(edge < 0, FAR, columns - edge)
    edge = np.maximum(edge, 0)
    mirror = np.clip(2 * edge - columns + 1, 0, edge)  # the edge itself is the first of the image
    mirror = np.where(np.take_along_axis(valid, mirror, axis=1), mirror, edge)
    return np.take_along_axis(places, mirror, axis=1), distance
