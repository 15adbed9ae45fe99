from __future__ import annotations

import base64
import json
from typing import Any

import httpx
import numpy as np
import pytest

from tests.conftest import Service
from tests.imagery import geotiff, reflectance

TILE = geotiff(reflectance(), names=["B04", "B03", "B02"])
IMAGE = base64.b64encode(TILE).decode()
LINES = "application/jsonlines"


def ask(service: Service, body: Any, accept: str = "application/json", **query: str) -> httpx.Response:
    return service.post(json.dumps(body).encode(), accept, "application/json", **query)


def ask_lines(service: Service, *instances: Any, kind: str = LINES, accept: str = "application/json") -> httpx.Response:
    return service.post("\n".join(map(json.dumps, instances)).encode(), accept, kind)


def summary(response: httpx.Response) -> list[tuple[str, str | None]]:
    """(id, code of the error) of each prediction."""
    assert response.status_code == 200, response.text
    return [(p["id"], p.get("error", {}).get("code")) for p in response.json()["predictions"]]


def test_an_image_in_base64_is_answered_as_its_bytes_would_be(service: Service) -> None:
    (as_json,) = ask(service, {"instances": [{"id": "a", "image": IMAGE}]}).json()["predictions"]
    (as_line,) = ask_lines(service, {"id": "a", "image": IMAGE}).json()["predictions"]
    (as_bytes,) = service.post(TILE).json()["predictions"]
    assert as_json.pop("id") == as_line.pop("id") == "a"
    del as_bytes["id"]
    assert as_json.pop("embedding") == pytest.approx(as_bytes["embedding"], abs=1e-4)
    assert as_line.pop("embedding") == pytest.approx(as_bytes.pop("embedding"), abs=1e-4)
    assert as_json.pop("probabilities") == as_line.pop("probabilities") == as_bytes.pop("probabilities")
    assert as_json == as_line == as_bytes


def test_base64_with_broken_lines_is_read(service: Service) -> None:
    wrapped = base64.encodebytes(TILE).decode()
    assert summary(ask(service, {"instances": [{"image": wrapped}]})) == [("0", None)]


def test_instances_without_an_id_are_called_by_their_position(service: Service) -> None:
    instances = [{"id": 7, "image": IMAGE}, {"image": IMAGE}]
    assert summary(ask(service, {"instances": instances})) == [("7", None), ("1", None)]


def test_a_bad_instance_is_told_in_its_place_and_the_others_are_served(service: Service) -> None:
    instances = [
        {"id": "good", "image": IMAGE},
        {"id": "letters", "image": "é no base64"},
        {"id": "short", "image": IMAGE[:401]},
        {"id": "typo", "imge": IMAGE},
        {"id": "both", "image": IMAGE, "s3_uri": "s3://bucket/key"},
        {"id": "empty"},
        {"id": "file", "s3_uri": "file:///etc/passwd"},
        {"id": "x" * 300, "image": IMAGE},
        "text",
        {"id": "cut", "image": base64.b64encode(TILE[:500]).decode()},
        {"id": "last", "image": IMAGE},
    ]
    expected = [
        ("good", None),
        *(("letters", "bad_base64"), ("short", "bad_base64")),
        *(("typo", "bad_json"), ("both", "bad_json"), ("empty", "bad_json"), ("file", "bad_json")),
        *(("x" * 256, "bad_json"), ("8", "bad_json"), ("cut", "truncated")),
        ("last", None),
    ]
    assert summary(ask(service, {"instances": instances})) == expected
    assert summary(ask_lines(service, *instances)) == expected


def test_a_line_that_is_no_json_costs_its_neighbours_nothing_and_blank_lines_are_none(service: Service) -> None:
    line = json.dumps({"id": "a", "image": IMAGE}).encode()
    body = b"\r\n".join([line, b"{", b"", line, b"[" * 2000, b""])
    expected = [("a", None), ("1", "bad_json"), ("a", None), ("3", "bad_json")]
    assert summary(service.post(body, kind=LINES)) == expected


@pytest.mark.parametrize(
    ("kind", "body", "status", "code"),
    [
        ("application/json", b"", 400, "empty_body"),
        ("application/json", b"{", 400, "bad_json"),
        ("application/json", b"[]", 400, "bad_json"),
        ("application/json", b'{"instances": {}}', 400, "bad_json"),
        ("application/json", b'{"instances": [{}], "colour": 1}', 400, "bad_json"),
        ("application/json", b'{"instances": [{}], "options": []}', 400, "bad_json"),
        ("application/json", b'{"instances": []}', 400, "empty_body"),
        ("application/json", b'{"instances": [' + b"{}," * 256 + b"{}]}", 413, "too_many_instances"),
        ("application/json", b'{"instances": [' + b"{}," * 1_000_000 + b"{}]}", 400, "bad_json"),
        (LINES, b"\n\n", 400, "empty_body"),
        (LINES, b"{", 400, "bad_json"),
        (LINES, b"{}\n" * 257, 413, "too_many_instances"),
    ],
)
def test_a_body_that_cannot_be_read_gets_its_status_and_code(
    service: Service, kind: str, body: bytes, status: int, code: str
) -> None:
    response = service.post(body, kind=kind)
    assert (response.status_code, response.json()["code"]) == (status, code)


def test_options_may_stand_in_the_json_body(service: Service) -> None:
    body = {"instances": [{"image": IMAGE}], "options": {"outputs": ["probabilities"], "threshold": 0}}
    (said,) = ask(service, body).json()["predictions"]
    assert "embedding" not in said
    assert set(said["labels"]) == {"field", "town", "Water (any)"}
    assert ask(service, body, threshold="0").status_code == 200
    for response in (ask(service, body, threshold="0.5"), ask(service, {**body, "options": {"colour": 1}})):
        assert (response.status_code, response.json()["code"]) == (400, "bad_option")


def test_options_of_json_lines_are_parameters_of_the_media_type_or_custom_attributes(service: Service) -> None:
    line = {"image": IMAGE}
    by_type = ask_lines(service, line, kind=f"{LINES}; charset=utf-8; outputs=embedding; embedding_dtype=int8")
    headers = {
        "Content-Type": LINES,
        "Accept": "application/json",
        "X-Amzn-SageMaker-Custom-Attributes": json.dumps({"outputs": "embedding", "embedding_dtype": "int8"}),
    }
    by_attributes = httpx.post(f"{service.url}/invocations", content=json.dumps(line), headers=headers, timeout=60)
    for response in (by_type, by_attributes):
        (said,) = response.json()["predictions"]
        assert "probabilities" not in said
        assert np.asarray(said["embedding"]).dtype == np.int64
        assert said["embedding_scale"] > 0


def test_nothing_is_read_from_s3_unless_prefixes_are_allowed(service: Service) -> None:
    response = ask_lines(service, {"id": "a", "s3_uri": "s3://bucket/tile.tif"})
    assert (response.status_code, response.json()["code"]) == (403, "source_forbidden")
    assert "ALLOWED_S3_PREFIXES" in response.json()["detail"]
