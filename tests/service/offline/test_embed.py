"""What the command writes, against what the service answers."""

from __future__ import annotations

import base64
import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import BytesIO
from pathlib import Path
from typing import Any

import boto3
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import rasterio
from affine import Affine

from service.formats import geoparquet
from service.imagery.patches import ReadOptions
from service.model.artifact import Artifact
from service.model.openvino_engine import OpenVinoEngine
from service.offline.opening import open_tile
from service.offline.pieces import AHEAD, PIECE
from service.offline.sources import find
from tests.aws import empty_account
from tests.conftest import ROOT, Service
from tests.imagery import PLACE, geotiff, reflectance
from tests.service.offline.conftest import Embed

SCENE = reflectance(500)
SCENE[:, 100:250, 100:300] = 0  # a window without data, and some with little
NAMES = ("B04", "B03", "B02")
BY_WINDOWS = {"MAX_PIXELS": "20000"}  # what is larger is not read whole


def rows(file: str = "out.parquet") -> list[dict[str, Any]]:
    return list(geoparquet.records(pq.read_table(file)))


def save_scene(file: Path, **options: Any) -> bytes:
    content = geotiff(SCENE, names=NAMES, nodata=0, **options)
    file.write_bytes(content)
    return content


@pytest.mark.parametrize("settings", [{}, BY_WINDOWS])
def test_a_scene_has_the_rows_that_the_service_answers(
    tmp_path: Path, embed: Embed, service: Service, settings: dict[str, str]
) -> None:
    content = save_scene(tmp_path / "scene.tif", tiled=True, compress="deflate")
    assert embed("scene.tif", "--stride", "100", **settings) == 0
    answered = service.post(content, stride="100").json()["predictions"]
    found = rows()
    assert [tuple(row["window"]) for row in found] == [tuple(row["window"]) for row in answered]
    assert 16 < len(found) < 25  # two batches, and windows without data are left out
    for row, expected in zip(found, answered, strict=True):
        assert (row["id"], row["source"]) == ("scene", str(tmp_path / "scene.tif"))
        assert np.allclose(row["embedding"], expected["embedding"], atol=1e-4)
        assert row["probabilities"] == pytest.approx(expected["probabilities"], abs=1e-4)
        same = ("footprint", "crs", "valid_fraction", "labels")
        assert [row[name] for name in same] == [expected[name] for name in same]
    assert not list(tmp_path.glob("*.parts"))


def test_a_patch_of_a_scene_has_the_embedding_of_the_same_patch_alone(
    tmp_path: Path, embed: Embed, service: Service
) -> None:
    save_scene(tmp_path / "scene.tif")
    assert embed("scene.tif", **BY_WINDOWS) == 0
    found = rows()
    lines = b""
    for row in found:
        column, top, width, height = row["window"]
        values = SCENE[:, top : top + height, column : column + width]
        alone = geotiff(values, names=NAMES, nodata=0, transform=PLACE @ Affine.translation(column, top))
        lines += json.dumps({"image": base64.b64encode(alone).decode()}).encode() + b"\n"
    answer = service.post(lines, kind="application/jsonlines", accept="application/x-npy")
    for row, alone in zip(found, np.load(BytesIO(answer.content)), strict=True):
        one = np.array(row["embedding"])
        assert one @ alone / np.linalg.norm(one) / np.linalg.norm(alone) >= 0.9999


def test_a_folder_is_embedded_but_for_what_is_listed_with_its_reason(
    tmp_path: Path, embed: Embed, capfd: pytest.CaptureFixture[str]
) -> None:
    good = geotiff(reflectance(), names=NAMES)
    (tmp_path / "in" / "deep").mkdir(parents=True)
    (tmp_path / "in" / "a.tif").write_bytes(good)
    (tmp_path / "in" / "deep" / "b.TIFF").write_bytes(good)
    (tmp_path / "in" / "cut.tif").write_bytes(good[: len(good) // 2])
    (tmp_path / "in" / "text.tif").write_bytes(b"no GeoTIFF")
    (tmp_path / "in" / "empty.tif").write_bytes(b"")
    (tmp_path / "in" / "void.tif").write_bytes(geotiff(np.zeros((3, 300, 300), np.uint16), nodata=0))
    (tmp_path / "in" / "read me.txt").write_text("not looked at")
    assert embed("in", **BY_WINDOWS) == 3
    assert [row["id"] for row in rows()] == ["a", "b"]
    refused = [json.loads(line) for line in (tmp_path / "out.failures.jsonl").read_text().splitlines()]
    assert {Path(one["source"]).name: one["code"] for one in refused} == {
        "cut.tif": "truncated",
        "text.tif": "not_a_tiff",
        "empty.tif": "empty_body",
        "void.tif": "no_valid_pixels",
    }
    assert all(one["detail"] for one in refused)
    assert "4 were refused" in capfd.readouterr().err


def test_a_batch_may_hold_more_than_is_decoded_ahead(
    tmp_path: Path, embed: Embed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(OpenVinoEngine, "largest_batch", 2 * AHEAD * PIECE)  # as GPUs have them
    (tmp_path / "scene.tif").write_bytes(geotiff(reflectance(300), names=NAMES))
    assert embed("scene.tif", "--stride", "8", **BY_WINDOWS) == 0
    assert len(rows()) == 24 * 24 > 2 * AHEAD * PIECE


def test_band_files_of_a_scene_have_the_rows_of_one_file_with_all_bands(tmp_path: Path, embed: Embed) -> None:
    (tmp_path / "apart").mkdir()
    for i, band in enumerate(NAMES):
        (tmp_path / "apart" / f"{band}.tif").write_bytes(geotiff(SCENE[i : i + 1], nodata=0))
    (tmp_path / "apart" / "B08.tif").write_bytes(b"is not read")
    save_scene(tmp_path / "whole.tif")
    assert embed("apart", "whole.tif", **BY_WINDOWS) == 0
    found = rows()
    apart, whole = ([row for row in found if row["id"] == name] for name in ("apart", "whole"))
    assert len(apart) == len(whole) == 24
    for one, other in zip(apart, whole, strict=True):
        assert (one["window"], one["footprint"]) == (other["window"], other["footprint"])
        assert np.allclose(one["embedding"], other["embedding"], atol=1e-4)


def test_names_of_files_may_be_any_bytes(tmp_path: Path, embed: Embed) -> None:
    content = geotiff(SCENE, names=NAMES)
    for name in (b"S\xfcd.tif", "Nörd\n.tif".encode()):
        (tmp_path / os.fsdecode(name)).write_bytes(content)
    assert embed(tmp_path, **BY_WINDOWS) == 0
    assert {row["id"] for row in rows()} == {"S\\xfcd", "Nörd\n"}


def test_more_tiles_are_embedded_than_may_be_open(tmp_path: Path, embed: Embed) -> None:
    (tmp_path / "in").mkdir()
    for i, band in enumerate(NAMES):
        content = geotiff(reflectance(120)[i : i + 1])
        for tile in range(60):
            (tmp_path / "in" / f"{tile}_{band}.tif").write_bytes(content)
    with few_files(100):
        assert embed("in") == 0
    assert len(rows()) == 60


@contextmanager
def few_files(more: int) -> Iterator[None]:
    """This process may open only so many more."""
    lowest = os.open(os.devnull, os.O_RDONLY)
    os.close(lowest)
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest + more, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def test_that_this_machine_has_run_out_is_held_against_no_tile(tmp_path: Path, tiny_artifact: Artifact) -> None:
    (tmp_path / "a.tif").write_bytes(geotiff(reflectance(120)))
    (tile,) = find([str(tmp_path / "a.tif")], NAMES)
    with few_files(0), pytest.raises(OSError, match="Too many open files"):
        open_tile(tile, tiny_artifact.manifest.input.spec, ReadOptions(), tmp_path)


def test_what_lies_in_s3_is_fetched_and_not_kept(tmp_path: Path, embed: Embed, monkeypatch: pytest.MonkeyPatch) -> None:
    with empty_account() as address:
        for name, value in {
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ENDPOINT_URL": address,
        }.items():
            monkeypatch.setenv(name, value)
        s3 = boto3.client("s3")
        s3.create_bucket(Bucket="tiles")
        objects = {"in/a.tif": geotiff(reflectance(), names=NAMES), "in/bad.tif": b"no GeoTIFF", "in-other/c.tif": b""}
        objects["in/"] = b""  # how S3's console makes a folder
        objects |= {f"in/deep/S2_x_{band}.tif": geotiff(SCENE[i : i + 1]) for i, band in enumerate(NAMES)}
        for key, content in objects.items():
            s3.put_object(Bucket="tiles", Key=key, Body=content)
        assert embed("s3://tiles/in/", **BY_WINDOWS) == 3
        assert embed("s3://tiles/nothing", "--out", "other.parquet") == 1
    assert {row["source"] for row in rows()} == {"s3://tiles/in/a.tif", "s3://tiles/in/deep/S2_x"}
    assert json.loads((tmp_path / "out.failures.jsonl").read_text())["source"] == "s3://tiles/in/bad.tif"
    assert sorted(file.name for file in tmp_path.iterdir()) == ["out.failures.jsonl", "out.parquet"]


def test_a_map_and_geojson_show_what_the_rows_say(tmp_path: Path, embed: Embed) -> None:
    save_scene(tmp_path / "scene.tif")
    assert embed("scene.tif", "--map", "map.tif", "--geojson", "new/map.geojson", **BY_WINDOWS) == 0
    features = json.loads((tmp_path / "new" / "map.geojson").read_text())["features"]
    found = rows()
    with rasterio.open("map.tif") as dataset, rasterio.open("scene.tif") as scene:
        assert (dataset.crs, dataset.bounds[0], dataset.bounds[3]) == (scene.crs, scene.bounds[0], scene.bounds[3])
        field = dataset.read(dataset.descriptions.index("field") + 1)
        for row, feature in zip(found, features, strict=True):
            column, top, *_ = row["window"]
            assert field[-(-top // 120), -(-column // 120)] == round(row["probabilities"]["field"] * 250)
            assert feature["geometry"] == row["footprint"]
            assert feature["properties"]["probabilities"] == row["probabilities"]
            assert "embedding" not in feature["properties"]
    assert rasterio.open("map.classes.tif").count == 1


def test_a_map_is_of_the_tile_that_is_named_now_whatever_a_run_before_had(tmp_path: Path, embed: Embed) -> None:
    (tmp_path / "a.tif").write_bytes(geotiff(reflectance(300), names=NAMES))
    save_scene(tmp_path / "scene.tif")
    assert embed("a.tif", "scene.tif", "--geojson", tmp_path) == 1  # a folder: the run stops after its last tile
    assert embed("scene.tif", "--map", "map.tif") == 0
    assert {row["id"] for row in rows()} == {"a", "scene"}
    with rasterio.open("map.tif") as dataset, rasterio.open("scene.tif") as scene:
        assert (dataset.shape, dataset.bounds[0]) == ((5, 5), scene.bounds[0])


def test_what_was_refused_is_listed_before_the_rows_are_there(tmp_path: Path, embed: Embed) -> None:
    (tmp_path / "a.tif").write_bytes(geotiff(reflectance(), names=NAMES))
    (tmp_path / "b.tif").write_bytes(b"no GeoTIFF")
    (tmp_path / "out.parquet.unfinished").mkdir()  # nothing can be written there
    assert embed("a.tif", "b.tif") == 1
    assert (tmp_path / "out.failures.jsonl").exists() and not (tmp_path / "out.parquet").exists()
    (tmp_path / "out.parquet.unfinished").rmdir()
    assert embed("a.tif", "b.tif") == 3
    assert [row["id"] for row in rows()] == ["a"]


def test_what_cannot_be_done_is_said_before_anything_is(
    tmp_path: Path, embed: Embed, capfd: pytest.CaptureFixture[str]
) -> None:
    for name in ("a.tif", "b.tif"):
        (tmp_path / name).write_bytes(geotiff(reflectance()))
    for said, code, told in (
        (("nowhere",), 1, "nowhere leads to no GeoTIFF"),
        (("a.tif", "b.tif", "--map", "map.tif"), 1, "one scene"),
        (("a.tif", "--geojson", "a.geojson", "--outputs", "embedding"), 1, "land cover"),
        (("a.tif", "--outputs", "token_embeddings"), 1, "JSON or npy"),
        (("a.tif", "--scale", "-1"), 2, "scale"),
        (("a.tif", "--out", "a.tif"), 1, "parquet"),
        (("a.tif", "--map", "a.tif"), 1, "written over"),
        (("a.tif", "--stride", "121"), 1, "at most 120"),
    ):
        assert embed(*said) == code
        assert told in capfd.readouterr().err
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a.tif", "b.tif"]
    (tmp_path / "out.parquet").touch()
    assert embed("a.tif") == 1
    assert "is there already" in capfd.readouterr().err


def test_a_run_that_is_killed_goes_on_and_does_no_patch_twice(
    tmp_path: Path, embed: Embed, tiny_artifact: Artifact, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "scene.tif").write_bytes(geotiff(reflectance(600), names=NAMES, tiled=True))
    parts, said = tmp_path / "out.parquet.parts", ("scene.tif", "--stride", "16")
    run = subprocess.Popen(
        [sys.executable, "-m", "service", "embed", *said, "--out", "out.parquet", "--model", str(tiny_artifact.path)],
        env={**os.environ, "PYTHONPATH": str(ROOT), "ENGINE": "openvino-fp32", **BY_WINDOWS},
        cwd=tmp_path,
    )
    while run.poll() is None and sum(file.stat().st_size for file in parts.glob("*.arrow")) < 300_000:
        time.sleep(0.01)
    run.kill()
    assert run.wait() == -signal.SIGKILL
    (file,) = parts.glob("*.arrow")
    os.truncate(file, file.stat().st_size - 100)  # as if it had come in the middle of a batch
    before, total = rows_in(file), 31 * 31
    assert 0 < before < total
    assert embed(*said, "--scale", "2", **BY_WINDOWS) == 1
    assert "another model, engine or other options" in capfd.readouterr().err
    assert embed(*said, **BY_WINDOWS) == 0
    assert f": {total - before} patches" in capfd.readouterr().err
    every = range(0, 481, 16)
    assert [row["window"] for row in rows()] == [[column, row, 120, 120] for row in every for column in every]
    assert not parts.exists()


def rows_in(file: Path) -> int:
    """Of a stream that was cut off."""
    count = 0
    with file.open("rb") as opened, suppress(pa.ArrowInvalid, OSError):
        for batch in pa.ipc.open_stream(opened):
            count += len(batch)
    return count
