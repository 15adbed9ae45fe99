"""A patch to the model's input size: the one definition, for training, evaluation and serving."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image


def resize(pixels: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """H × W × C uint8 to size × size × C uint8: Pillow's bicubic, antialiased, band by band."""
    if pixels.shape[:2] == (size, size):
        return pixels
    bands = [
        Image.fromarray(pixels[:, :, c]).resize((size, size), Image.Resampling.BICUBIC) for c in range(pixels.shape[2])
    ]
    return np.stack([np.asarray(band) for band in bands], axis=2)


def scale_and_shift(mean: tuple[float, ...], std: tuple[float, ...]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """What normalises bytes, a number for each band: (pixel / 255 − mean) / std is pixel · scale − shift."""
    scale = np.asarray([1 / (255 * s) for s in std], np.float32)
    shift = np.asarray([m / s for m, s in zip(mean, std, strict=True)], np.float32)
    return scale, shift


def normalise(images: NDArray[np.uint8], mean: tuple[float, ...], std: tuple[float, ...]) -> NDArray[np.float32]:
    """N × S × S × C uint8 to N × C × S × S float32: (pixel / 255 − mean) / std, band by band."""
    scale, shift = scale_and_shift(mean, std)
    return np.ascontiguousarray((images * scale - shift).transpose(0, 3, 1, 2))
