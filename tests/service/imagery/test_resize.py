from __future__ import annotations

import numpy as np
from PIL import Image

from service.imagery.resize import normalise, resize


def test_three_bands_are_resized_as_each_is_alone() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (120, 90, 3), np.uint8)
    alone = [Image.fromarray(pixels[:, :, band]).resize((224, 224), Image.Resampling.BICUBIC) for band in range(3)]
    assert np.array_equal(resize(pixels, 224), np.stack(alone, axis=2))


def test_a_patch_of_the_right_size_is_not_touched() -> None:
    pixels = np.zeros((32, 32, 5), np.uint8)
    assert resize(pixels, 32) is pixels


def test_normalised_pixels_have_the_documented_values_and_layout() -> None:
    images = np.zeros((2, 4, 4, 3), np.uint8)
    images[1, 2, 3] = 255, 51, 0
    out = normalise(images, (0.5, 0.25, 0.125), (0.5, 0.25, 0.2))
    assert out.shape == (2, 3, 4, 4)
    assert out.dtype == np.float32
    assert np.allclose(out[1, :, 2, 3], [1.0, -0.2, -0.625], atol=1e-6)
