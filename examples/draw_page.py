"""Opens the page of a running service, its example and a cell of it, and draws what is seen.

python examples/draw_page.py examples/page.png
"""

from __future__ import annotations

import argparse
import io
import shutil
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

SIZE = {"width": 1200, "height": 750}
CELL = ("ArrowRight", "ArrowRight", "ArrowDown", "ArrowDown")  # the first step is onto the first cell


def draw(url: str, out: Path, scheme: str) -> None:
    """The page in `scheme` (light or dark), with 256 colours."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--headless", "--no-sandbox"]
        )
        page = browser.new_page(viewport=SIZE, color_scheme=scheme)
        page.goto(url)
        page.get_by_text("Open the example").click()
        page.wait_for_selector("body[data-state=scene]")
        page.wait_for_selector("#progress", state="hidden")
        for key in CELL:
            page.locator("#map").press(key)
        page.locator("h1").click()  # away from the map, whose focus would be framed
        picture = Image.open(io.BytesIO(page.screenshot()))
        browser.close()
    picture.convert("RGB").quantize(256, kmeans=2, dither=Image.Dither.NONE).save(out, optimize=True)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--url", default="http://localhost:8080")
    parser.add_argument("--scheme", default="dark", choices=("light", "dark"))
    asked = parser.parse_args()
    draw(asked.url, asked.out, asked.scheme)


if __name__ == "__main__":
    main()
