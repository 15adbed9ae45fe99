from __future__ import annotations

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import boto3
import httpx
import pytest

from service.model.artifact import Artifact
from tests.aws import empty_account
from tests.conftest import Service, StartService, start_service
from tests.imagery import geotiff, reflectance

VALUES = reflectance()
TILE = geotiff(VALUES, names=["B04", "B03", "B02"])
AWS = {
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_DEFAULT_REGION": "eu-central-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}
ALLOWED = "s3://tiles/in, s3://tiles/exactly.tif,s3://missing"


@pytest.fixture(scope="module")
def account() -> Iterator[str]:
    with empty_account() as endpoint:
        yield endpoint


@pytest.fixture(scope="module")
def in_s3(account: str, tmp_path_factory: pytest.TempPathFactory, tiny_artifact: Artifact) -> Iterator[Service]:
    """A service that may read some of a bucket."""
    settings = AWS | {"AWS_ENDPOINT_URL": account, "ALLOWED_S3_PREFIXES": ALLOWED, "MAX_BODY_MB": "1"}
    running = start_service(tmp_path_factory.mktemp("s3"), tiny_artifact.path, **settings)
    s3 = boto3.client(
        *("s3", "eu-central-1"), endpoint_url=account, aws_access_key_id="test", aws_secret_access_key="test"
    )
    s3.create_bucket(Bucket="tiles", CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
    objects = {
        **dict.fromkeys(
            ("in/a.tif", "in-secret/a.tif", "in.tif", "exactly.tif", "exactly.tif.bak", "in/é +%2e.tif"), TILE
        ),
        **{f"in/S2A_1_2_{band}.tif": geotiff(VALUES[i : i + 1]) for i, band in enumerate(("B04", "B03", "B02"))},
        "in/text.txt": b"no GeoTIFF",
        **{f"in/large-{i}.tif": bytes(400_000) for i in range(3)},
        "in/larger.tif": bytes(1_100_000),
    }
    for key, content in objects.items():
        s3.put_object(Bucket="tiles", Key=key, Body=content)
    running.wait_until_ready()
    yield running
    running.end()


def ask(service: Service, *instances: dict[str, Any]) -> list[dict[str, Any]]:
    """Predictions for instances, one a line."""
    response = service.post("\n".join(map(json.dumps, instances)).encode(), kind="application/jsonlines")
    assert response.status_code == 200, response.text
    return list(response.json()["predictions"])


def code(service: Service, uri: str) -> str:
    response = service.post(json.dumps({"s3_uri": uri}).encode(), kind="application/jsonlines")
    return str(response.json().get("code", "served"))


def test_a_tile_is_fetched_and_called_by_its_file(in_s3: Service) -> None:
    (local,) = in_s3.post(TILE).json()["predictions"]
    one, named, odd = ask(
        in_s3,
        {"s3_uri": "s3://tiles/in/a.tif"},
        {"id": "mine", "s3_uri": "s3://tiles/exactly.tif"},
        {"s3_uri": "s3://tiles/in/é +%2e.tif"},
    )
    assert (one["id"], named["id"], odd["id"]) == ("a", "mine", "é +%2e")
    for said in (one, named, odd):
        assert said["embedding"] == pytest.approx(local["embedding"], abs=1e-4)


def test_bands_are_one_tile_and_those_that_the_model_does_not_read_are_not_fetched(in_s3: Service) -> None:
    uris = {band: f"s3://tiles/in/S2A_1_2_{band}.tif" for band in ("B01", "B02", "B03", "B04")}  # there is no B01
    (local,) = in_s3.post(TILE).json()["predictions"]
    (said,) = ask(in_s3, {"bands": uris})
    assert said["id"] == "S2A_1_2"
    assert said["embedding"] == pytest.approx(local["embedding"], abs=1e-4)
    of_json = in_s3.post(json.dumps({"instances": [{"bands": uris}]}).encode(), kind="application/json")
    assert of_json.json()["predictions"][0]["id"] == "S2A_1_2"


def test_each_line_is_judged_alone(in_s3: Service) -> None:
    uris = ("in/a.tif", "in/none.tif", "in-secret/a.tif", "in/text.txt", "in/larger.tif")
    said = ask(in_s3, *({"s3_uri": f"s3://tiles/{uri}"} for uri in uris))
    codes = [None, "source_not_found", "source_forbidden", "not_a_tiff", "body_too_large"]
    assert [p.get("error", {}).get("code") for p in said] == codes
    bands = {band: f"s3://tiles/in/S2A_1_2_{band}.tif" for band in ("B02", "B03")}
    (good, lacking) = ask(in_s3, {"s3_uri": "s3://tiles/in/a.tif"}, {"id": "two", "bands": bands})
    assert (good["id"], lacking["id"], lacking["error"]["code"]) == ("a", "two", "band_count")


@pytest.mark.parametrize(
    "uri",
    [
        "s3://tiles/in-secret/a.tif",
        "s3://tiles/in.tif",
        "s3://tiles/exactly.tif.bak",
        "s3://tiles/in/../in-secret/a.tif",
        "s3://tiles/in/./a.tif",
        "s3://other/in/a.tif",
        "s3://tiles.in/a.tif",
    ],
)
def test_a_prefix_ends_where_its_folder_ends(in_s3: Service, uri: str) -> None:
    assert code(in_s3, uri) == "source_forbidden"


@pytest.mark.parametrize("uri", ["s3://tiles", "s3:///in/a.tif", "https://tiles/in/a.tif", "s3://u@tiles/in/a.tif", ""])
def test_what_is_no_uri_of_an_object_is_refused_as_such(in_s3: Service, uri: str) -> None:
    assert code(in_s3, uri) == "bad_json"


def test_what_is_not_there_is_told_and_why(in_s3: Service) -> None:
    assert code(in_s3, "s3://tiles/in/none.tif") == "source_not_found"
    assert code(in_s3, "s3://missing/a.tif") == "source_not_found"


def test_all_objects_of_a_request_together_are_held_to_the_limit_of_a_body(in_s3: Service) -> None:
    lines = [json.dumps({"id": str(i), "s3_uri": f"s3://tiles/in/large-{i}.tif"}) for i in range(3)]
    said = in_s3.post("\n".join(lines).encode(), kind="application/jsonlines").json()
    assert sorted(error["code"] for error in said["errors"]) == ["body_too_large", "not_a_tiff", "not_a_tiff"]
    assert code(in_s3, "s3://tiles/in/larger.tif") == "body_too_large"


class Unwilling(BaseHTTPRequestHandler):
    """S3 on a bad day: what it answers stands in the key."""

    def do_GET(self) -> None:
        name = Path(self.path.split("?")[0]).stem
        if name == "cut":
            self.send_response(200)
            self.send_header("Content-Length", "1000")
            self.end_headers()
            self.wfile.write(TILE[:10])
            return
        status, said = {"denied": (403, "AccessDenied"), "busy": (503, "SlowDown"), "huge": (200, "")}[name]
        body = f"<Error><Code>{said}</Code></Error>".encode()
        self.send_response(status)
        self.send_header("Content-Length", str(5 * 10**12 if name == "huge" else len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


def test_a_refusal_of_s3_is_the_tiles_fault_and_a_failure_is_not(start: StartService) -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Unwilling)
    Thread(target=server.serve_forever, daemon=True).start()
    endpoint = f"http://127.0.0.1:{server.server_port}"
    service = start(**AWS, AWS_ENDPOINT_URL=endpoint, ALLOWED_S3_PREFIXES="s3://tiles", BATCH_ERRORS="record")
    service.wait_until_ready()

    def answer(*names: str) -> httpx.Response:
        lines = "\n".join(json.dumps({"id": name, "s3_uri": f"s3://tiles/{name}.tif"}) for name in names)
        return service.post(lines.encode(), kind="application/jsonlines")

    denied, huge = answer("denied", "huge").json()["predictions"]
    assert (denied["error"]["code"], huge["error"]["code"]) == ("source_forbidden", "body_too_large")
    assert "role" in denied["error"]["detail"]
    for names in (["busy"], ["cut"], ["denied", "busy"]):
        failed = answer(*names)
        assert (failed.status_code, failed.json()["code"]) == (503, "source_unavailable")
        assert failed.headers["retry-after"]
    server.shutdown()
    server.server_close()


def test_no_credentials_are_told_as_such(start: StartService) -> None:
    nobody = {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": "", "AWS_EC2_METADATA_DISABLED": "true"}
    service = start(
        **nobody, AWS_SHARED_CREDENTIALS_FILE="/none", AWS_CONFIG_FILE="/none", ALLOWED_S3_PREFIXES="s3://tiles"
    )
    service.wait_until_ready()
    said = service.post(b'{"s3_uri": "s3://tiles/a.tif"}', kind="application/jsonlines").json()
    assert said["code"] == "source_forbidden"
    assert "credentials" in said["detail"]


@pytest.mark.parametrize("prefixes", ["tiles/in", "s3://", "s3://Tiles/in", "s3://tiles/in,/data"])
def test_a_prefix_that_is_none_is_refused_at_start(start: StartService, prefixes: str) -> None:
    service = start(ALLOWED_S3_PREFIXES=prefixes)
    assert service.process.wait(30) == 2
    (line,) = service.log.read_text().splitlines()
    assert "ALLOWED_S3_PREFIXES" in line
    assert "s3://bucket/prefix" in line
