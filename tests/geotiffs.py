"""Makes GeoTIFFs as people have them."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from rasterio.errors import NotGeoreferencedWarning
from rasterio.io import MemoryFile

UTM_33N = "EPSG:32633"
PLACE = Affine(10, 0, 404400, 0, -10, 5342400)


def geotiff(
    values: NDArray[Any],
    *,
    names: Sequence[str] | None = None,
    crs: str | None = UTM_33N,
    transform: Affine | None = PLACE,
    **options: Any,
) -> bytes:
    """C × H × W as a GeoTIFF; `options` go to GDAL."""
    count, height, width = values.shape
    scales, offsets = options.pop("scales", None), options.pop("offsets", None)
    with warnings.catch_warnings(), MemoryFile() as file:
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with file.open(
            driver="GTiff",
            width=width,
            height=height,
            count=count,
            dtype=values.dtype,
            crs=crs,
            **({"transform": transform} if transform else {}),
            **options,
        ) as dataset:
            dataset.write(values)
            for i, name in enumerate(names or (), start=1):
                dataset.set_band_description(i, name)
            if scales:
                dataset.scales = scales
            if offsets:
                dataset.offsets = offsets
        return bytes(file.read())


def reflectance(side: int = 120, bands: int = 3, seed: int = 0) -> NDArray[np.uint16]:
    """DN as over fields: 200 to 2,400, smooth."""
    chance = np.random.default_rng(seed)
    coarse = chance.integers(200, 2400, (bands, side // 8 + 1, side // 8 + 1))
    return np.kron(coarse, np.ones((1, 8, 8), int))[:, :side, :side].astype(np.uint16)
