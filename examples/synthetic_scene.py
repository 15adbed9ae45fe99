"""Makes the scene that the page offers to people without a file: service/page/example.tif, and its picture.

A river valley that nobody has seen: strips of fields, woods on the heights, a lake, a town; 720 × 720 pixels of 10 m,
the bands and values of Sentinel-2 as surface reflectance × 10,000. It is for trying things out; nothing was measured
on it.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import rasterio
from affine import Affine
from numpy.typing import NDArray
from PIL import Image

SIDE = 720
BANDS = ("B04", "B03", "B02")
STEP = 20  # DN: finer differences are noise, and noise is what a file is large with
PAGE = Path(__file__).parents[1] / "service" / "page"
#: DN of B04, B03, B02, as such ground typically shows in early summer.
CROPS = np.array(
    [
        (440, 700, 290), (520, 780, 330), (620, 860, 380), (910, 930, 460), (1080, 1010, 530),
        (1400, 1130, 700), (1690, 1260, 820), (1900, 1420, 930), (1210, 930, 660), (770, 760, 450),
    ],
    float,
)  # fmt: skip
MEADOW, BROADLEAVES, CONIFERS, REEDS = (560, 780, 370), (270, 450, 210), (200, 320, 180), (480, 560, 310)
WATER, SHALLOWS, SAND = (200, 330, 370), (310, 470, 430), (1500, 1380, 1080)
ROOF, HALL, STREET, GARDEN, ROAD = (
    (1450, 1090, 900),
    (1820, 1800, 1790),
    (1080, 1060, 1000),
    (420, 640, 360),
    (1190, 1130, 990),
)

Field = NDArray[np.float64]
Mask = NDArray[np.bool_]
Y, X = np.mgrid[:SIDE, :SIDE].astype(float)


def smooth_noise(chance: np.random.Generator, period: float, slope: float = 6) -> Field:
    """SIDE × SIDE, mean 0, deviation 1: no waves longer than `period` pixels, shorter ones ever weaker."""
    frequency = np.hypot(np.fft.fftfreq(SIDE)[:, None], np.fft.rfftfreq(SIDE)[None])
    amplitude = np.maximum(frequency, 1 / period) ** (-slope / 2)
    amplitude[0, 0] = 0
    field = np.fft.irfft2(amplitude * np.fft.rfft2(chance.normal(size=(SIDE, SIDE))), s=(SIDE, SIDE))
    return np.asarray(field / field.std())


def spread(values: Field, low: float, high: float) -> Field:
    """0 up to `low`, 1 from `high` on."""
    return np.clip((values - low) / (high - low), 0, 1)


class Landscape:
    """DN of B04, B03, B02, painted cover by cover."""

    def __init__(self, seed: int) -> None:
        self.chance = np.random.default_rng(seed)
        self.dn = np.zeros((SIDE, SIDE, 3))
        #: How far above the river's line a pixel lies, in pixels; below it less than 0.
        bends = 60 * np.sin(X / 118 + 0.4) + 24 * np.sin(X / 47 + 1.3) + 7 * smooth_noise(self.chance, 110)
        self.above_river = Y - (430 - 0.28 * X + bends)
        heights = 0.62 * smooth_noise(self.chance, 300) + np.abs(self.above_river) / 260
        self.heights = heights
        down, right = np.gradient(heights)
        self.light = 1 + 3.5 * (right + down)  # the sun stands in the south-east

    def cover(self, where: Mask, colour: tuple[float, ...], roughness: float) -> None:
        """Paints a cover of one colour, grainy by `roughness`."""
        grain = 1 + roughness * self.chance.normal(size=(int(where.sum()), 1))
        self.dn[where] = np.asarray(colour) * grain

    def fields(self) -> None:
        """Blocks between lanes, each cut into strips of its own direction, each strip with its crop."""
        count = 90
        bend = [9 * smooth_noise(self.chance, 110) for _ in range(2)]
        centres = self.chance.uniform(-20, SIDE + 20, (count, 2))
        nearest = np.full((2, SIDE, SIDE), np.inf)
        block = np.zeros((SIDE, SIDE), int)
        for i, (y, x) in enumerate(centres):
            distance = np.hypot(Y + bend[0] - y, X + bend[1] - x)
            block[distance < nearest[0]] = i
            nearest = np.sort(np.concatenate([nearest, distance[None]]), axis=0)[:2]
        angle = self.chance.choice([0.3, 0.42, 0.3 + np.pi / 2, 0.9], count)[block]
        width, length = self.chance.uniform(11, 30, count)[block], self.chance.uniform(40, 100, count)[block]
        along, across = X * np.cos(angle) + Y * np.sin(angle), Y * np.cos(angle) - X * np.sin(angle)
        strip = np.floor(along / length) * 131 + np.floor(across / width) * 17 + block * 1009
        number = np.unique(strip, return_inverse=True)[1].reshape(strip.shape)
        usual = self.chance.integers(0, len(CROPS), (count, 3))  # a farm has few crops at a time
        of_strip = self.chance.integers(0, 3, number.max() + 1)
        shade = self.chance.normal(1, 0.09, number.max() + 1)
        self.dn = CROPS[usual[block, of_strip[number]]] * shade[number][..., None]
        self.dn *= (1 + 0.05 * smooth_noise(self.chance, 25))[..., None]
        self.cover((nearest[1] - nearest[0] < 1.5), ROAD, 0.05)

    def woods(self) -> None:
        """On the heights, with clearings; conifers and broad leaves in stands."""
        edge = self.heights + 0.07 * smooth_noise(self.chance, 26, 4)
        wood, stands = edge > 1.05, smooth_noise(self.chance, 70)
        crowns = 0.13 * smooth_noise(self.chance, 7, 3)
        for colour, where in ((BROADLEAVES, stands < 0.25), (CONIFERS, stands >= 0.25)):
            self.cover(wood & where, colour, 0.05)
        self.dn[wood] *= (1 + crowns[wood])[:, None]
        self.cover(wood & (smooth_noise(self.chance, 60, 4) > 1.7), MEADOW, 0.05)

    def river(self) -> None:
        """Water between sand and meadows, and a lake beside it."""
        shift, bank = self.above_river, 3 * smooth_noise(self.chance, 30)
        meadows = np.abs(shift) < 26 + 4 * bank
        self.cover(meadows & (self.heights < 1.0), MEADOW, 0.05)
        self.cover(np.abs(shift) < 11 + bank, BROADLEAVES, 0.12)
        self.cover((np.abs(shift - 5) < 4 + bank) & (smooth_noise(self.chance, 60) > 1.2), SAND, 0.06)
        lake = np.hypot((X - 565) / 1.5, Y - 520) + 9 * smooth_noise(self.chance, 90) + 2 * bank
        self.cover(lake < 64, REEDS, 0.1)
        self.cover((lake < 60) & (lake > 57), SAND, 0.05)
        depth = np.maximum(spread(-lake, -57, -40), spread(-np.abs(shift), -6, -2))[..., None]
        water = (lake < 58) | (np.abs(shift) < 6.2 + 0.4 * bank)
        deep = np.asarray(SHALLOWS) * (1 - depth) + np.asarray(WATER) * depth
        self.dn[water] = (deep * (1 + 0.02 * smooth_noise(self.chance, 40))[..., None])[water]

    def town(self) -> None:
        """Streets and roofs, close in the middle; halls at its edge; roads that lead away."""
        for x, y, size in ((255, 200, 62), (330, 235, 26), (610, 330, 24), (120, 610, 26), (430, 655, 17)):
            turn = 0.35 + x / 400
            along, across = (
                (X - x) * np.cos(turn) + (Y - y) * np.sin(turn),
                (Y - y) * np.cos(turn) - (X - x) * np.sin(turn),
            )
            reach = np.hypot(X - x, Y - y) / size + 0.16 * smooth_noise(self.chance, 50)
            dry = np.abs(self.above_river) > 13
            self.cover((reach < 1) & dry, GARDEN, 0.12)
            roof = self.chance.random((SIDE, SIDE)) < 0.8 * spread(-reach, -1.05, -0.35)
            self.cover((reach < 1) & dry & roof, ROOF, 0.18)
            wind = 3 * smooth_noise(self.chance, 60)
            is_street = (np.abs((along + wind) % 12 - 6) < 0.7) | (np.abs((across - wind) % 9 - 4.5) < 0.6)
            self.cover((reach < 0.94) & dry & is_street, STREET, 0.06)
        for i in range(13):
            x, y = 322 + 27 * (i % 5) + self.chance.uniform(-4, 4), 128 + 24 * (i // 5) + self.chance.uniform(-3, 3)
            half = self.chance.uniform(5, 11, 2)
            yard = (np.abs(X - x) < half[0] + 4) & (np.abs(Y - y) < half[1] + 4)
            self.cover(yard, STREET, 0.05)
            self.cover((np.abs(X - x) < half[0]) & (np.abs(Y - y) < half[1]), HALL, 0.04)

    def roads(self) -> None:
        """One along the valley, one across."""
        along = Y - (325 - 0.30 * X + 40 * np.sin(X / 140 + 0.2))
        across = X - (262 + 0.22 * Y + 22 * np.sin(Y / 95))
        for line in (along, across):
            self.cover(np.abs(line) < 1.3, ROAD, 0.03)

    def paint(self) -> NDArray[np.uint16]:
        """3 × SIDE × SIDE."""
        self.fields()
        self.woods()
        self.river()
        self.roads()
        self.town()
        self.dn *= self.light[..., None]
        dn = np.clip(self.dn / STEP, 1, 500).round() * STEP
        return dn.astype(np.uint16).transpose(2, 0, 1)


def main() -> None:
    """Writes both files into the page's folder."""
    dn = Landscape(seed=11).paint()
    with rasterio.open(
        PAGE / "example.tif",
        "w",
        driver="GTiff",
        width=SIDE,
        height=SIDE,
        count=3,
        dtype="uint16",
        crs="EPSG:32633",
        transform=Affine(10, 0, 401400, 0, -10, 5345400),
        compress="deflate",
        zlevel=9,
        predictor=2,
        interleave="pixel",
        blockysize=SIDE,  # in one strip, where deflate sees bands and rows beside each other: 0.62 MB instead of 0.95
    ) as scene:
        scene.write(dn)
        for i, band in enumerate(BANDS, start=1):
            scene.set_band_description(i, band)
        scene.update_tags(
            DESCRIPTION="synthetic landscape made by examples/synthetic_scene.py; not imagery of any place"
        )
    low, high = np.percentile(dn, (2, 98))
    shown = (np.clip((dn - low) / (high - low), 0, 1) * 255).astype(np.uint8).transpose(1, 2, 0)
    Image.fromarray(shown).save(PAGE / "example.webp", quality=62, method=6)


if __name__ == "__main__":
    main()
