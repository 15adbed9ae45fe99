"""What pixels without data had best be filled with: how far each way moves the answer from that of the whole tile.

    python -m tests.benchmarks.fill EUROSAT [--tiles 60]

EUROSAT is EuroSAT RGB, a folder or an archive. Tiles of all classes, as at the surface, lose pixels to masks of
several shapes, are filled in each way, and go through the bundled starter. Prints, for each way and shape, the mean
cosine between the embeddings of the whole tile and of the filled one, and by how much the probabilities move.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from rasterio.fill import fillnodata

from service.imagery import holes
from service.imagery.resize import resize
from service.model import artifact, engine
from service.model.land_cover import sigmoid
from training.stores import eurosat

Pixels = NDArray[np.uint8]
Mask = NDArray[np.bool_]
BATCH = 100


def mean_colour(pixels: Pixels, valid: Mask) -> Pixels:
    return np.where(valid[..., None], pixels, pixels[valid].mean(axis=0).astype(np.uint8))


def black(pixels: Pixels, valid: Mask) -> Pixels:
    return np.where(valid[..., None], pixels, np.uint8(0))


def _nearest(valid: Mask) -> NDArray[np.intp]:
    """2 × H × W: row and column of the valid pixel that is nearest."""
    known, missing = np.argwhere(valid), np.argwhere(~valid)
    found = np.indices(valid.shape)
    for some in np.array_split(missing, 16):
        found[:, *some.T] = known[((some[:, None] - known) ** 2).sum(axis=2).argmin(axis=1)].T
    return found


def nearest(pixels: Pixels, valid: Mask) -> Pixels:
    return pixels[tuple(_nearest(valid))]


def interpolated(pixels: Pixels, valid: Mask) -> Pixels:
    """GDAL's, by inverse distance, as far as the tile is wide."""
    bands = [
        fillnodata(band, valid.astype(np.uint8), max_search_distance=len(valid))
        for band in pixels.transpose(2, 0, 1).copy()
    ]
    return np.stack(bands, axis=2)


def mirrored(pixels: Pixels, valid: Mask) -> Pixels:
    """As far behind the nearest valid pixel as the hole's is before it; by chance where nothing is there."""
    end = np.array(valid.shape)[:, None, None] - 1
    there = end - np.abs(end - np.abs(2 * _nearest(valid) - np.indices(valid.shape)))  # reflected at the tile's sides
    filled = drawn(pixels, valid)
    here = ~valid & valid[tuple(there)]
    filled[here] = pixels[tuple(there)][here]
    return filled


def drawn(pixels: Pixels, valid: Mask) -> Pixels:
    """Valid pixels at random."""
    filled, known = pixels.copy(), pixels[valid]
    filled[~valid] = known[np.random.default_rng(0).integers(len(known), size=int((~valid).sum()))]
    return filled


def turned(pixels: Pixels, valid: Mask) -> Pixels:
    """What the mirror images and the tile on its head hold there, by chance where none does."""
    filled, known = pixels.copy(), valid.copy()
    for turn in (np.s_[::-1, ::-1], np.s_[:, ::-1], np.s_[::-1]):
        here = ~known & valid[turn]
        filled[here] = pixels[turn][here]
        known |= here
    return drawn(filled, known)


def shifted(pixels: Pixels, valid: Mask) -> Pixels:
    """The tile shifted round by halves, quarters or eighths, the first that brings data there."""
    filled, known = pixels.copy(), valid.copy()
    height, width = valid.shape
    for part in (2, 4, 8):
        for rows, columns in sorted(np.ndindex(part, part), key=sum):
            by = (rows * height // part, columns * width // part)
            here = ~known & np.roll(valid, by, (0, 1))
            filled[here] = np.roll(pixels, by, (0, 1))[here]
            known |= here
    return drawn(filled, known)


WAYS: dict[str, Callable[[Pixels, Mask], Pixels]] = {
    "mean colour": mean_colour,
    "black": black,
    "nearest": nearest,
    "interpolated": interpolated,
    "mirrored": mirrored,
    "holes.fill": holes.fill,
    "drawn at random": drawn,
    "turned": turned,
    "shifted": shifted,
}


def masks(side: int, chance: np.random.Generator) -> dict[str, Mask]:
    """Where a tile has data, by the shape of what is missing."""
    y, x = np.mgrid[:side, :side] / side - 0.5
    angle = chance.uniform(0, 2 * np.pi)
    across = x * np.cos(angle) + y * np.sin(angle)
    noise = np.asarray(
        Image.fromarray(chance.normal(size=(7, 7)).astype(np.float32)).resize((side, side), Image.Resampling.BICUBIC)
    )
    missing = chance.uniform(0.3, 0.7)
    return {
        "half": np.rot90(x >= 0, chance.integers(4)),
        "swath edge": across > np.quantile(across, missing),
        "clouds": noise > np.quantile(noise, missing),
        "stripes": ((x * 8 + y * 2) % 1) > 0.25,
        "little left": across > np.quantile(across, 0.9),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("eurosat", type=Path)
    parser.add_argument("--tiles", type=int, default=60)
    arguments = parser.parse_args()
    source = eurosat.tiles(arguments.eurosat, surface=True)
    names = source.names[:: len(source.names) // arguments.tiles]
    tiles = [entry.images[0] for entry in source.read(names)]
    starter = artifact.load(artifact.STARTER)
    told = [i for i, label in enumerate(starter.manifest.labels) if label.is_answered]
    size = starter.manifest.backbone.image_size
    runner = engine.choose(starter, threads=2).each[0]

    def answers(images: list[Pixels]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        outputs = [
            runner.run(np.stack([resize(image, size) for image in images[i : i + BATCH]]))
            for i in range(0, len(images), BATCH)
        ]
        embeddings = np.concatenate([output.embeddings for output in outputs]).astype(np.float64)
        logits = np.concatenate([output.logits for output in outputs])[:, told]
        return embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True), sigmoid(logits.astype(np.float64))

    whole = answers(tiles)
    chance = np.random.default_rng(0)
    cut = [masks(len(tile), chance) for tile in tiles]
    shapes = list(cut[0])
    print(f"{len(tiles)} tiles; mean cosine of the embeddings, mean change of the probabilities")
    print(f"{'':18}" + "".join(f"{shape:>14}" for shape in [*shapes, "all", "ms a tile"]))
    for way, fill in WAYS.items():
        figures, took = [], 0.0
        for shape in shapes:
            started = time.perf_counter()
            filled = [fill(tile, mask[shape]) for tile, mask in zip(tiles, cut, strict=True)]
            took += time.perf_counter() - started
            embeddings, probabilities = answers(filled)
            figures.append(((embeddings * whole[0]).sum(1).mean(), np.abs(probabilities - whole[1]).mean()))
        figures.append(tuple(np.mean(figures, axis=0)))
        cells = "".join(f"{cosine:>8.3f} {change:.3f}" for cosine, change in figures)
        print(f"{way:18}{cells}{1e3 * took / len(tiles) / len(shapes):>14.2f}", flush=True)


if __name__ == "__main__":
    main()
