from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterator

import httpx
import numpy as np
import pyarrow.parquet as pq
import pytest

from service.model.artifact import Artifact
from tests.conftest import Service, start_service
from tests.imagery import geotiff, reflectance

TILE = geotiff(reflectance(), names=["B04", "B03", "B02"])
PARQUET = "application/vnd.apache.parquet"


@pytest.fixture(scope="module")
def batch(tmp_path_factory: pytest.TempPathFactory, tiny_artifact: Artifact) -> Iterator[Service]:
    """A service as batch transform starts it."""
    settings = {"SAGEMAKER_BATCH": "true", "MAX_BODY_MB": "1"}
    running = start_service(tmp_path_factory.mktemp("batch"), tiny_artifact.path, **settings)
    running.wait_until_ready()
    yield running
    running.end()


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "empty_body"),
        (b"\x89PNG\r\n\x1a\n", "not_a_tiff"),
        (TILE[:500], "truncated"),
        (geotiff(reflectance(bands=2)), "band_count"),
        (geotiff(reflectance(side=7)), "too_small"),
        (bytes(1_100_000), "body_too_large"),
    ],
)
def test_a_bad_object_is_answered_with_a_record_in_every_form_that_has_a_place_for_it(
    batch: Service, body: bytes, code: str
) -> None:
    response = batch.post(body)
    assert response.status_code == 200
    (record,) = response.json()["predictions"]
    assert (record["id"], record["error"]["code"]) == ("0", code)
    (line,) = batch.post(body, "application/jsonlines").text.splitlines()
    assert json.loads(line) == {"id": "0", **response.json()}
    (row,) = pq.read_table(io.BytesIO(batch.post(body, PARQUET).content)).to_pylist()
    assert row["error"] == {name: record["error"][name] for name in ("code", "detail")}
    assert row["embedding"] == [None] * 192
    as_npy = batch.post(body, "application/x-npy")
    assert (as_npy.status_code, as_npy.json()["code"]) == (as_npy.json()["status"], code)


@pytest.mark.parametrize(("kind", "body"), [("application/json", b"{"), ("application/jsonlines", b'{"id": "a"}\n{')])
def test_a_bad_object_of_json_is_recorded_too(batch: Service, kind: str, body: bytes) -> None:
    predictions = batch.post(body, kind=kind).json()["predictions"]
    assert {record["error"]["code"] for record in predictions} == {"bad_json"}


@pytest.mark.parametrize(
    ("kind", "accept", "query", "status", "code"),
    [
        ("image/png", "application/json", {}, 415, "unsupported_media_type"),
        ("image/tiff", "text/csv", {}, 406, "not_acceptable"),
        ("image/tiff", "application/json", {"colour": "red"}, 400, "bad_option"),
        ("image/tiff", PARQUET, {"outputs": "token_embeddings"}, 400, "bad_option"),
    ],
)
def test_what_would_fail_every_object_fails_the_job(
    batch: Service, kind: str, accept: str, query: dict[str, str], status: int, code: str
) -> None:
    response = batch.post(TILE, accept, kind, **query)
    assert (response.status_code, response.json()["code"]) == (status, code)


def test_more_lines_than_a_request_may_have_fail_it_as_there_would_be_no_line_for_each(batch: Service) -> None:
    response = batch.post(b"{}\n" * 257, kind="application/jsonlines")
    assert (response.status_code, response.json()["code"]) == (413, "too_many_instances")


def test_elsewhere_a_request_without_one_good_tile_fails(service: Service) -> None:
    response = service.post(TILE[:500])
    assert (response.status_code, response.json()["code"]) == (422, "truncated")


def test_each_line_has_one_line_in_the_answer_whatever_it_holds(batch: Service) -> None:
    scene = geotiff(reflectance(side=240))
    bodies = {"patch": TILE, "scene": scene, "bad": TILE[:500]}
    lines = [json.dumps({"id": name, "image": base64.b64encode(body).decode()}) for name, body in bodies.items()]
    response = httpx.post(  # without an Accept, as a transform job may be made
        f"{batch.url}/invocations",
        content="\n".join([*lines, "no json"]).encode(),
        headers={"Content-Type": "application/jsonlines", "Accept": ""},
        timeout=60,
    )
    assert response.headers["content-type"] == "application/jsonlines"
    answers = [json.loads(line) for line in response.text.splitlines()]
    assert [answer["id"] for answer in answers] == ["patch", "scene", "bad", "3"]
    assert [len(answer["predictions"]) for answer in answers] == [1, 4, 1, 1]
    assert [answer["predictions"][0].get("error", {}).get("code") for answer in answers] == [
        *(None, None, "truncated", "bad_json")
    ]
    assert {json.dumps(answer["model"]) for answer in answers} == {json.dumps(batch.post(TILE).json()["model"])}
    alone = batch.post(scene).json()["predictions"]
    assert np.allclose(answers[1]["predictions"][3]["embedding"], alone[3]["embedding"], atol=1e-4)
