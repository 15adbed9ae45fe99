"""Predictions as GeoJSON (RFC 7946): a feature for each patch, its footprint in longitude and latitude."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

Record = Mapping[str, Any]


def collection(records: Iterable[Record], model: Mapping[str, str]) -> dict[str, Any]:
    """A FeatureCollection of all records, in order; `model` is the answer's, as a foreign member (section 6.1)."""
    return {"type": "FeatureCollection", "model": dict(model), "features": [feature(record) for record in records]}


def feature(record: Record) -> dict[str, Any]:
    """A record as a Feature, without geometry where it has no footprint; its other fields are the properties.

    `label` and `probability` are the likeliest of labels and groups over their thresholds: what maps are coloured by
    without a look into nested properties; null where nothing is.
    """
    properties = {name: value for name, value in record.items() if name != "footprint"}
    if "labels" in record:
        told = {**(record.get("groups") or {}), **record["probabilities"]}
        likeliest = next(iter(record["labels"]), None)
        properties |= {"label": likeliest, "probability": told.get(likeliest)}
    return {"type": "Feature", "geometry": record.get("footprint"), "properties": properties}
