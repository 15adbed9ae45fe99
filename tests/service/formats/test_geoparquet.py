"""Read back with pyarrow and geopandas, and judged by the validator of those who write the specification."""

from __future__ import annotations

import io
import json
import struct
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import geopandas
import geoparquet_validator
import httpx
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from service.formats import geoparquet
from tests.conftest import ROOT, Service
from tests.imagery import PLACE, UTM_33N, geotiff, reflectance

PARQUET = "application/vnd.apache.parquet"
TILE = geotiff(reflectance(), names=["B04", "B03", "B02"])


def polygon(well_known_binary: bytes) -> list[list[float]]:
    """The ring of a little-endian WKB polygon without holes."""
    order, kind, rings, points = struct.unpack_from("<BIII", well_known_binary)
    assert (order, kind, rings) == (1, 3, 1)
    numbers = struct.unpack_from(f"<{2 * points}d", well_known_binary, 13)
    assert len(well_known_binary) == 13 + 16 * points
    return [list(numbers[i : i + 2]) for i in range(0, len(numbers), 2)]


def ask(service: Service, body: bytes, **query: str) -> pa.Table:
    response = service.post(body, PARQUET, **query)
    assert (response.status_code, response.headers["content-type"]) == (200, PARQUET), response.text
    return pq.read_table(io.BytesIO(response.content))


def test_it_says_what_json_says_a_row_for_each_patch(service: Service) -> None:
    scene = geotiff(reflectance(side=250))
    answer = service.post(scene).json()
    table = ask(service, scene)
    assert table.schema.field("embedding").type == pa.list_(pa.float32(), 192)
    for row, said in zip(table.to_pylist(), answer["predictions"], strict=True):
        assert row["embedding"] == pytest.approx(said["embedding"], abs=1e-5)
        assert row["probabilities"] == pytest.approx(said["probabilities"], abs=1e-6)
        assert row["groups"] == pytest.approx(said["groups"], abs=1e-6)
        same = ("id", "labels", "valid_fraction", "crs", "radiometry", "warnings")
        assert [row[name] for name in same] == [said[name] for name in same]
        assert list(row["window"].values()) == said["window"]
        assert polygon(row["geometry"]) == said["footprint"]["coordinates"][0]
        xs, ys = zip(*said["footprint"]["coordinates"][0], strict=True)
        assert row["bbox"] == {"xmin": min(xs), "ymin": min(ys), "xmax": max(xs), "ymax": max(ys)}
        assert row["model"] == answer["model"]
        assert row["error"] is None


WITHOUT_PANDAS = """
import importlib.machinery as machinery, json, sys
find = machinery.PathFinder.find_spec
machinery.PathFinder.find_spec = classmethod(lambda cls, name, *more: None if name == "pandas" else find(name, *more))
from service.formats import geoparquet
schema = geoparquet.schema(2, (), (), sys.argv[1])
print(json.dumps(geoparquet.table([{"id": "a", "embedding": [1, 2]}], {}, schema)["embedding"].to_pylist()))
"""


@pytest.mark.parametrize("dtype", ["float32", "float16", "int8"])
def test_it_needs_no_pandas_which_the_container_has_not(dtype: str) -> None:
    done = subprocess.run([sys.executable, "-c", WITHOUT_PANDAS, dtype], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "[[1.0, 2.0]]\n" if dtype != "int8" else "[[1, 2]]\n"), done.stderr


def test_its_metadata_are_those_of_geoparquet_1_1(service: Service) -> None:
    table = ask(service, TILE)
    geo = json.loads(table.schema.metadata[b"geo"])
    assert geo["version"] == "1.1.0"
    column = geo["columns"][geo["primary_column"]]
    assert (column["encoding"], column["geometry_types"]) == ("WKB", ["Polygon", "MultiPolygon"])
    assert "crs" not in column  # that is OGC:CRS84, longitude before latitude
    assert table.schema.field(geo["primary_column"]).type == pa.binary()
    for corner, (box, name) in column["covering"]["bbox"].items():
        assert corner == name
        assert table.schema.field(box).type.field(name).type == pa.float64()
    (row,) = table.to_pylist()
    ring = np.asarray(polygon(row["geometry"]))
    assert (ring[0] == ring[-1]).all()
    (x, y), (u, v) = ring[1] - ring[0], ring[2] - ring[1]
    assert x * v - y * u > 0  # counter-clockwise, as it says
    assert 13 < ring[0, 0] < 14
    assert 48 < ring[0, 1] < 49


@pytest.mark.parametrize("options", [{}, {"outputs": "probabilities"}, {"embedding_dtype": "int8"}])
def test_the_validator_of_geoparquet_finds_no_fault(service: Service, options: dict[str, str]) -> None:
    scene = service.post(geotiff(reflectance(side=250)), PARQUET, **options).content
    report = geoparquet_validator.check_bytes("scene", scene)
    assert (report["outcomes"] != [], geoparquet_validator.failed(report)) == (True, [])
    nowhere = service.post(geotiff(reflectance(), crs=None, transform=None), PARQUET, **options).content
    assert geoparquet_validator.failed(geoparquet_validator.check_bytes("nowhere", nowhere), "core") == []


def test_the_validator_finds_faults(tmp_path: Path) -> None:
    path, schema = tmp_path / "bad.parquet", geoparquet.schema(None, (), ())
    geo = {**geoparquet.GEO, "primary_column": "elsewhere"}
    pq.write_table(geoparquet.table([{"id": "a"}], {}, schema).replace_schema_metadata({"geo": json.dumps(geo)}), path)
    assert geoparquet_validator.failed(geoparquet_validator.check(str(path)), "core") != []


def test_geopandas_reads_it_and_finds_the_tile_where_it_is(service: Service) -> None:
    content = service.post(geotiff(reflectance(side=360)), PARQUET).content
    frame = geopandas.read_parquet(io.BytesIO(content))
    assert (frame.crs.to_string(), frame.geometry.is_valid.all()) == ("OGC:CRS84", True)
    for place, window, transform in zip(
        frame.to_crs(UTM_33N).geometry, frame["window"], frame["transform"], strict=True
    ):
        west, south, east, north = place.bounds
        x, y = PLACE @ (window["column"], window["row"])
        assert (west, south, east, north) == pytest.approx((x, y - 1200, x + 1200, y), abs=1)  # a tenth of a pixel
        assert tuple(transform) == (10, 0, x, 0, -10, y)
    in_the_west = geopandas.read_parquet(io.BytesIO(content), bbox=(13, 40, *frame.geometry.iloc[0].centroid.coords[0]))
    assert 0 < len(in_the_west) < len(frame)


def test_a_footprint_in_two_parts_is_a_multipolygon_with_a_box_around_both() -> None:
    west, east = ([[[x, 0.0], [x + 1, 0.0], [x + 1, 2.0], [x, 0.0]]] for x in (179.0, -180.0))
    record = {"id": "a", "footprint": {"type": "MultiPolygon", "coordinates": [west, east]}}
    (row,) = geoparquet.table([record], {}, geoparquet.schema(None, (), ())).to_pylist()
    assert struct.unpack_from("<BII", row["geometry"]) == (1, 6, 2)
    size = 13 + 16 * 4
    parts = [row["geometry"][9 + i * size : 9 + (i + 1) * size] for i in (0, 1)]
    assert [polygon(part) for part in parts] == [west[0], east[0]]
    assert list(row["bbox"].values()) == [-180, 0, 180, 2]


def test_nulls_stay_null_and_a_refused_tile_is_a_row_among_the_others(service: Service) -> None:
    files = [
        ("a", ("bad.tif", TILE[:500], "image/tiff")),
        ("b", ("bare.tif", geotiff(reflectance(), crs=None, transform=None), "image/tiff")),
    ]
    response = httpx.post(f"{service.url}/invocations", files=files, headers={"Accept": PARQUET}, timeout=60)
    refused, bare = pq.read_table(io.BytesIO(response.content)).to_pylist()
    assert refused["error"]["code"] == "truncated"
    assert refused.pop("embedding") == [None] * 192
    told = {name for name, value in refused.items() if value is not None}
    assert told == {"id", "model", "error"}
    assert (bare["geometry"], bare["bbox"], bare["crs"]) == (None, None, None)
    assert [name for name, p in bare["probabilities"].items() if p is None] == ["lake", "sea", "desert"]


def test_only_what_is_asked_for_has_columns(service: Service) -> None:
    assert "embedding" not in ask(service, TILE, outputs="probabilities").column_names
    assert not {"probabilities", "groups", "labels"} & set(ask(service, TILE, outputs="embedding").column_names)
    likeliest = ask(service, TILE, top_k="1").to_pylist()[0]["probabilities"]
    assert [p is None for p in likeliest.values()].count(False) == 1
    refused = service.post(TILE, PARQUET, outputs="token_embeddings")
    assert (refused.status_code, refused.json()["code"]) == (400, "bad_option")


@pytest.mark.parametrize(("dtype", "kind"), [("float16", pa.float16()), ("int8", pa.int8())])
def test_embeddings_have_the_type_that_was_asked_for(service: Service, dtype: str, kind: pa.DataType) -> None:
    table = ask(service, TILE, embedding_dtype=dtype)
    assert table.schema.field("embedding").type == pa.list_(kind, 192)
    (row,) = table.to_pylist()
    (said,) = service.post(TILE, embedding_dtype=dtype).json()["predictions"]
    assert np.allclose(np.asarray(row["embedding"], float), said["embedding"], atol=1e-3)
    assert row.get("embedding_scale") == pytest.approx(said.get("embedding_scale"))


def records(start: int, count: int) -> Sequence[dict[str, Any]]:
    return [
        {"id": str(i), "embedding": [float(i), 0.5], "probabilities": {"a b": 0.25, "c": None}, "source": "s3://b/k"}
        for i in range(start, start + count)
    ]


def test_answers_that_were_read_back_as_json_are_joined_in_one_file(tmp_path: Path) -> None:
    path, model = tmp_path / "all.parquet", {"name": "m", "version": "1", "sha256": "0"}
    schema = geoparquet.schema(2, ["a b", "c"], [])
    half = geoparquet.ROW_GROUP // 2
    with geoparquet.Writer(path, schema) as writer:
        for start in range(0, 3 * half, half):
            writer.append(records(start, half), model)
        writer.append([{"id": "bad", "error": {"code": "truncated", "detail": "…", "limits": {"x": 1}}}], model)
    file = pq.ParquetFile(path)
    assert [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)] == [2 * half, half + 1]
    rows = file.read().to_pylist()
    assert [row["id"] for row in rows] == [*map(str, range(3 * half)), "bad"]
    assert rows[5]["embedding"] == [5.0, 0.5]
    assert (rows[5]["probabilities"], rows[5]["source"]) == ({"a b": 0.25, "c": None}, "s3://b/k")
    assert (rows[-1]["embedding"], rows[-1]["error"]) == ([None, None], {"code": "truncated", "detail": "…"})
    one_label = file.read(columns=["probabilities.a b"])
    assert one_label.to_pylist()[7] == {"probabilities": {"a b": 0.25}}
