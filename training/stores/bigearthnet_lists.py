"""What is published about BigEarthNet's patches beside them: splits, snow, clouds, labels of version 2.

From the lists of version 1, from reBEN's metadata.parquet, or from a final_ben_s2.parquet made by
bigearthnet_gdf_builder.
"""

from __future__ import annotations

import bz2
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from training.stores.nomenclature import to_bigearthnet_19

_SPLITS = {"train": "train", "val": "validation", "validation": "validation", "test": "test"}


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


def read(path: Path) -> Metadata:
    """Splits and flags from a folder or a Parquet file. Raises FileNotFoundError if there is none that is known."""
    if path.is_file():
        return _from_parquet(path)
    for name in ("metadata.parquet", "final_ben_s2.parquet"):
        if (path / name).exists():
            return _from_parquet(path / name)
    lists = {file.name.split(".")[0]: file for kind in ("*.csv", "*.csv.bz2") for file in path.glob(kind)}
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
