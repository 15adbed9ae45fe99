"""Arrays as pictures inside the page."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from io import BytesIO

import numpy as np
from matplotlib import colormaps
from numpy.typing import NDArray
from PIL import Image

from training.report.markup import Markup, tag

RED_GREEN_BLUE = ("B04", "B03", "B02")
HEAT = "magma"  # dark to light evenly, also for the colour-blind and in grey


def patch(pixels: NDArray[np.uint8], bands: Sequence[str], said: str) -> Markup:
    """H × W × C as people see it: in true colour where the bands allow, else its first three bands, or one in grey."""
    if set(RED_GREEN_BLUE) <= set(bands):
        shown = [bands.index(band) for band in RED_GREEN_BLUE]
    else:
        shown = [0, 1, 2] if len(bands) >= 3 else [0, 0, 0]
    return _image(np.ascontiguousarray(pixels[:, :, shown]), said, "WEBP", quality=90)


def heat(values: NDArray[np.float32], said: str) -> Markup:
    """h × w as a heat map from 0 to its own 99th percentile, a pixel a token."""
    scaled = np.minimum(values / max(float(np.percentile(values, 99)), 1e-12), 1)
    return _image((255 * colormaps[HEAT](scaled)[:, :, :3]).round().astype(np.uint8), said, "PNG", class_="tokens")


def colours(values: NDArray[np.float32], said: str) -> Markup:
    """h × w × 3, 0–1, a pixel a token."""
    return _image((255 * values).round().astype(np.uint8), said, "PNG", class_="tokens")


def _image(rgb: NDArray[np.uint8], said: str, kind: str, class_: str | None = None, **options: int) -> Markup:
    file = BytesIO()
    Image.fromarray(rgb).save(file, kind, **options)
    source = f"data:image/{kind.lower()};base64,{base64.b64encode(file.getvalue()).decode()}"
    height, width = rgb.shape[:2]
    return tag("img", src=source, alt=said, width=width, height=height, class_=class_)
