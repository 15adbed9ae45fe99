from __future__ import annotations

import json

import pytest

from service.imagery.tags import band_names


def metadata(*items: str, before: str = "") -> bytes:
    return f"{before}<GDALMetadata>{''.join(items)}</GDALMetadata>\0".encode()


def item(name: str, text: str, sample: int | None = None) -> str:
    return f'<Item name="{name}"{"" if sample is None else f" sample={chr(34)}{sample}{chr(34)}"}>{text}</Item>'


@pytest.mark.parametrize("key", ["band_name", "BandName", "name", "common_name", "eo:common_name", "long_name"])
def test_a_bands_own_items_name_it(key: str) -> None:
    found = band_names(metadata(item(key, "red", 1), item("STATISTICS_MEAN", "4", 0)), 2)
    assert found == [(), ("red",)]


@pytest.mark.parametrize("key", ["eo:bands", "bands"])
@pytest.mark.parametrize("common", ["common_name", "eo:common_name"])
def test_a_list_as_in_stac_names_all_bands_the_common_name_first(key: str, common: str) -> None:
    bands = json.dumps([{"name": "B4", common: "nir08"}, {"name": "B05", common: None}, {"gsd": 10}])
    assert band_names(metadata(item(key, bands.replace('"', "&quot;"))), 3) == [("nir08", "B4"), ("B05",), ()]


@pytest.mark.parametrize(
    "text",
    ['[{"name": "B04"}]', '{"name": "B04"}', '["B04", "B03"]', "[" * 100_000, "[{", '[{"name": 4}, {"name": ["B03"]}]'],
)
def test_a_list_that_does_not_describe_every_band_names_none(text: str) -> None:
    assert band_names(metadata(item("eo:bands", text)), 2) == [(), ()]


@pytest.mark.parametrize(
    "broken",
    [
        b"",
        b"no XML",
        metadata(item("name", "red", 0))[:-10],
        metadata(item("name", "&red;", 0)),
        metadata(item("name", "red", 0), before="<!DOCTYPE GDALMetadata>"),
        metadata(item("name", "&red;", 0), before='<!DOCTYPE x [<!ENTITY red "red">]>'),
        metadata(item("name", "red", 0)).decode().encode("utf-16"),
        metadata(item("name", "red", 0)).replace(b"red", b"\xff\xfe"),
    ],
)
def test_metadata_that_cannot_be_read_or_brings_entities_names_none(broken: bytes) -> None:
    assert band_names(broken, 1) == [()]


def test_an_encoding_that_the_file_names_is_not_looked_up() -> None:
    assert band_names(metadata(item("name", "red", 0), before='<?xml version="1.0" encoding="ebcdic"?>'), 1) == [
        ("red",)
    ]


@pytest.mark.parametrize("name", ["\ud800x", "a\nb", "\x1b[31m", "\u202eder", " \t"])
def test_a_name_that_no_answer_can_quote_is_no_name(name: str) -> None:
    assert band_names(
        metadata(item("bands", json.dumps([{"name": name}, {"name": " B04\n"}]).replace('"', "&quot;"))), 2
    ) == [(), ("B04",)]
