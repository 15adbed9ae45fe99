from __future__ import annotations

import unicodedata

import numpy as np
import pytest
from playwright.sync_api import Page, expect

from tests.conftest import StartService
from tests.imagery import geotiff, reflectance
from tests.service.page.conftest import SCENE, Visit, choose, drop, seen, tiff

KEY = "a-key-of-the-service"


def test_a_dropped_image_is_shown_with_what_it_is(page: Page) -> None:
    drop(page, [tiff(SCENE, "valley.tif")])
    seen(page)
    expect(page.locator("#about")).to_contain_text("valley.tif")
    expect(page.locator("#about")).to_contain_text("16 cells · 4.8 × 4.8 km · 480 × 480 px · EPSG:32633")


def test_the_example_is_one_click_away(visit: Visit) -> None:
    page = visit()
    page.click("#welcome >> text=Open the example")
    seen(page)
    expect(page.locator("#about")).to_contain_text("36 cells · 7.2 × 7.2 km")
    expect(page.locator("#curl")).to_contain_text("page/example.tif")


def test_band_files_of_a_tile_are_one_image(page: Page) -> None:
    values = reflectance()
    drop(page, [tiff(geotiff(values[i : i + 1]), f"S2A_{band}.tif") for i, band in enumerate(("B04", "B03", "B02"))])
    seen(page)
    expect(page.locator("#about h2")).to_have_text("S2A_B04.tif, S2A_B03.tif, S2A_B02.tif")
    expect(page.locator("#about p")).to_contain_text("1 cell ·")


def test_of_several_tiles_one_is_shown_and_the_bad_one_is_told(page: Page) -> None:
    choose(page, tiff(SCENE, "a.tif"), tiff(geotiff(reflectance()), "b.tif"), tiff(b"no", "c.tif"))
    expect(page.locator("#about")).to_contain_text("c was refused.")
    expect(page.locator("#about h2")).to_have_text("a")
    page.locator("#about select").focus()
    page.select_option("#about select", label="b")
    expect(page.locator("#about h2")).to_have_text("b")
    expect(page.locator("#about p")).to_contain_text("1 cell ·")
    expect(page.locator("#about select")).to_be_focused()


def test_an_image_that_was_given_up_does_not_come_back(page: Page) -> None:
    page.evaluate(
        """() => {
          const draw = createImageBitmap, held = new Promise((go) => (window.letGo = go));
          window.createImageBitmap = (picture) => {
            window.createImageBitmap = draw;
            document.body.dataset.held = "";
            return held.then(() => draw(picture));
          };
        }"""
    )
    page.set_input_files("#files", [tiff(geotiff(reflectance()), "early.tif")])
    page.wait_for_selector("body[data-held]")
    choose(page, tiff(SCENE, "late.tif"))
    page.evaluate("letGo()")
    page.evaluate("() => createImageBitmap(new ImageData(1, 1)).then(() => new Promise(requestAnimationFrame))")
    expect(page.locator("#about h2")).to_have_text("late.tif")
    expect(page.locator("#about p")).to_contain_text("16 cells ·")
    expect(page.locator("#announcer")).to_have_text("late.tif: 16 cells.")


def test_warnings_are_told_in_words_and_once(page: Page) -> None:
    choose(page, tiff(geotiff(reflectance(side=480), crs=None, transform=None)))
    notes = page.locator(".warnings li")
    expect(notes).to_have_count(2)
    expect(notes.nth(0)).to_contain_text("The file names no bands; taken as B04, B03, B02 in this order.")
    expect(notes.nth(1)).to_contain_text("no usable georeference")


def test_a_bad_file_is_told_in_words_and_the_image_before_stays(page: Page) -> None:
    choose(page, tiff(SCENE, "good.tif"))
    drop(page, [tiff(b"this is no image", "bad.tif")])
    problem = page.get_by_role("alert")
    expect(problem).to_contain_text("Not a TIFF")
    expect(problem).to_contain_text("not_a_tiff")
    problem.get_by_text("Close").click()
    expect(problem).to_be_hidden()
    expect(page.locator("#map")).to_be_focused()
    expect(page.locator("#about h2")).to_have_text("good.tif")


def test_bands_that_are_asked_back_can_be_given(page: Page) -> None:
    page.set_input_files("#files", [tiff(geotiff(reflectance(bands=4)))])
    problem = page.get_by_role("alert")
    expect(problem).to_contain_text("band_mapping_required")
    assert problem.get_by_role("group", name="Usual orders").locator("button").all_inner_texts() == [
        "rgbnir",
        "naip",
        "bgrnir",
    ]
    problem.get_by_text("bgrnir", exact=True).click()
    problem.get_by_text("Try with this").click()
    seen(page)
    expect(page.locator("#curl")).to_contain_text("/invocations?bands=bgrnir")
    choose(page, tiff(SCENE))  # the answer was about that file alone
    expect(page.locator("#curl")).not_to_contain_text("bands=")


def test_a_scale_that_is_asked_back_can_be_given(page: Page) -> None:
    values = reflectance().astype(np.float32) / 10
    page.set_input_files("#files", [tiff(geotiff(values, names=("B04", "B03", "B02")))])
    problem = page.get_by_role("alert")
    problem.get_by_label("Factor from file values to reflectance × 10,000").fill("10")
    problem.get_by_text("Try with this").click()
    seen(page)
    expect(page.locator("#curl")).to_contain_text("scale=10")


def test_options_hold_for_what_is_opened(visit: Visit) -> None:
    page = visit()
    page.get_by_role("button", name="Options").click()
    page.get_by_label("Bands of the file, in its order").fill("B02, B03, B04, B08")
    page.get_by_text("Done").click()
    choose(page, tiff(geotiff(reflectance(bands=4))))
    expect(page.get_by_role("button", name="Options (1)")).to_be_visible()


def test_a_service_that_cannot_be_reached_can_be_tried_again(page: Page) -> None:
    page.context.set_offline(True)
    page.set_input_files("#files", [tiff(SCENE)])
    problem = page.get_by_role("alert")
    expect(problem).to_contain_text("The service cannot be reached")
    page.context.set_offline(False)
    problem.get_by_text("Try again").click()
    seen(page)
    expect(problem).to_be_hidden()


@pytest.mark.parametrize("status", [200, 413])
def test_what_a_proxy_says_is_no_answer(page: Page, status: int) -> None:
    page.route("**/invocations?*", lambda route: route.fulfill(status=status, content_type="text/html", body="<h1>No"))
    page.set_input_files("#files", [tiff(SCENE)])
    expect(page.get_by_role("alert")).to_contain_text(
        f"something in between, as a proxy or a page to log in (HTTP {status})"
    )
    page.unroute_all()


def test_a_key_is_asked_for_and_sent(visit: Visit, start: StartService) -> None:
    service = start(API_KEYS=KEY, BATCH_ERRORS="record")
    service.wait_until_ready()
    page = visit(service.url)
    page.click("#welcome >> text=Open the example")
    page.get_by_role("alert").get_by_label("API key").fill(KEY)
    page.get_by_role("alert").get_by_text("Try with this").click()
    seen(page)
    expect(page.locator("#model")).to_have_text("tiny 1")
    expect(page.locator("#curl")).to_contain_text('"X-API-Key: $API_KEY"')
    expect(page.locator("#curl")).not_to_contain_text(KEY)
    page.set_input_files("#files", [tiff(b"no", "a.tif"), tiff(b"no", "b.tif")])  # 200, with nothing to show
    expect(page.get_by_role("alert")).to_contain_text("b: The tile does not begin like a TIFF")
    expect(page.locator("#about h2")).to_have_text("example.tif")


@pytest.mark.parametrize("name", ["<img src=x onerror=alert(1)>.tif", 'it\'s a "scene".tif'])
def test_names_of_files_are_text(page: Page, name: str) -> None:
    drop(page, [tiff(SCENE, name)])
    seen(page)
    expect(page.locator("#about h2")).to_have_text(name)


def test_a_name_ends_no_line_where_curl_is_pasted(page: Page) -> None:
    drop(page, [tiff(SCENE, "a\x03\nid\x1b[201~\x85.tif")])
    seen(page)
    line = page.locator("#curl code").text_content() or ""
    assert "@a??id?[201~?.tif" in line
    assert [letter for letter in line if unicodedata.category(letter) == "Cc" and letter != "\n"] == []
