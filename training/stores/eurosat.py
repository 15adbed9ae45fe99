"""EuroSAT RGB (Helber et al. 2019, MIT): 27,000 Sentinel-2 tiles of 64 × 64 pixels at 10 m, one of 10 classes each.

Two layouts: the tiles as they are, for pretraining and accuracy; and mosaics of four 60 × 60 crops, which
make multi-label patches of real imagery with the size of a BigEarthNet patch, for the probe and average precision.
"""

from __future__ import annotations

import hashlib
import lzma
import random
import re
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from service.imagery.bands import share_of_haze
from training.stores.nomenclature import BIGEARTHNET_19, FOREST, GROUPS, WATER
from training.stores.store import SPLITS, Card, Entry, Row, Source

TILE_PX, CROP_PX, MOSAIC_PX = 64, 60, 120
SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")
#: What Pillow raises for broken files, and zipfile.
NOT_AN_IMAGE = (OSError, ValueError, SyntaxError, Image.DecompressionBombError, zipfile.BadZipFile, zlib.error)

#: What a class says in BigEarthNet's names: (labels there for certain, groups of which one is there).
TO_BIGEARTHNET: dict[str, tuple[tuple[str, ...], tuple[tuple[str, ...], ...]]] = {
    "AnnualCrop": (("Arable land",), ()),
    "Forest": ((), (FOREST,)),
    "HerbaceousVegetation": (("Natural grassland and sparsely vegetated areas",), ()),
    "Highway": ((), ()),
    "Industrial": (("Industrial or commercial units",), ()),
    "Pasture": (("Pastures",), ()),
    "PermanentCrop": (("Permanent crops",), ()),
    "Residential": (("Urban fabric",), ()),
    "River": (("Inland waters",), ()),
    "SeaLake": ((), (WATER,)),
}
CLASSES = tuple(TO_BIGEARTHNET)
BANDS = ("B04", "B03", "B02")
DIVISOR = 2750  # of EuroSAT's own stretch
SURFACE_DIVISOR = 2000  # of BigEarthNet's
#: A clear sky as Sentinel-2 sees it on average: reflectance of the air at 490 nm, and what it lets through.
HAZE, TRANSMITTANCE = 0.07, 0.9


def split_of(name: str) -> str:
    """60 / 20 / 20 by the SHA-1 of the tile's file name, as .jpg whatever its format here."""
    digit = int(hashlib.sha1(f"{PurePosixPath(name).stem}.jpg".encode()).hexdigest(), 16) % 10
    return "train" if digit <= 5 else "validation" if digit <= 7 else "test"


def class_of(name: str) -> str:
    """The class is the folder's name."""
    return PurePosixPath(name).parent.name


def tiles(source: Path, surface: bool = False) -> Source:
    """Every tile, 64 × 64, labelled with its class. `source` is the folder of class folders, or a zip or tar of it.

    `surface`: see `to_surface`.
    """
    files = _files(source)
    return Source(_card("eurosat", TILE_PX, CLASSES, surface), list(files), partial(_read_tiles, files, surface))


def mosaics(source: Path, surface: bool = False, seed: int = 0, tiles_each: int = 2) -> Source:
    """120 × 120 patches, each of four crops of one split, labelled in BigEarthNet's names.

    There are as many as make each tile appear `tiles_each` times on average. A mosaic holds one to four
    classes, each number as likely, so that whole patches of one cover appear as they do on the ground.
    """
    files = _files(source)
    recipe = _recipes(list(files), seed, tiles_each)
    card = _card("eurosat-mosaics", MOSAIC_PX, BIGEARTHNET_19, surface, GROUPS)
    read = partial(_read_mosaics, files, recipe, surface)
    return Source(card, list(recipe), read, f"seed {seed}, {tiles_each} of each tile")


def to_surface(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Top-of-atmosphere pixels (level 1C) about as they would be at the surface (2A), in BigEarthNet's stretch.

    The dark-object method (Chavez 1988) with one clear sky for all: haze falls off with λ⁻⁴ and is taken away, the
    rest is divided by the transmittance. H × W × 3 in EuroSAT's stretch to the same in 2A's.
    """
    dn = pixels * (DIVISOR / 255)
    dn = (dn - HAZE * 10_000 * np.asarray(share_of_haze(BANDS))) / TRANSMITTANCE
    return np.clip(dn * 255 / SURFACE_DIVISOR, 0, 255).astype(np.uint8)


def _card(
    name: str, side: int, labels: tuple[str, ...], surface: bool, groups: tuple[dict[str, Any], ...] = ()
) -> Card:
    return Card(
        name=f"{name}-surface" if surface else name,
        image_shape=(side, side, 3),
        bands=BANDS,
        gsd_m=10,
        stretch={"divisor": SURFACE_DIVISOR if surface else DIVISOR},
        labels=labels,
        groups=groups,
        source="EuroSAT RGB, Helber et al. 2019, doi 10.1109/JSTARS.2019.2918242",
        licence="MIT",
        attribution="Contains modified Copernicus Sentinel data 2015-2018; EuroSAT by P. Helber et al.",
    )


def _files(source: Path) -> Mapping[str, Callable[[], bytes]]:
    """How to read each tile, under its name CLASS/FILE, ordered by class and number."""
    found: dict[str, Callable[[], bytes]] = {}
    if source.is_dir():
        for file in source.rglob("*"):
            if _is_tile(file):
                found[f"{file.parent.name}/{file.name}"] = file.read_bytes
    elif zipfile.is_zipfile(source):
        found = _in_zip(source)
    elif tarfile.is_tarfile(source):
        found = _in_tar(source)
    if not found:
        raise FileNotFoundError(f"{source}: no EuroSAT tiles (folders {', '.join(CLASSES)}), and no zip or tar of them")
    return {name: found[name] for name in sorted(found, key=_by_number)}


def _in_zip(source: Path) -> dict[str, Callable[[], bytes]]:
    archive = zipfile.ZipFile(source)
    names = {PurePosixPath(name): name for name in archive.namelist()}
    return {f"{i.parent.name}/{i.name}": partial(archive.read, name) for i, name in names.items() if _is_tile(i)}


def _in_tar(source: Path) -> dict[str, Callable[[], bytes]]:
    """Tiles are kept in memory (90 MB): a compressed tar has no random access."""
    found: dict[str, Callable[[], bytes]] = {}
    try:
        with tarfile.open(source) as archive:
            for member in archive:
                inside = PurePosixPath(member.name)
                if member.isfile() and _is_tile(inside) and (content := archive.extractfile(member)):
                    found[f"{inside.parent.name}/{inside.name}"] = partial(bytes, content.read())
    except (EOFError, tarfile.TarError, lzma.LZMAError, zlib.error) as error:
        raise ValueError(f"{source}: the tar is broken off or damaged ({error})") from None
    return found


def _is_tile(file: PurePosixPath | Path) -> bool:
    return file.suffix.lower() in SUFFIXES and file.parent.name in CLASSES


def _by_number(name: str) -> tuple[str, int, str]:
    number = re.search(r"\d+", PurePosixPath(name).stem)
    return class_of(name), int(number[0]) if number else 0, name


def _open(content: bytes, surface: bool) -> NDArray[np.uint8]:
    pixels = np.asarray(Image.open(BytesIO(content)).convert("RGB"))
    if pixels.shape != (TILE_PX, TILE_PX, 3):
        raise ValueError(f"is {pixels.shape[1]} × {pixels.shape[0]} pixels, not {TILE_PX} × {TILE_PX}")
    return to_surface(pixels) if surface else pixels


def _read_tiles(files: Mapping[str, Callable[[], bytes]], surface: bool, names: Sequence[str]) -> Iterable[Entry]:
    for name in names:
        try:
            row = Row(PurePosixPath(name).stem, split_of(name), (class_of(name),), source=name)
            yield Entry(name, (_open(files[name](), surface),), (row,))
        except NOT_AN_IMAGE as error:
            yield Entry(name, reason=str(error))


def _recipes(names: Sequence[str], seed: int, tiles_each: int) -> dict[str, list[str]]:
    """Mosaic name → its four tiles, row by row."""
    recipes = {}
    for split in SPLITS:
        chance = random.Random(f"{seed} {split}")
        of_class: dict[str, list[str]] = {}
        for name in names:
            if split_of(name) == split:
                of_class.setdefault(class_of(name), []).append(name)
        count = sum(map(len, of_class.values())) * tiles_each // 4
        for number in range(count):
            classes = chance.sample(sorted(of_class), min(chance.randint(1, 4), len(of_class)))
            cells = classes + chance.choices(classes, k=4 - len(classes))
            chance.shuffle(cells)
            recipes[f"{split}_{number:05d}"] = [chance.choice(of_class[cell]) for cell in cells]
    return recipes


def _read_mosaics(
    files: Mapping[str, Callable[[], bytes]], recipes: Mapping[str, list[str]], surface: bool, names: Sequence[str]
) -> Iterable[Entry]:
    for name in names:
        image = np.empty((MOSAIC_PX, MOSAIC_PX, 3), np.uint8)
        chance = random.Random(name)
        tile = ""
        try:
            for cell, tile in enumerate(recipes[name]):
                row, column = divmod(cell, 2)
                y, x = chance.randint(0, TILE_PX - CROP_PX), chance.randint(0, TILE_PX - CROP_PX)
                here = np.s_[row * CROP_PX : (row + 1) * CROP_PX, column * CROP_PX : (column + 1) * CROP_PX]
                image[here] = _open(files[tile](), surface)[y : y + CROP_PX, x : x + CROP_PX]
        except NOT_AN_IMAGE as error:
            yield Entry(name, reason=f"{tile}: {error}")
            continue
        yield Entry(name, (image,), (_mosaic_row(name, recipes[name]),))


def _mosaic_row(name: str, members: Sequence[str]) -> Row:
    told = [TO_BIGEARTHNET[class_of(tile)] for tile in members]
    labels = {label for certain, _ in told for label in certain}
    any_of = {group for _, groups in told for group in groups}
    return Row(
        name,
        name.split("_")[0],
        tuple(label for label in BIGEARTHNET_19 if label in labels),
        tuple(sorted(any_of)),
        source=" ".join(members),
    )
