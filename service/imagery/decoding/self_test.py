"""A tile that every model can read, to know that decoding works before anybody asks."""

from __future__ import annotations

from io import BytesIO

import numpy as np
from PIL import Image

from service.imagery.patches import InputSpec, TileFile


def tile(spec: InputSpec) -> tuple[TileFile, ...]:
    """A band file for each band: a ramp of 16 × 16 pixels, uint8, without georeference."""
    ramp = np.arange(256, dtype=np.uint8).reshape(16, 16)
    file = BytesIO()
    Image.fromarray(ramp).save(file, "TIFF")
    return tuple(TileFile(file.getvalue(), band) for band in spec.bands)
