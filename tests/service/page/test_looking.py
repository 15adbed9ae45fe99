from __future__ import annotations

import re
from collections import Counter
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from playwright.sync_api import Page, Route, expect

from service.formats.colours import components
from tests.conftest import Service
from tests.imagery import geotiff, reflectance
from tests.service.page.conftest import SCENE, SIDE, Visit, choose, colour, look, spot, tiff


@pytest.fixture(scope="module")
def cells(service: Service) -> list[dict[str, Any]]:
    predictions: list[dict[str, Any]] = service.post(SCENE).json()["predictions"]
    return predictions


def click(page: Page, row: int, column: int) -> None:
    x, y = spot(page, 120 * column + 60, 120 * row + 60)
    page.locator("#map").click(position={"x": x, "y": y})


def similarity(cells: list[dict[str, Any]], chosen: int) -> list[tuple[float, int]]:
    vectors = np.array([cell["embedding"] for cell in cells])
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    likeness = vectors @ vectors[chosen]
    return sorted(((float(one), i) for i, one in enumerate(likeness) if i != chosen), reverse=True)


def test_a_clicked_cell_tells_its_probabilities_and_thresholds(page: Page, cells: list[dict[str, Any]]) -> None:
    choose(page, tiff(SCENE))
    click(page, 1, 2)
    expect(page.locator("#cell h2")).to_have_text("Row 2, column 3")
    cell = cells[4 + 2]
    told = {name: p for name, p in {**cell["probabilities"], **cell["groups"]}.items() if p is not None}
    bars = page.locator(".bar").all_inner_texts()
    assert len(bars) == 3 and "desert" not in "".join(bars), "null is no bar"
    for bar, name in zip(bars, sorted(told, key=told.__getitem__, reverse=True), strict=True):
        assert f"{told[name]:.2f}" in bar
        assert ("✓ " in bar) == (name in cell["labels"]) and name in bar
    assert sorted(re.findall(r"threshold ([\d.]+)", page.locator(".bars").text_content() or "")) == [
        "0.30",
        "0.50",
        "0.60",
    ]


def test_what_is_most_like_a_cell_is_numbered_and_lit(page: Page, cells: list[dict[str, Any]]) -> None:
    choose(page, tiff(SCENE))
    look(page, "Image")
    nearest = similarity(cells, chosen=5)
    least = nearest[-1][1]
    before = colour(page, 120 * (least % 4) + 70, 120 * (least // 4) + 70)
    click(page, 1, 1)
    said = [button.get_attribute("aria-label") for button in page.locator(".alike button").all()]
    assert said == [
        f"{i + 1}: Row {index // 4 + 1}, column {index % 4 + 1}, similarity {likeness:.2f}"
        for i, (likeness, index) in enumerate(nearest[:4])
    ]
    assert sum(colour(page, 120 * (least % 4) + 70, 120 * (least // 4) + 70)) < 0.6 * sum(before), "dark"
    page.locator(".alike button").first.press("Enter")
    expect(page.locator("#cell h2")).to_have_text(f"Row {nearest[0][1] // 4 + 1}, column {nearest[0][1] % 4 + 1}")
    expect(page.locator("#cell h2")).to_be_focused()


@pytest.mark.parametrize("columns", [1, 2])
def test_where_there_is_little_to_compare_nothing_is_darkened(page: Page, columns: int) -> None:
    choose(page, tiff(geotiff(reflectance(side=240)[:, :120, : 120 * columns], names=("B04", "B03", "B02"))))
    look(page, "Image")
    centres = [((i + 0.5) * SIDE / columns, SIDE / 2) for i in range(columns)]
    bare = [colour(page, *centre) for centre in centres]
    page.locator("#map").press("ArrowRight")
    expect(page.locator("#cell h2")).to_have_text("Row 1, column 1")
    assert [colour(page, *centre) for centre in centres] == bare


def test_all_can_be_done_with_keys(visit: Visit, cells: list[dict[str, Any]]) -> None:
    page = visit()
    page.keyboard.press("Tab")
    expect(page.locator(".skip")).to_be_focused()
    for _ in range(3):  # options, choose files, example
        page.keyboard.press("Tab")
    expect(page.get_by_text("Open the example")).to_be_focused()
    choose(page, tiff(SCENE))
    page.locator("#map").focus()
    spoken = page.locator("#announcer")
    for key, place in (
        ("ArrowLeft", "Row 1, column 1"),
        ("ArrowDown", "Row 2, column 1"),
        ("ArrowRight", "Row 2, column 2"),
    ):
        page.keyboard.press(key)
        expect(spoken).to_contain_text(f"{place}: ")
    both = {**cells[5]["probabilities"], **cells[5]["groups"]}
    over = ", ".join(f"{name} {both[name]:.2f}" for name in cells[5]["labels"])
    expect(spoken).to_have_text(f"Row 2, column 2: {over or 'nothing over its threshold'}")
    scale = page.locator("#scale").inner_text()
    for _ in range(3):
        page.keyboard.press("+")
    assert page.locator("#scale").inner_text() != scale
    page.keyboard.press("0")
    expect(page.locator("#scale")).to_have_text(scale)
    page.keyboard.press("Escape")
    expect(page.locator("#cell h2")).to_have_text("A cell")


def test_the_legend_has_the_colours_that_maps_have(page: Page, service: Service) -> None:
    choose(page, tiff(SCENE))
    legend = service.get("/model").json()["properties"]["aerial:legend"]
    painted: dict[str, str] = page.evaluate(
        """() => Object.fromEntries([...document.querySelectorAll("#legend button")].map((button) =>
             [button.children[1].textContent, button.querySelector(".swatch").style.background]))"""
    )
    for name in ("field", "town"):
        red, green, blue = components(legend[name])
        assert painted[name] == f"rgb({red}, {green}, {blue})"


def test_the_legend_counts_what_cells_are_painted_as(page: Page, cells: list[dict[str, Any]]) -> None:
    choose(page, tiff(SCENE))
    painted = Counter(cell["labels"][0] if cell["labels"] else "Nothing over its threshold" for cell in cells)
    rows = page.locator("#legend > .legend li").all_inner_texts()
    assert {row.split("\n")[0]: row.split("\n")[1] for row in rows} == {
        name: f"{100 * count / 16:.0f} %" for name, count in painted.items()
    }
    expect(page.locator("#legend")).to_contain_text("Not at all, and drawn as nothing: desert.")
    expect(page.locator("#legend")).to_contain_text("Only as part of a group: lake; sea.")


def test_components_are_painted_for_every_token(page: Page) -> None:
    choose(page, tiff(SCENE))
    look(page, "Image")
    bare = [colour(page, x, y) for x, y in ((40, 50), (200, 300), (400, 420))]
    look(page, "Components")
    expect(page.locator("#announcer")).to_have_text("Components are painted.")
    assert [colour(page, x, y) for x, y in ((40, 50), (200, 300), (400, 420))] != bare


def test_components_are_asked_for_once_and_not_shown_on_another_view(page: Page) -> None:
    choose(page, tiff(SCENE))
    held: list[Route] = []
    page.route("**/invocations?*token_embeddings*", lambda route: held.append(route))
    for view in ("Components", "Image", "Components"):
        page.locator("#views").get_by_text(view).click()
    page.wait_for_selector("#progress:not([hidden])")
    expect(page.get_by_role("radio", name="Components")).to_be_checked()
    (asked,) = held
    asked.continue_()
    expect(page.locator("#announcer")).to_have_text("Components are painted.")
    expect(page.get_by_role("radio", name="Components")).to_be_checked()
    page.unroute_all()


def test_components_are_those_that_numpy_finds(page: Page, service: Service) -> None:
    answer = service.post(SCENE, accept="application/x-npy", outputs="token_embeddings", embedding_dtype="int8")
    codes: NDArray[np.int8] = np.load(BytesIO(answer.content))
    tokens = (np.sign(codes) * (np.abs(codes, dtype=np.float64) / 127) ** 2).reshape(-1, codes.shape[-1])
    expected = np.linalg.svd(tokens - tokens.mean(0), full_matrices=False)[2][:3]
    found = page.evaluate(
        """async ([codes, dim]) => {
          const { expanded, principalAxes } = await import("./page/ground/components.js");
          return principalAxes(expanded(Int8Array.from(codes)), dim).axes.map((axis) => [...axis]);
        }""",
        [codes.ravel().tolist(), codes.shape[-1]],
    )
    assert np.abs((np.array(found) * expected).sum(1)) == pytest.approx(np.ones(3), abs=0.01)
