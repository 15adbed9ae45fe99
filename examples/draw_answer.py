"""Posts a GeoTIFF to a running service and draws what comes back.

python examples/draw_answer.py examples/synthetic_tile.tif answer.png
"""

from __future__ import annotations

import argparse
import json
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

INK, QUIET, BAR, GROUP, LINE = "#1d2733", "#8a949e", "#2f6f9f", "#3c8d5a", "#d6dbe0"
CORINE = {  # official colours of what a label is mostly made of
    "Urban fabric": "#e6004d", "Industrial or commercial units": "#cc4df2", "Arable land": "#ffffa8",
    "Permanent crops": "#e68000", "Pastures": "#e6e64d", "Complex cultivation patterns": "#ffe64d",
    "Natural grassland and sparsely vegetated areas": "#ccf24d", "Inland waters": "#80f2e6",
    "Forest (any)": "#4dc000", "Water (any)": "#5cc8e0",
}  # fmt: skip


def ask(url: str, tile: Path) -> dict[str, Any]:
    """The first prediction for a tile."""
    request = urllib.request.Request(
        f"{url}/invocations", data=tile.read_bytes(), headers={"Content-Type": "image/tiff"}
    )
    with urllib.request.urlopen(request) as answer:
        return dict(json.load(answer)["predictions"][0])


def true_colour(tile: Path) -> NDArray[np.uint8]:
    """H × W × 3, stretched for the eye: its 2nd to 98th percentile."""
    with rasterio.open(tile) as dataset:
        values = dataset.read([1, 2, 3]).astype(float)
    low, high = np.percentile(values, (2, 98))
    return (np.clip((values - low) / (high - low), 0, 1) * 255).astype(np.uint8).transpose(1, 2, 0)


def draw(tile: Path, prediction: dict[str, Any], out: Path) -> None:
    """The tile, its land cover as bars, and its embedding as a field of colour."""
    figure = Figure(figsize=(12.5, 4.9), dpi=140)
    left, right, below = (
        figure.add_axes((0.01, 0.03, 0.36, 0.90)),
        figure.add_axes((0.67, 0.30, 0.28, 0.63)),
        figure.add_axes((0.42, 0.055, 0.56, 0.12)),
    )
    left.imshow(true_colour(tile), interpolation="nearest")
    left.set_axis_off()
    figure.text(0.01, 0.955, tile.name, fontsize=11, color=INK, weight="bold")
    corner = prediction["footprint"]["coordinates"][0][0] if prediction["footprint"] else None
    place = f"{prediction['crs']} · {corner[1]:.4f}° N {corner[0]:.4f}° E" if corner else "no georeference"
    figure.text(0.37, 0.955, place, fontsize=8.5, color=QUIET, ha="right")
    _bars(right, prediction)
    _embedding(below, prediction["embedding"])
    figure.savefig(out, facecolor="white")


def _bars(axes: Axes, prediction: dict[str, Any]) -> None:
    told = {name: p for name, p in prediction["probabilities"].items() if p is not None} | prediction["groups"]
    names = sorted(told, key=told.__getitem__)
    for i, name in enumerate(names):
        colour = CORINE.get(name, BAR)
        axes.barh(i, 1, color="#f2f4f6", height=0.72)
        axes.barh(i, told[name], color=colour, height=0.72, edgecolor=INK, linewidth=0.4)
        axes.text(1.02, i, f"{told[name]:.2f}", va="center", fontsize=8.5, color=INK)
        weight = "bold" if name in prediction["labels"] else "normal"
        axes.text(-0.02, i, name, va="center", ha="right", fontsize=8.5, color=INK, weight=weight)
    unknown = sum(p is None for p in prediction["probabilities"].values())
    axes.set(xlim=(0, 1.0), ylim=(-0.6, len(names) - 0.4))
    axes.set_axis_off()
    axes.text(-0.02, len(names), "land cover", ha="right", fontsize=9.5, color=INK, weight="bold")
    axes.text(0, len(names), f"bold: over its threshold · {unknown} labels: null", fontsize=8, color=QUIET)


def _embedding(axes: Axes, embedding: list[float]) -> None:
    rows = max(n for n in (1, 2, 3, 4, 6) if len(embedding) % n == 0)
    field = np.asarray(embedding).reshape(rows, -1)
    bound = float(np.abs(field).max())
    axes.imshow(field, cmap="RdBu_r", vmin=-bound, vmax=bound, aspect="auto", interpolation="nearest")
    axes.set(xticks=[], yticks=[])
    for spine in axes.spines.values():
        spine.set_color(LINE)
    axes.set_title(f"embedding: {len(embedding)} numbers", fontsize=9.5, color=INK, loc="left", weight="bold")


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tile", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--url", default="http://localhost:8080")
    asked = parser.parse_args()
    draw(asked.tile, ask(asked.url, asked.tile), asked.out)


if __name__ == "__main__":
    main()
