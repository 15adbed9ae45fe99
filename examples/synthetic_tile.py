"""Makes examples/synthetic_tile.tif: a landscape that nobody has seen, with the bands and values of Sentinel-2.

Fields between hedges, a wood, a river and a village, 120 × 120 pixels of 10 m as surface reflectance × 10,000.
It is for trying things out; nothing was measured on it.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import rasterio
from affine import Affine
from numpy.typing import NDArray

SIDE = 120
BANDS = ("B04", "B03", "B02")
#: DN of B04, B03, B02, as such ground typically shows in summer.
CROPS = ((420, 720, 330), (1150, 1080, 720), (780, 860, 480), (1650, 1400, 950), (520, 800, 380), (950, 1000, 600))
HEDGE, WOOD, WATER, ROOF, STREET = (
    (330, 480, 260),
    (230, 400, 220),
    (290, 420, 420),
    (1750, 1400, 1200),
    (1250, 1230, 1150),
)

Mask = NDArray[np.bool_]


def smooth_noise(chance: np.random.Generator, cell: int) -> NDArray[np.float64]:
    """SIDE × SIDE, mean 0, varying over `cell` pixels."""
    coarse = chance.normal(0, 1, (SIDE // cell + 2, SIDE // cell + 2))
    at = np.arange(SIDE) / cell
    rows = np.array([[np.interp(x, np.arange(row.size), row) for x in at] for row in coarse])
    return np.array([np.interp(at, np.arange(len(rows)), column) for column in rows.T]).T


def fields(chance: np.random.Generator) -> tuple[NDArray[np.int64], Mask]:
    """Number of the field at each pixel, and where hedges part two of them."""
    y, x = np.mgrid[:SIDE, :SIDE]
    bend = 4 * smooth_noise(chance, 40)
    centres = chance.uniform(0, SIDE, (34, 2))
    distance = np.abs(y[..., None] + bend[..., None] - centres[:, 0]) * 1.4 + np.abs(x[..., None] - centres[:, 1])
    number = distance.argmin(-1)
    hedge = (number != np.roll(number, 1, 0)) | (number != np.roll(number, 1, 1))
    return number, hedge


def landscape(seed: int = 7) -> NDArray[np.uint16]:
    """3 × SIDE × SIDE: DN of B04, B03, B02."""
    chance = np.random.default_rng(seed)
    y, x = np.mgrid[:SIDE, :SIDE]
    number, hedge = fields(chance)
    dn = np.asarray(CROPS, float)[chance.integers(0, len(CROPS), 34)][number]
    furrows = np.sin((x * np.cos(number) + y * np.sin(number)) * 1.9)
    dn *= 1 + 0.04 * furrows[..., None]
    dn[hedge] = HEDGE

    def cover(where: Mask, colour: tuple[int, int, int], roughness: float) -> None:
        dn[where] = np.asarray(colour) * (1 + roughness * chance.normal(0, 1, (int(where.sum()), 1)))

    cover((x - 26) ** 2 / 30 + (y - 30) ** 2 / 22 + 12 * smooth_noise(chance, 12) < 30, WOOD, 0.12)
    middle = 88 + 14 * np.sin(x / 23) + 3 * np.sin(x / 7)
    cover(np.abs(y - middle) < 7, HEDGE, 0.1)
    cover(np.abs(y - middle) < 3.5, WATER, 0.04)
    village = (x - 88) ** 2 / 3 + (y - 36) ** 2 / 2 + 40 * smooth_noise(chance, 10) < 110
    cover(village, CROPS[4], 0.1)
    cover(village & (chance.random((SIDE, SIDE)) < 0.3), ROOF, 0.2)
    cover(village & (((x - 88 + y // 9) % 8 == 0) | ((y - 36) % 9 == 0)), STREET, 0.05)
    dn *= 1 + 0.03 * smooth_noise(chance, 30)[..., None]
    dn += chance.normal(0, 14, dn.shape)
    return np.clip(dn, 1, 10_000).round().astype(np.uint16).transpose(2, 0, 1)


def main() -> None:
    """Writes the tile beside this file."""
    with rasterio.open(
        Path(__file__).with_name("synthetic_tile.tif"),
        "w",
        driver="GTiff",
        width=SIDE,
        height=SIDE,
        count=3,
        dtype="uint16",
        crs="EPSG:32633",
        transform=Affine(10, 0, 404400, 0, -10, 5342400),
        compress="deflate",
        predictor=2,
    ) as tile:
        tile.write(landscape())
        for i, band in enumerate(BANDS, start=1):
            tile.set_band_description(i, band)
        tile.update_tags(DESCRIPTION="synthetic landscape made by examples/synthetic_tile.py; not imagery of any place")


if __name__ == "__main__":
    main()
