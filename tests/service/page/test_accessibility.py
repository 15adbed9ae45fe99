from __future__ import annotations

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

from tests.imagery import geotiff, reflectance
from tests.service.page.conftest import SCENE, Visit, choose, tiff


def faults(page: Page) -> list[str]:
    """Serious and critical ones that axe-core finds."""
    found = Axe().run(page).response["violations"]
    return [
        f"{one['id']}: {one['help']} ({one['nodes'][0]['html']})"
        for one in found
        if one["impact"] in ("serious", "critical")
    ]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_stands_in_anybodys_way(visit: Visit, scheme: str) -> None:
    page = visit(color_scheme=scheme)
    assert faults(page) == [], "empty"
    page.get_by_role("button", name="Options").click()
    assert faults(page) == [], "options"
    page.get_by_text("Done").click()
    choose(page, tiff(SCENE))
    for summary in page.locator("#legend summary").all():
        summary.click()
    page.locator("#map").press("ArrowRight")
    assert faults(page) == [], "a cell"
    page.set_input_files("#files", [tiff(geotiff(reflectance(bands=4)))])
    page.wait_for_selector("#problem:not([hidden])")
    assert faults(page) == [], "a problem"


def test_nothing_is_wider_than_the_screen(page: Page) -> None:
    wide, widths = "document.documentElement.scrollWidth", (360, 820, 1600)
    for width in widths:
        page.set_viewport_size({"width": width, "height": 800})
        assert page.evaluate(wide) <= width
    choose(page, tiff(SCENE, "a-very-long-name-of-a-scene-" * 4 + ".tif"))
    page.locator("#map").press("ArrowRight")
    for width in widths:
        page.set_viewport_size({"width": width, "height": 800})
        assert page.evaluate(wide) <= width
        box = page.locator("#map").bounding_box()
        assert box is not None and box["width"] >= 0.6 * width and box["height"] >= 300


def test_motion_is_left_out_where_it_is_not_wanted(page: Page) -> None:
    durations = "getComputedStyle(document.querySelector('button')).transitionDuration"
    page.emulate_media(reduced_motion="no-preference")
    assert page.evaluate(durations) != "0s"
    page.emulate_media(reduced_motion="reduce")
    assert page.evaluate(durations) == "0s"
