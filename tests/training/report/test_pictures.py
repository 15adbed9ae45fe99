from __future__ import annotations

import base64
import re
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from training.report import pictures


def pixel(markup: str) -> np.ndarray:
    """The first pixel of a picture in the page."""
    (data,) = re.findall(r'base64,([^"]+)"', markup)
    return np.asarray(Image.open(BytesIO(base64.b64decode(data))).convert("RGB"))[0, 0].astype(int)


@pytest.mark.parametrize(
    ("bands", "expected"),
    [
        (("B04", "B03", "B02"), (200, 120, 40)),
        (("B02", "B03", "B04", "B08"), (40, 120, 200)),
        (("red", "green", "blue"), (200, 120, 40)),
        (("B08",), (200, 200, 200)),
    ],
)
def test_a_patch_is_shown_in_true_colour_where_its_bands_allow(
    bands: tuple[str, ...], expected: tuple[int, ...]
) -> None:
    values = np.asarray([200, 120, 40, 250][: len(bands)], np.uint8)
    shown = pixel(pictures.patch(np.broadcast_to(values, (16, 16, len(bands))), bands, "a patch"))
    assert np.abs(shown - expected).max() <= 8  # WebP keeps less than everything


def test_a_heat_map_runs_from_dark_at_nothing_to_light() -> None:
    values = np.linspace(0, 1, 64, dtype=np.float32).reshape(8, 8)
    assert pixel(pictures.heat(values, "rising")).sum() < 30
    assert pixel(pictures.heat(values[::-1, ::-1], "falling")).sum() > 500
