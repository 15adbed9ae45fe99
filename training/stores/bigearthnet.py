"""BigEarthNet-S2, version 1 (Sumbul et al. 2019) and version 2 (reBEN, Clasen et al. 2024), as published, offline.

A folder a patch, a GeoTIFF a band. Splits and flags come from the published lists, from reBEN's
metadata.parquet, or from a final_ben_s2.parquet made by bigearthnet_gdf_builder.
"""

from __future__ import annotations

import bz2
import hashlib
import json
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from service.imagery.patches import InputSpec, ReadOptions, TileFile
from training.stores.decoding import decode_all, wkb
from training.stores.nomenclature import BIGEARTHNET_19, to_bigearthnet_19
from training.stores.store import Card, Entry, Row, Source

RGB = ("B04", "B03", "B02")
PATCH_PX, GSD_M, DIVISOR = 120, 10.0, 2000.0
LICENCE = "CDLA-Permissive-1.0"
_PATCH = re.compile(r"S2[AB]_MSIL2A_(\d{8})T\w+")
_SPLITS = {"train": "train", "val": "validation", "validation": "validation", "test": "test"}
_SEASONS = ("Winter", "Spring", "Summer", "Fall")  # meteorological, of the northern hemisphere; names as the builder's


@dataclass(frozen=True)
class Facts:
    """What a list or a Parquet file knows of a patch; None where it says nothing."""

    split: str | None = None
    labels: tuple[str, ...] | None = None  #: of the 19
    country: str | None = None
    season: str | None = None
    snow: bool | None = None
    cloud_or_shadow: bool | None = None


@dataclass(frozen=True)
class Metadata:
    """Facts by patch, and those that the recommended set leaves out."""

    facts: dict[str, Facts] = field(default_factory=dict)
    without_label: frozenset[str] = frozenset()

    def is_recommended(self, patch: str) -> bool:
        """In one of the splits, no seasonal snow, no cloud or shadow, and at least one of the 19 labels."""
        known = self.facts.get(patch, Facts())
        clear = not known.snow and not known.cloud_or_shadow
        return known.split is not None and clear and patch not in self.without_label and known.labels != ()


def read(
    folder: Path, version: int, splits: Path | None = None, bands: tuple[str, ...] = RGB, keep_flagged: bool = False
) -> Source:
    """The patches below `folder`; of these the recommended set, if `splits` tells it, unless `keep_flagged`.

    `splits` is a folder with the published lists or with metadata.parquet or final_ben_s2.parquet, or
    one of these files. Without it there are no splits, and version 2 has no labels.
    """
    metadata = read_metadata(splits) if splits else Metadata()
    keep_all = keep_flagged or splits is None
    patches = dict(sorted(_patches(folder)))
    if not patches:
        raise FileNotFoundError(f"{folder}: no BigEarthNet patches (folders named S2A_MSIL2A_… with a GeoTIFF a band)")
    names = [name for name in patches if keep_all or metadata.is_recommended(name)]
    has_labels = version == 1 or any(facts.labels for facts in metadata.facts.values())
    card = Card(
        name=f"bigearthnet-v{version}",
        image_shape=(PATCH_PX, PATCH_PX, len(bands)),
        bands=bands,
        gsd_m=GSD_M,
        stretch={"divisor": DIVISOR},
        labels=BIGEARTHNET_19 if has_labels else (),
        source=f"BigEarthNet-S2 v{version}",
        licence=LICENCE,
        attribution="BigEarthNet, Sumbul et al.; contains modified Copernicus Sentinel data 2017-2018",
    )
    spec = InputSpec(bands, PATCH_PX, GSD_M, DIVISOR)

    def load(name: str) -> list[TileFile]:
        return [TileFile(_band_file(patches[name], band).read_bytes(), band) for band in bands]

    def entries(chosen: Sequence[str]) -> Iterable[Entry]:
        for name, tile in decode_all(chosen, load, spec, ReadOptions(boa_offset=0)):
            if isinstance(tile, str):
                yield Entry(name, reason=tile)
                continue
            try:
                row = _row(name, patches[name], version, metadata.facts.get(name, Facts()))
            except (OSError, ValueError, KeyError) as error:
                yield Entry(name, reason=f"labels: {error}")
                continue
            yield Entry(name, (tile.images[0],), (replace(row, geometry=wkb(tile.facts[0].footprint)),))

    told = [repr(metadata.facts.get(name)) for name in names]
    return Source(card, names, entries, hashlib.sha256("\n".join(told).encode()).hexdigest())


def _patches(folder: Path) -> Iterator[tuple[str, Path]]:
    """Folders of patches at any depth: version 2 has a folder a Sentinel-2 tile between."""
    with os.scandir(folder) as entries:
        for entry in sorted(entries, key=lambda one: one.name):
            if entry.is_dir():
                has_bands = _PATCH.match(entry.name) and _has_band(Path(entry.path))
                if has_bands:
                    yield entry.name, Path(entry.path)
                else:
                    yield from _patches(Path(entry.path))


def _has_band(folder: Path) -> bool:
    return any((folder / f"{folder.name}_B02{suffix}").exists() for suffix in (".tif", ".tiff"))


def _band_file(patch: Path, band: str) -> Path:
    file = patch / f"{patch.name}_{band}.tif"
    return file if file.exists() else file.with_suffix(".tiff")


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
    match = _PATCH.match(name)
    if match is None:
        raise ValueError(f"no date in {name}")
    return match[1]


def read_metadata(path: Path) -> Metadata:
    """Splits and flags from a folder or a Parquet file. Raises FileNotFoundError if there is none that is known."""
    if path.is_file():
        return _from_parquet(path)
    for name in ("metadata.parquet", "final_ben_s2.parquet"):
        if (path / name).exists():
            return _from_parquet(path / name)
    lists = {file.name.split(".")[0]: file for file in sorted(path.glob("*.csv*"))}
    splits = {name: split for name, split in _SPLITS.items() if name in lists}
    if not splits:
        raise FileNotFoundError(f"{path}: no lists train, val, test (.csv or .csv.bz2), no metadata.parquet")
    snow = _names(lists.get("patches_with_seasonal_snow"))
    cloud = _names(lists.get("patches_with_cloud_and_shadow"))
    facts = {}
    for name, split in splits.items():
        for patch in _names(lists[name]):
            facts[patch] = Facts(split, snow=patch in snow, cloud_or_shadow=patch in cloud)
    for patch in (snow | cloud) - facts.keys():
        facts[patch] = Facts(None, snow=patch in snow, cloud_or_shadow=patch in cloud)
    return Metadata(facts, frozenset(_names(lists.get("patches_with_no_19_class_targets"))))


def _names(file: Path | None) -> set[str]:
    if file is None:
        return set()
    content = bz2.decompress(file.read_bytes()) if file.suffix == ".bz2" else file.read_bytes()
    return {line.split(",")[0].strip() for line in content.decode().splitlines() if line.strip()}


def _from_parquet(file: Path) -> Metadata:
    """reBEN's metadata (patch_id, split, …) or the builder's table (name, original_split, new_labels, …)."""
    wanted = (
        "patch_id", "name", "labels", "new_labels", "split", "original_split", "country", "season",
        "snow", "contains_seasonal_snow", "cloud_or_shadow", "contains_cloud_or_shadow",
    )  # fmt: skip
    there = [column for column in wanted if column in pq.read_schema(file).names]
    if not {"patch_id", "name"} & set(there):
        raise ValueError(f"{file}: neither patch_id nor name among its columns")
    facts = {}
    for row in pq.read_table(file, columns=there).to_pylist():
        labels = row["new_labels"] if "new_labels" in there else row.get("labels")
        split = row.get("split") or row.get("original_split")
        facts[row.get("patch_id") or row["name"]] = Facts(
            split=_SPLITS.get(split) if split else None,
            labels=_labels(labels or (), file),
            country=row.get("country"),
            season=row.get("season"),
            snow=_first(row, "snow", "contains_seasonal_snow"),
            cloud_or_shadow=_first(row, "cloud_or_shadow", "contains_cloud_or_shadow"),
        )
    return Metadata(facts)


def _labels(names: Sequence[str], file: Path) -> tuple[str, ...]:
    try:
        return tuple(to_bigearthnet_19(names))
    except KeyError as error:
        raise ValueError(f"{file}: {error.args[0]!r} is no label of BigEarthNet") from None


def _first(row: dict[str, Any], *names: str) -> bool | None:
    return next((bool(row[name]) for name in names if row.get(name) is not None), None)
