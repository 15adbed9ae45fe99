"""BigEarthNet-S2, version 1 (Sumbul et al. 2019) and version 2 (reBEN, Clasen et al. 2024), as published, offline.

A folder a patch, a GeoTIFF a band. Splits and flags come from what is published beside them (`bigearthnet_lists`).
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path

from service.cpus import usable_cpus
from service.imagery.patches import InputSpec
from training.stores import bigearthnet_lists as lists
from training.stores.bigearthnet_patches import NAME, PatchFolder, PatchReader
from training.stores.nomenclature import BIGEARTHNET_19
from training.stores.processes import Ended, in_order
from training.stores.store import Card, Entry, Source

RGB = ("B04", "B03", "B02")
VISIBLE = ("B01", "B02", "B03", "B04")
PATCH_PX, GSD_M = 120, 10.0
DIVISOR = 2000.0  # as everybody stretches RGB
WIDE_DIVISOR = 5000.0  # at 2000, three of four pixels of B08 would be 255: plants are bright in the infrared
LICENCE = "CDLA-Permissive-1.0"
AT_ONCE = 32  # patches that a process reads between two answers: 1.4 MB of pixels, 5.5 MB with twelve bands
TIMEOUT_S = 300.0  # for as many, on a slow disk


def read(
    folder: Path,
    version: int,
    splits: Path | None = None,
    bands: tuple[str, ...] = RGB,
    keep_flagged: bool = False,
    divisor: float | None = None,
) -> Source:
    """The patches below `folder`; of these the recommended set, if `splits` tells it, unless `keep_flagged`.

    `splits` is a folder with the published lists or with metadata.parquet or final_ben_s2.parquet, or
    one of these files. Without it there are no splits, and version 2 has no labels. `divisor` is the DN that
    becomes 255: unless said, 2000 for bands of visible light, 5000 if there are others.
    """
    divisor = divisor or (DIVISOR if {*bands} <= {*VISIBLE} else WIDE_DIVISOR)
    metadata = lists.read(splits) if splits else lists.Metadata()
    keep_all = keep_flagged or splits is None
    patches = dict(sorted(folders_of_patches(folder, bands)))
    if not patches:
        raise FileNotFoundError(f"{folder}: no BigEarthNet patches (folders named S2A_MSIL2A_… with a GeoTIFF a band)")
    names = [name for name in patches if keep_all or metadata.is_recommended(name)]
    has_labels = version == 1 or any(facts.labels for facts in metadata.facts.values())
    card = Card(
        name=f"bigearthnet-v{version}",
        image_shape=(PATCH_PX, PATCH_PX, len(bands)),
        bands=bands,
        gsd_m=GSD_M,
        stretch={"divisor": divisor},
        labels=BIGEARTHNET_19 if has_labels else (),
        source=f"BigEarthNet-S2 v{version}",
        licence=LICENCE,
        attribution="BigEarthNet, Sumbul et al.; contains modified Copernicus Sentinel data 2017-2018",
    )
    reader = PatchReader(InputSpec(bands, PATCH_PX, GSD_M, divisor), version)

    def entries(chosen: Sequence[str]) -> Iterable[Entry]:
        here = (PatchFolder(Path(patches[name]), metadata.facts.get(name, lists.Facts())) for name in chosen)
        for some, read_ones in in_order(reader, _chunks(here), min(usable_cpus(), len(chosen)), TIMEOUT_S):
            yield from reader.one_by_one(some) if isinstance(read_ones, Ended) else read_ones

    told = hashlib.sha256()
    for name in names:
        told.update(f"{metadata.facts.get(name)!r}\n".encode())
    return Source(card, names, entries, told.hexdigest())


def _chunks(patches: Iterable[PatchFolder]) -> Iterator[list[PatchFolder]]:
    left = iter(patches)
    while some := list(islice(left, AT_ONCE)):
        yield some


def folders_of_patches(folder: str | Path, bands: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Name and path of the folders of patches at any depth; version 2 has a folder a Sentinel-2 tile between."""
    with os.scandir(folder) as entries:
        for entry in sorted(entries, key=lambda one: one.name):
            if entry.is_dir():
                if NAME.match(entry.name) and _has_band(entry, bands):
                    yield entry.name, entry.path
                else:
                    yield from folders_of_patches(entry.path, bands)


def _has_band(folder: os.DirEntry[str], bands: Sequence[str]) -> bool:
    files = (f"{folder.path}/{folder.name}_{band}{suffix}" for band in bands for suffix in (".tif", ".tiff"))
    return any(map(os.path.exists, files))
