from __future__ import annotations

import re

import httpx
import pytest
from playwright.sync_api import expect

from service.page.routes import FOLDER, TYPES
from tests.conftest import ROOT, Service
from tests.service.page.conftest import Visit

FILES = sorted(file.relative_to(FOLDER).as_posix() for file in FOLDER.rglob("*") if file.suffix in TYPES)


def path_of(name: str) -> str:
    return "/" if name == "index.html" else f"/page/{name}"


def test_every_file_is_served_as_what_it_is_and_kept_by_the_browser(service: Service) -> None:
    assert len(FILES) > 20
    with httpx.Client(base_url=service.url) as client:
        for name in FILES:
            answer = client.get(path_of(name))
            assert answer.content == (FOLDER / name).read_bytes()
            assert answer.headers["content-type"] == TYPES["." + name.rpartition(".")[2]]
            assert answer.headers["x-content-type-options"] == "nosniff"
            again = client.get(path_of(name), headers={"If-None-Match": f'"other", W/{answer.headers["etag"]}'})
            assert (again.status_code, again.content) == (304, b"")
            assert client.get(path_of(name), headers={"If-None-Match": '"other"'}).status_code == 200


def test_the_page_may_run_and_reach_nothing_but_what_the_service_has(service: Service) -> None:
    policy = dict(
        part.strip().split(" ", 1) for part in httpx.get(service.url).headers["content-security-policy"].split(";")
    )
    assert policy["default-src"] == policy["base-uri"] == policy["frame-ancestors"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"


@pytest.mark.parametrize(
    "path", ["/page/", "/page/routes.py", "/page/index.html", "/page/..%2Fapp.py", "/page/%2e%2e/"]
)
def test_nothing_else_of_the_folder_is_served(service: Service, path: str) -> None:
    assert httpx.get(service.url + path).status_code == 404


def test_a_page_is_only_read(service: Service) -> None:
    assert httpx.head(service.url).status_code == 200
    assert httpx.post(service.url).status_code == 405


def test_the_page_names_no_other_host() -> None:
    for name in FILES:
        if name.endswith((".html", ".js", ".css")):
            found = re.findall(r"(?:https?:)?//[a-z0-9-]+\.[a-z]+", (FOLDER / name).read_text())
            assert found == [], name


def test_modules_are_small() -> None:
    for name in FILES:
        if name.endswith(".js"):
            assert len((ROOT / "service" / "page" / name).read_text().splitlines()) < 200, name


def test_docs_are_drawn_without_any_other_host(visit: Visit, service: Service) -> None:
    page = visit()
    page.goto(f"{service.url}/docs")
    expect(page.locator(".opblock-summary-path", has_text="/invocations")).to_be_visible()
