"""What the benchmarks serve and send: ViT-S/16 at 224 px with random weights, packaged as any model is, and tiles."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from service.model.artifact import INT8, STARTER, Artifact, load, save
from service.model.manifest import EmbeddingSpec, HeadSpec, Label
from tests.conftest import SMALL
from tests.imagery import geotiff, reflectance
from training import int8
from training.stores.store import Card, Entry, Row, Source, Store, write

BANDS, SIDE, DIVISOR = ("B04", "B03", "B02"), 120, 2000
CALIBRATION, JUDGED = 32, 32
NOISE_DN = 40  # so that it compresses as imagery does, to two thirds, and not as squares of one colour


def digital_numbers(seed: int) -> NDArray[np.uint16]:
    """3 × SIDE × SIDE."""
    noise = np.random.default_rng(seed).normal(0, NOISE_DN, (len(BANDS), SIDE, SIDE))
    return np.clip(reflectance(SIDE, seed=seed) + noise, 1, None).astype(np.uint16)


def tiles(count: int = 16) -> list[bytes]:
    """GeoTIFFs of a patch each: three bands, uint16, Deflate, named and placed."""
    return [geotiff(digital_numbers(seed), names=BANDS, compress="deflate") for seed in range(count)]


def save_vit_small(folder: Path, *, is_int8: bool = True) -> Artifact:
    """With 19 labels that it answers; `is_int8`: with ranges, which the gate of `package` has measured."""
    import torch

    from service.model import backbone

    torch.manual_seed(0)
    starter = load(STARTER).manifest
    labels = tuple(Label(name=label.name, threshold=0.5, supervision=("direct",)) for label in starter.labels)
    manifest = starter.model_copy(
        update={
            "name": "vit-small", "backbone": SMALL, "embedding": EmbeddingSpec(dim=SMALL.dim), "labels": labels,
            "head": HeadSpec(features="cls"), "groups": (), "metrics": (), "engines": (),
        }
    )  # fmt: skip
    weights = {name: value.half().numpy() for name, value in backbone.build(SMALL, len(BANDS)).state_dict().items()}
    chance = np.random.default_rng(0)
    head = {
        "weight": chance.normal(0, 0.1, (len(labels), SMALL.dim)).astype(np.float32),
        "bias": np.zeros(len(labels), np.float32),
    }
    if not is_int8:
        return save(folder, manifest, weights, head)
    with tempfile.TemporaryDirectory() as name:
        drafted = save(Path(name) / "drafted", manifest, weights, head)
        entry, content = int8.quantise(drafted, _store(Path(name) / "store", [label.name for label in labels]))
    return save(folder, manifest.model_copy(update={"engines": (entry,)}), weights, head, {INT8: content})


def _store(folder: Path, labels: Sequence[str]) -> Store:
    """Tiles with labels drawn by lot, to calibrate and to judge by."""
    chance = np.random.default_rng(0)

    def read(names: Sequence[str]) -> Iterable[Entry]:
        for name in names:
            pixels = np.clip(digital_numbers(int(name)) * (255 / DIVISOR), 0, 255).astype(np.uint8).transpose(1, 2, 0)
            split = "train" if int(name) < CALIBRATION else "test"
            drawn = tuple(label for label in labels if chance.random() < 0.3)
            yield Entry(name, (pixels,), (Row(name, split, drawn),))

    card = Card("synthetic", (SIDE, SIDE, len(BANDS)), BANDS, 10, {"divisor": DIVISOR}, tuple(labels))
    write(folder, Source(card, [str(i) for i in range(CALIBRATION + JUDGED)], read))
    return Store.open(folder)


def resized(tile: int, size: int = SMALL.image_size) -> NDArray[np.uint8]:
    """size × size × 3 of one of the tiles, as a person with Pillow would make it."""
    pixels = np.clip(digital_numbers(tile) * (255 / DIVISOR), 0, 255).astype(np.uint8).transpose(1, 2, 0)
    return np.asarray(Image.fromarray(pixels).resize((size, size), Image.Resampling.BICUBIC))
