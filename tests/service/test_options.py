from __future__ import annotations

import json

import pytest

from service.errors import ServiceError
from service.imagery.tiff.limits import Limits
from service.options import Options, parse


def refused(query: dict[str, str], media_type: dict[str, str] | None = None, attributes: str | None = None) -> str:
    with pytest.raises(ServiceError) as error:
        parse(query.items(), media_type or {}, attributes)
    assert error.value.code == "bad_option"
    return error.value.detail


def test_the_same_option_may_come_in_three_ways() -> None:
    said = "B04,B03, B02"
    expected = Options(bands=("B04", "B03", "B02"))
    assert parse([("bands", said)], {}, None) == expected
    assert parse([], {"bands": said, "charset": "utf-8"}, None) == expected
    assert parse([], {}, json.dumps({"bands": said})) == expected
    assert parse([], {}, json.dumps({"bands": ["B04", "B03", "B02"]})) == expected


def test_values_are_typed() -> None:
    options = parse(
        [("boa_offset", "-1000"), ("scale", "0.5"), ("top_k", "3"), ("require_geo", "true"), ("stride", "60")], {}, None
    )
    reading = options.for_reading(Limits(max_pixels=10))
    assert (reading.boa_offset, reading.scale, reading.require_geo, reading.limits.max_pixels) == (-1000, 0.5, True, 10)
    assert (options.top_k, reading.stride) == (3, 60)
    assert parse([], {}, '{"boa_offset": 0}').for_reading(10).boa_offset == 0
    assert parse([], {}, None).for_reading(10).boa_offset is None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("band", "B04"),
        ("boa_offset", "1000"),
        ("scale", "nan"),
        ("scale", "-1"),
        ("outputs", "embedding,logits"),
        ("outputs", ""),
        ("embedding_dtype", "float64"),
        ("top_k", "0"),
        ("threshold", "1.5"),
        ("bands", "B04,,B02"),
        ("require_geo", "perhaps"),
        ("stride", "0"),
        ("stride", "1.5"),
    ],
)
def test_an_option_that_does_not_exist_or_fit_is_named(name: str, value: str) -> None:
    assert name in refused({name: value})


def test_contradictions_are_refused() -> None:
    assert "twice" in refused({"scale": "2"}, {"scale": "3"})
    assert "twice" in refused({"scale": "2"}, attributes='{"scale": "3"}')
    assert parse([("scale", "2")], {}, '{"scale": 2}').scale == 2


@pytest.mark.parametrize(
    ("outputs", "name"), [("embedding", "top_k"), ("embedding", "threshold"), ("probabilities", "embedding_dtype")]
)
def test_an_option_for_an_output_that_is_not_asked_for_is_refused(outputs: str, name: str) -> None:
    value = {"top_k": "3", "threshold": "0.5", "embedding_dtype": "int8"}[name]
    assert name in refused({"outputs": outputs, name: value})


def test_the_media_type_of_a_cloud_optimized_geotiff_is_no_option() -> None:
    assert parse([], {"application": "geotiff", "profile": "cloud-optimized"}, None) == Options()
    assert "application" in refused({"application": "geotiff"})


@pytest.mark.parametrize("attributes", ["{", "[]", "trace=1", "[" * 40_000])
def test_custom_attributes_must_be_an_object(attributes: str) -> None:
    assert "Custom-Attributes" in refused({}, attributes=attributes)
