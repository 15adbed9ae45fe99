from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from deploy import invocation, registry, telling
from deploy.account import STACK, Account
from deploy.endpoints import put
from deploy.errors import DeployError
from deploy.hosting import Asynchronous, RealTime, Serverless
from deploy.invocation import Body
from deploy.parts import Config
from deploy.storage import Address
from service.model.artifact import Artifact
from tests.deploy.conftest import BUCKET, Deploy
from tests.imagery import geotiff, reflectance
from tests.sagemaker.platform import Platform


@pytest.fixture
def tile(tmp_path: Path) -> Path:
    file = tmp_path / "tile.tif"
    file.write_bytes(geotiff(reflectance()))
    return file


def test_a_request_carries_its_options_as_custom_attributes(tile: Path) -> None:
    body = Body.of([tile])
    assert invocation.request("e", body, "application/x-npy", {"bands": "B04,B03,B02"}) == {
        "EndpointName": "e",
        "Body": tile.read_bytes(),
        "ContentType": "image/tiff",
        "Accept": "application/x-npy",
        "CustomAttributes": '{"bands": "B04,B03,B02"}',
    }
    assert invocation.queued_request("e", Address("b", "k"), "image/tiff", "application/json", {}) == {
        "EndpointName": "e",
        "InputLocation": "s3://b/k",
        "ContentType": "image/tiff",
        "Accept": "application/json",
        "InvocationTimeoutSeconds": 3600,
    }


def test_files_are_known_by_their_content_then_by_their_name() -> None:
    assert invocation.media_type("tile.dat", b"II*\0...") == "image/tiff"
    assert invocation.media_type("tile.tif", b"broken") == "image/tiff"
    assert invocation.media_type("lines.jsonl", b"{}") == "application/jsonlines"
    with pytest.raises(DeployError, match="unknown_file"):
        invocation.media_type("photo.jpg", b"\xff\xd8")


@pytest.mark.parametrize(
    ("hosting", "told"),
    [(RealTime(), "an async endpoint"), (Serverless(), "one in real time"), (Asynchronous(), "transform a prefix")],
)
def test_a_payload_over_the_limit_is_told_before_it_is_sent(
    account: Account, hosting: RealTime | Serverless | Asynchronous, told: str
) -> None:
    class Huge(bytes):
        def __len__(self) -> int:
            return 2_000_000_000

    with pytest.raises(DeployError, match=f"payload_too_large: 2000.0 MB.*{told}"):
        invocation.invoke(account, "e", hosting, Body(Huge(), "image/tiff"), "application/json", {})


def test_people_see_the_likeliest_labels_the_place_and_the_warnings() -> None:
    ring = [[14.0, 48.0], [14.2, 48.0], [14.2, 48.1], [14.0, 48.1], [14.0, 48.0]]
    records = [
        {
            "id": "scene", "probabilities": {"field": share, "town": 0.5, "sea": None}, "groups": {"Water": 0.01},
            "labels": ["field"], "footprint": {"type": "Polygon", "coordinates": [ring]},
            "warnings": [{"code": "gsd_mismatch", "message": "20 m"}],
        }
        for share in (1.0, 0.8)
    ]  # fmt: skip
    refused = {"id": "b", "error": {"code": "not_a_tiff", "detail": "Send a GeoTIFF."}}
    model = {"name": "tiny", "version": "1", "sha256": "a" * 64}
    assert telling.tell({"model": model, "predictions": [*records, refused]}, top=2).splitlines() == [
        "tiny 1 (aaaaaaaaaaaa)",
        "",
        "scene, 48.0500° N 14.1000° E, mean of 2 windows",
        "  field █████████████████████▋   0.900 ✓",
        "  town  ████████████             0.500",
        "  ! gsd_mismatch: 20 m",
        "",
        "b: not_a_tiff: Send a GeoTIFF.",
    ]


def test_a_place_at_the_antimeridian_is_on_one_of_its_sides() -> None:
    west, east = ([[[x, 10.0], [x + 1, 10.0], [x + 1, 11.0], [x, 11.0], [x, 10.0]]] for x in (179.0, -180.0))
    footprint = {"type": "MultiPolygon", "coordinates": [west, east]}
    assert telling.place([{"footprint": footprint}]) == ", 10.5000° N 179.5000° E"


def test_an_endpoint_in_real_time_answers_people_and_programs(
    deploy: Deploy, account: Account, platform: Platform, tiny_artifact: Artifact, tile: Path
) -> None:
    put(account, STACK, registry.register(account, tiny_artifact.path, "image@1", approved=True))
    code, said, noted = deploy("invoke", tile)
    assert code == 0 and "field" in said, noted
    other = tile.with_name("other.tif")
    other.write_bytes(b"no tiff")
    code, said, _ = deploy("invoke", tile, other, "--json", "--option", "top_k=1")
    first, second = json.loads(said)["predictions"]
    assert len(first["probabilities"]) == 1 and second["error"]["code"] == "not_a_tiff"
    code, _, noted = deploy("invoke", other)
    assert code == 1 and noted.startswith("not_a_tiff: ") and noted.count("\n") == 1
    out = tile.with_name("embedding.npy")
    assert (
        deploy("invoke", tile, "--accept", "application/x-npy", "--option", "outputs=embedding", "--out", out)[0] == 0
    )
    assert np.load(out).shape == (1, 192)
    sent = len(platform.requests("InvokeEndpoint"))
    code, said, _ = deploy("invoke", tile, "--dry-run")
    assert code == 0 and json.loads(said)["operation"] == "InvokeEndpoint"
    assert len(platform.requests("InvokeEndpoint")) == sent
    assert "not_found" in deploy("invoke", tile, "--endpoint", f"{STACK}-other")[2]


def test_an_async_endpoint_answers_through_s3_and_its_failures_are_the_services_own(
    deploy: Deploy, account: Account, platform: Platform, tiny_artifact: Artifact, tile: Path
) -> None:
    package = registry.register(account, tiny_artifact.path, "image@1", approved=True)
    put(account, STACK, package, Config(Asynchronous()))
    code, said, noted = deploy("invoke", tile)
    assert code == 0 and "field" in said, noted
    tile.write_bytes(b"no tiff")
    code, _, noted = deploy("invoke", tile)
    assert code == 1 and "not_a_tiff: " in noted.splitlines()[-1]
    left = platform.client("s3").list_objects_v2(Bucket=BUCKET, Prefix=f"async/{STACK}/input/")
    assert left["KeyCount"] == 0
