"""Patches of BigEarthNet as files to be sent away: some of their bands as they are, or stacked in one GeoTIFF."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import rasterio
from rasterio.io import MemoryFile

from training.stores.bigearthnet import folders_of_patches


def band_files(folder: Path, bands: Sequence[str]) -> Iterator[Path]:
    """Files of these bands at any depth. Raises FileNotFoundError if there is none."""
    endings = tuple(f"_{band}{suffix}" for band in bands for suffix in (".tif", ".tiff"))
    found = sorted(file for file in folder.rglob("*_*") if file.name.endswith(endings))
    if not found:
        raise FileNotFoundError(f"{folder}: no files of {', '.join(bands)} (…_{bands[0]}.tif)")
    yield from found


def patch_folders(folder: Path, bands: Sequence[str]) -> list[Path]:
    """Folders of patches at any depth. Raises FileNotFoundError if there is none."""
    found = sorted(Path(path) for _, path in folders_of_patches(folder, bands))
    if not found:
        raise FileNotFoundError(f"{folder}: no BigEarthNet patches (folders named S2A_MSIL2A_… with a GeoTIFF a band)")
    return found


def stack(patch: Path, bands: Sequence[str]) -> bytes:
    """One GeoTIFF with a band for each, named; place and values are those of the files.

    Raises ValueError for bands of different sizes or places, OSError for what cannot be read.
    """
    layers = []
    profile = None
    for band in bands:
        file = patch / f"{patch.name}_{band}.tif"
        with rasterio.open(file if file.exists() else file.with_suffix(".tiff")) as source:
            here = {key: source.profile[key] for key in ("width", "height", "dtype", "crs", "transform", "nodata")}
            if profile is not None and here != profile:
                raise ValueError(f"{patch.name}: {band} and {bands[0]} differ in size, place or type; send them apart")
            profile = here
            layers.append(source.read(1))
    with MemoryFile() as memory:
        with memory.open(driver="GTiff", count=len(bands), compress="deflate", **(profile or {})) as made:
            for number, (band, layer) in enumerate(zip(bands, layers, strict=True), start=1):
                made.write(layer, number)
                made.set_band_description(number, band)
        return bytes(memory.read())
