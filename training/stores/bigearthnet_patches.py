"""A patch of BigEarthNet: its bands as one image, and what its folder and the published lists say of it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.imagery.errors import ImageryError
from service.imagery.patches import InputSpec, PatchFacts, ReadOptions, TileFile
from service.imagery.reader import read_tile
from service.imagery.resize import resize
from training.stores.bigearthnet_lists import Facts
from training.stores.decoding import decode_all, wkb
from training.stores.layouts import BandReader
from training.stores.nomenclature import to_bigearthnet_19
from training.stores.store import Entry, Row

NAME = re.compile(r"S2[AB]_MSIL2A_(\d{8})T\w+")
OPTIONS = ReadOptions(boa_offset=0)  # no +1000 in either version
_SEASONS = ("Winter", "Spring", "Summer", "Fall")  # meteorological, of the northern hemisphere; names as the builder's


@dataclass(frozen=True)
class PatchFolder:
    """Where a patch lies, and what is known of it."""

    path: Path
    facts: Facts

    def files(self, bands: Sequence[str]) -> list[TileFile]:
        """Its band files. Raises OSError."""
        return [TileFile(self._band_file(band).read_bytes(), band) for band in bands]

    def _band_file(self, band: str) -> Path:
        file = self.path / f"{self.path.name}_{band}.tif"
        return file if file.exists() else file.with_suffix(".tiff")


@dataclass(frozen=True)
class PatchReader:
    """Reads patches as the service reads them, coarser bands on the grid of the finest."""

    spec: InputSpec
    version: int
    band_reader: BandReader = field(default_factory=BandReader)

    def __call__(self, patches: Sequence[PatchFolder]) -> list[Entry]:
        """An entry for each."""
        return [self._entry(patch) for patch in patches]

    def one_by_one(self, patches: Sequence[PatchFolder]) -> Iterator[Entry]:
        """The same, each in a decode process of the service: some ended the process that read it."""
        by_name = {patch.path.name: patch for patch in patches}
        decoded = decode_all(list(by_name), lambda name: by_name[name].files(self.spec.bands), self.spec, OPTIONS)
        for name, tile in decoded:
            if isinstance(tile, str):
                yield Entry(name, reason=tile)
            else:
                yield self._labelled(by_name[name], tile.images[0], tile.facts[0])

    def _entry(self, patch: PatchFolder) -> Entry:
        try:
            found, *_ = read_tile(patch.files(self.spec.bands), self.spec, OPTIONS, self.band_reader)
        except (ImageryError, OSError) as error:
            return Entry(patch.path.name, reason=str(error))
        return self._labelled(patch, resize(found.pixels, self.spec.patch_px), found.facts)

    def _labelled(self, patch: PatchFolder, image: NDArray[np.uint8], facts: PatchFacts) -> Entry:
        name = patch.path.name
        try:
            row = _row(name, patch.path, self.version, patch.facts)
        except (OSError, ValueError, KeyError) as error:
            return Entry(name, reason=f"labels: {error}")
        return Entry(name, (image,), (replace(row, geometry=wkb(facts.footprint)),))


def _row(name: str, patch: Path, version: int, facts: Facts) -> Row:
    own: dict[str, Any] = {}
    file = patch / f"{name}_labels_metadata.json"
    if file.exists() or (version == 1 and facts.labels is None):  # a patch of version 1 without labels is broken
        own = json.loads(file.read_text())
    labels = facts.labels if facts.labels is not None else tuple(to_bigearthnet_19(own.get("labels", ())))
    date = own.get("acquisition_date") or _date_in(name)
    season = facts.season or _SEASONS[datetime.fromisoformat(date).month % 12 // 3]
    return Row(
        patch_id=name,
        split=facts.split,
        labels=labels,
        country=facts.country,
        season=season,
        acquisition_date=datetime.fromisoformat(date).isoformat(),
        snow=facts.snow,
        cloud_or_shadow=facts.cloud_or_shadow,
        source=patch.name,
    )


def _date_in(name: str) -> str:
    match = NAME.match(name)
    if match is None:
        raise ValueError(f"no date in {name}")
    return match[1]
