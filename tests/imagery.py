"""Makes imagery as people have it."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from affine import Affine
from numpy.typing import NDArray
from rasterio.errors import NotGeoreferencedWarning
from rasterio.io import MemoryFile

from service.imagery.errors import ImageryError
from service.imagery.patches import InputSpec, Patch, ReadOptions, TileFile
from service.imagery.reader import read_tile
from training.stores.eurosat import CLASSES

RGB = InputSpec(("B04", "B03", "B02"), patch_px=120, gsd_m=10, divisor=2000)
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
    """C × H × W as a GeoTIFF; `tags` and `band_tags` are metadata, other `options` go to GDAL."""
    count, height, width = values.shape
    scales, offsets = options.pop("scales", None), options.pop("offsets", None)
    tags, band_tags = options.pop("tags", {}), options.pop("band_tags", ())
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
            if tags:
                dataset.update_tags(**tags)
            for i, items in enumerate(band_tags, start=1):
                dataset.update_tags(i, **items)
            if scales:
                dataset.scales = scales
            if offsets:
                dataset.offsets = offsets
        return bytes(file.read())


def read(data: bytes, spec: InputSpec = RGB, **options: Any) -> list[Patch]:
    """Patches of a GeoTIFF; `options` are those of ReadOptions."""
    return read_tile([TileFile(data)], spec, ReadOptions(**options))


def refused(data: bytes, **options: Any) -> str:
    """The code under which a GeoTIFF is refused."""
    with pytest.raises(ImageryError) as error:
        read(data, **options)
    return error.value.code


def codes(patch: Patch) -> list[str]:
    """Of its warnings."""
    return [warning.code for warning in patch.facts.warnings]


def reflectance(side: int = 120, bands: int = 3, seed: int = 0) -> NDArray[np.uint16]:
    """DN as over fields: 200 to 2,400, smooth."""
    chance = np.random.default_rng(seed)
    coarse = chance.integers(200, 2400, (bands, side // 8 + 1, side // 8 + 1))
    return np.kron(coarse, np.ones((1, 8, 8), int))[:, :side, :side].astype(np.uint16)


def eurosat_like(folder: Path, each: int = 12) -> Path:
    """A folder as EuroSAT's: ten classes of 64 × 64 JPEGs, each with a colour and a texture of its own."""
    from PIL import Image

    for number, name in enumerate(CLASSES):
        chance = np.random.default_rng(number)
        colour, period = chance.integers(40, 200, 3), 2 + number
        stripes = 40 * (np.arange(64) // period % 2)
        (folder / name).mkdir(parents=True)
        for i in range(1, each + 1):
            noise = chance.normal(0, 10, (64, 64, 3))
            pixels = np.clip(colour + np.roll(stripes, i)[:, None] + noise, 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{name}_{i}.jpg", quality=95)
    return folder
