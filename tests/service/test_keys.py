from __future__ import annotations

import socket
from collections.abc import Iterator

import httpx
import pytest
from pydantic import ValidationError

from service.callers.keys import OPEN_PATHS
from service.model.artifact import Artifact
from service.settings import Settings
from tests.conftest import Service, start_service
from tests.imagery import geotiff, reflectance

KEYS = ("first-key-of-the-service", "second-key-of-the-service")
TILE = geotiff(reflectance())


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory, tiny_artifact: Artifact) -> Iterator[Service]:
    """A service that asks for a key."""
    running = start_service(tmp_path_factory.mktemp("service"), tiny_artifact.path, API_KEYS=" , ".join(KEYS))
    running.wait_until_ready()
    yield running
    running.end()


def post(service: Service, headers: dict[str, str]) -> httpx.Response:
    said = {"Content-Type": "image/tiff", **headers}
    return httpx.post(f"{service.url}/invocations", content=TILE, headers=said, timeout=60)


@pytest.mark.parametrize("key", KEYS)
def test_every_key_opens_in_either_header(locked: Service, key: str) -> None:
    wrong = {"X-API-Key": "wrong"}
    for headers in ({"Authorization": f"Bearer {key}"}, {"authorization": f"bearer  {key}"}, {"X-API-Key": key}):
        assert post(locked, headers).status_code == 200
    assert post(locked, wrong | {"Authorization": f"Bearer {key}"}).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"X-API-Key": ""},
        {"X-API-Key": KEYS[0][:-1]},
        {"X-API-Key": f"{KEYS[0]},{KEYS[1]}"},
        {"X-API-Key": f"Bearer {KEYS[0]}"},
        {"Authorization": KEYS[0]},
        {"Authorization": f"Basic {KEYS[0]}"},
        {"Authorization": "Bearer"},
        {"Authorization": f"Bearer {KEYS[0].upper()}"},
        {"Cookie": f"X-API-Key={KEYS[0]}"},
    ],
)
def test_without_a_right_key_nothing_is_answered(locked: Service, headers: dict[str, str]) -> None:
    response = post(locked, headers)
    assert (response.status_code, response.json()["code"]) == (401, "unauthorized")
    assert response.headers["www-authenticate"].startswith("Bearer")
    assert response.headers["content-type"] == "application/problem+json"


def test_a_key_is_asked_for_before_the_body_is_read(locked: Service) -> None:
    host, port = locked.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=30) as client:
        client.sendall(b"POST /invocations HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 9\r\n\r\n")
        assert client.recv(12) == b"HTTP/1.1 401"


def test_only_what_platforms_and_browsers_ask_for_needs_no_key(locked: Service) -> None:
    for path in OPEN_PATHS | {"/page/app.js", "/page/example.tif", "/docs/files/swagger-ui.css"}:
        assert locked.get(path).status_code == 200
    for path in ("/metrics", "/model", "/nowhere", "/ping/", "//ping", "/docs/oauth2-redirect", "/docs/files", "/page"):
        assert locked.get(path).status_code == 401
        assert locked.get(path, headers={"X-API-Key": KEYS[1]}).status_code != 401


def test_the_openapi_tells_clients_of_keys_where_they_are_needed(locked: Service, service: Service) -> None:
    said, open_to_all = (one.get("/openapi.json").json() for one in (locked, service))
    schemes = said["components"]["securitySchemes"]
    assert {(scheme["type"], scheme.get("scheme"), scheme.get("name")) for scheme in schemes.values()} == {
        ("http", "bearer", None),
        ("apiKey", None, "X-API-Key"),
    }
    for path, methods in said["paths"].items():
        (operation,) = methods.values()
        one_of = [name for requirement in operation.get("security", []) for name in requirement]
        assert sorted(one_of) == ([] if path in OPEN_PATHS else sorted(schemes))
        assert ("401" in operation["responses"]) == (path not in OPEN_PATHS)
    assert "securitySchemes" not in open_to_all.get("components", {})


def test_keys_are_printed_nowhere(locked: Service) -> None:
    log = locked.log.read_text()
    assert "api_keys" in log
    assert not [key for key in KEYS if key in log]


@pytest.mark.parametrize("keys", ["short", f"{KEYS[0]},short", "sixteen characters", "schlüssel-mit-umlaut"])
def test_a_key_that_is_none_is_refused_without_being_told(monkeypatch: pytest.MonkeyPatch, keys: str) -> None:
    monkeypatch.setenv("API_KEYS", keys)
    with pytest.raises(ValidationError) as refused:
        Settings()
    (error,) = refused.value.errors()
    assert error["loc"] == ("api_keys",)
    assert "at least 16 characters" in error["msg"]
    assert keys not in error["msg"]
