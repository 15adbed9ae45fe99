"""A real browser, and the page of a running service in it."""

from __future__ import annotations

import base64
import os
import shutil
from collections.abc import Callable, Iterator, Sequence

import pytest
from playwright.sync_api import Browser, FilePayload, Page, sync_playwright

from tests.conftest import Service
from tests.imagery import geotiff, reflectance

NAMES = ("chromium", "chromium-browser", "google-chrome")  # Debian's, others'
ARGUMENTS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
LONG_MS = 60_000  # what is waited for comes within a second, but not on a machine with much else to do

SIDE = 480  # 4 × 4 cells
SCENE = geotiff(reflectance(side=SIDE), names=("B04", "B03", "B02"))

#: A new page that shows the service, in a context with these options.
Visit = Callable[..., Page]


@pytest.fixture(scope="module")  # not longer: while it runs, no other test can start an event loop
def browser() -> Iterator[Browser]:
    program = next(filter(None, map(shutil.which, NAMES)), None)
    if program is None:
        why = "no chromium (on Debian: apt-get install chromium)"
        pytest.fail(why) if os.environ.get("REQUIRE_BROWSER") else pytest.skip(why)
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=program, args=ARGUMENTS)
        yield running
        running.close()


@pytest.fixture(scope="module")
def faults() -> list[str]:
    return []


@pytest.fixture(autouse=True)
def no_faults(request: pytest.FixtureRequest) -> Iterator[None]:
    """Neither faults of the page nor requests to others."""
    yield
    if "faults" in request.fixturenames:
        seen_faults = request.getfixturevalue("faults")
        found = list(seen_faults)
        seen_faults.clear()
        assert found == []


@pytest.fixture(scope="module")
def visit(browser: Browser, service: Service, faults: list[str]) -> Iterator[Visit]:
    contexts = []

    def come(url: str = service.url, **options: object) -> Page:
        context = browser.new_context(**({"viewport": {"width": 1100, "height": 760}} | options))
        context.set_default_timeout(LONG_MS)
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("console", lambda said: faults.append(said.text) if "Security Policy" in said.text else None)
        own = (url, f"blob:{url}")
        page.on("request", lambda request: None if request.url.startswith(own) else faults.append(request.url))
        page.goto(url)
        return page

    yield come
    for context in contexts:
        context.close()


@pytest.fixture(scope="module")
def page(visit: Visit) -> Page:
    """One for all tests of a file: what is opened takes the place of what was."""
    return visit()


def tiff(data: bytes, name: str = "scene.tif") -> FilePayload:
    return {"name": name, "mimeType": "image/tiff", "buffer": data}


def choose(page: Page, *files: FilePayload) -> None:
    """As by the button; waits until the image is there."""
    page.set_input_files("#files", list(files))
    seen(page)


def seen(page: Page) -> None:
    """Waits until an image is shown and nothing is on its way."""
    page.wait_for_selector("body[data-state=scene]")
    page.wait_for_selector("#progress", state="hidden")


def drop(page: Page, files: Sequence[FilePayload]) -> None:
    """As from a file manager."""
    told = [{"name": file["name"], "content": base64.b64encode(file["buffer"]).decode()} for file in files]
    dropped = page.evaluate_handle(
        """(told) => {
          const dropped = new DataTransfer();
          for (const { name, content } of told) {
            const bytes = Uint8Array.from(atob(content), (letter) => letter.charCodeAt(0));
            dropped.items.add(new File([bytes], name));
          }
          return dropped;
        }""",
        told,
    )
    for event in ("dragenter", "dragover", "drop"):
        page.dispatch_event("body", event, {"dataTransfer": dropped})


def spot(page: Page, x: float, y: float) -> tuple[float, float]:
    """Where on the canvas a pixel of the image is while all of it is seen: in its middle, with a margin around."""
    box = page.locator("#map").bounding_box()
    assert box is not None
    side = min(box["width"], box["height"]) - 2 * 16
    return (box["width"] - side) / 2 + x / SIDE * side, (box["height"] - side) / 2 + y / SIDE * side


def colour(page: Page, x: float, y: float) -> list[int]:
    """Red, green and blue of the canvas at a pixel of the image."""
    page.evaluate("() => new Promise(requestAnimationFrame)")
    at = spot(page, x, y)
    pixel: list[int] = page.evaluate(
        "([x, y]) => [...document.getElementById('map').getContext('2d').getImageData(x, y, 1, 1).data]", at
    )
    return pixel[:3]


def look(page: Page, view: str) -> None:
    page.locator("#views").get_by_text(view).click()
    page.wait_for_selector("#progress", state="hidden")
