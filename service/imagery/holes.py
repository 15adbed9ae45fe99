"""What is put where a patch has no data: something must be, and it must not read as land cover of its own."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def fill(pixels: NDArray[np.uint8], valid: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """H × W × C with every pixel that is not valid taken from its own row or column, mirrored at the hole's edge.

    At least one pixel must be valid. What the model says moves far less than with the mean colour: with 30 to 90 % of
    EuroSAT tiles missing, the starter's embeddings keep a cosine of 0.953 to those of the whole tile instead of 0.758,
    and probabilities move by 0.055 instead of 0.137. GDAL's interpolation reaches 0.953 and 0.072, the nearest pixel
    0.935 and 0.076, pixels drawn at random 0.858 and 0.106 (`python -m tests.benchmarks.fill`).
    """
    while not valid.all():
        pixels, valid = _grown(pixels, valid)
    return pixels


def _grown(pixels: NDArray[np.uint8], valid: NDArray[np.bool_]) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Every pixel that has a valid one in its row or column gets its mirror image at the nearest edge."""
    nearest = np.full(valid.shape, np.inf)
    filled = pixels.copy()
    for turns in range(4):
        mirrored, distance = _from_the_left(np.rot90(pixels, turns), np.rot90(valid, turns))
        mirrored, distance = np.rot90(mirrored, -turns), np.rot90(distance, -turns)
        is_nearer = distance < nearest
        filled[is_nearer], nearest[is_nearer] = mirrored[is_nearer], distance[is_nearer]
    return filled, np.isfinite(nearest)


def _from_the_left(
    pixels: NDArray[np.uint8], valid: NDArray[np.bool_]
) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    """For each pixel what it would get from the last valid one to its left, and how far away that is."""
    columns = np.broadcast_to(np.arange(valid.shape[1]), valid.shape)
    edge = np.maximum.accumulate(np.where(valid, columns, -1), axis=1)
    distance = np.where(edge < 0, np.inf, columns - edge)
    mirror = np.clip(2 * edge - columns + 1, 0, edge.clip(0))  # the edge itself is the first of the image
    source = np.where(np.take_along_axis(valid, mirror, axis=1), mirror, edge.clip(0))
    return np.take_along_axis(pixels, source[..., None], axis=1), distance
