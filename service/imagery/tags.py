"""What a GeoTIFF's own metadata calls its bands: GDAL's XML, in STAC's words or the like.

Read here rather than through GDAL, some of whose metadata domains lead it to other files. Items of a band:
`<Item name="common_name" sample="0">red</Item>`, samples counted from 0 (GDAL, GTiff driver, "Metadata"). Items of the
file: `eo:bands` (STAC 1.0) or `bands` (STAC 1.1), JSON with a `name` and perhaps a common name for each band.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from html import unescape
from itertools import starmap
from typing import Any
from xml.parsers import expat

#: First what tells of colours, since numbers mean another band with every sensor: Landsat 7's B4 is near infrared.
_COMMON = ("eo:common_name", "common_name")
_OWN = ("band_name", "bandname", "band", "name", "long_name")
_OF_THE_FILE = ("eo:bands", "bands")


def band_names(gdal_metadata: bytes, count: int) -> list[tuple[str, ...]]:
    """The names of each of `count` bands, the one to believe first; empty where the metadata has none.

    Metadata that cannot be read, or has a document type (GDAL writes none, and entities hide in it), says nothing.
    """
    if not gdal_metadata:
        return [()] * count
    items = _items(gdal_metadata)
    bands: list[dict[str, Any]] = [{**items.get(str(i), {})} for i in range(count)]
    if not any(map(_names, bands)):
        listed = [_listed(items[None][key], count) for key in _OF_THE_FILE if key in items.get(None, {})]
        bands = next(filter(None, listed), bands)
    return [_names(band) for band in bands]


def _names(band: Mapping[str, Any]) -> tuple[str, ...]:
    found = (band.get(key) for key in (*_COMMON, *_OWN))
    return tuple(name for name in (legible(name) for name in found if isinstance(name, str)) if name)


def legible(name: str) -> str:
    """A name without the space around it; empty where an answer could not quote it, as half a surrogate pair."""
    name = name.strip()
    return name if name.isprintable() else ""


def _items(gdal_metadata: bytes) -> dict[str | None, dict[str, str]]:
    """By sample, which is None for what is said of the whole file: texts by their names in lower case."""
    items: dict[str | None, dict[str, str]] = {}
    inside: tuple[dict[str, str], str] | None = None

    def start(element: str, attributes: dict[str, str]) -> None:
        nonlocal inside
        if element == "Item":
            inside = items.setdefault(attributes.get("sample"), {}), attributes.get("name", "").lower()

    def text(more: str) -> None:
        if inside:
            texts, name = inside
            texts[name] = texts.get(name, "") + more

    def end(_: str) -> None:
        nonlocal inside
        inside = None

    def refuse(*_: object) -> None:
        raise ValueError("a document type")

    parser = expat.ParserCreate(encoding="utf-8")  # whatever the file says: names of encodings are looked up on disk
    parser.buffer_text = True
    parser.StartElementHandler, parser.EndElementHandler, parser.CharacterDataHandler = start, end, text
    parser.StartDoctypeDeclHandler = refuse
    try:
        parser.Parse(gdal_metadata.rstrip(b"\0"), True)
    except (expat.ExpatError, ValueError):
        return {}
    return {sample: dict(starmap(_as_meant, texts.items())) for sample, texts in items.items()}


def _as_meant(name: str, text: str) -> tuple[str, str]:
    """GDAL escapes values twice, and takes the first colon of `eo:bands` for the end of the name."""
    text = unescape(text)
    if name == "eo" and "=" in text:
        rest, text = text.split("=", 1)
        name = f"eo:{rest.lower()}"
    return name, text


def _listed(text: str, count: int) -> list[dict[str, Any]] | None:
    """The bands of a list in JSON; None unless it describes each band of the file."""
    try:
        bands = json.loads(text)
    except (ValueError, RecursionError):
        return None
    is_list = isinstance(bands, list) and len(bands) == count and all(isinstance(band, dict) for band in bands)
    return bands if is_list else None
