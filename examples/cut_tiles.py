"""Cuts a scene into tiles of 120 × 120 pixels, as users keep them: FOLDER/r4c2.tif is row 4, column 2.

python examples/cut_tiles.py service/page/example.tif build/tiles
"""

from __future__ import annotations

import sys
from pathlib import Path

import rasterio
from rasterio.windows import Window

SIDE = 120


def main(scene: str, folder: str) -> None:
    """What does not fill a tile at the right and lower edge is left out."""
    Path(folder).mkdir(parents=True, exist_ok=True)
    with rasterio.open(scene) as source:
        for row in range(source.height // SIDE):
            for column in range(source.width // SIDE):
                window = Window(column * SIDE, row * SIDE, SIDE, SIDE)
                shape = {"width": SIDE, "height": SIDE, "transform": source.window_transform(window)}
                with rasterio.open(f"{folder}/r{row}c{column}.tif", "w", **{**source.profile, **shape}) as tile:
                    tile.write(source.read(window=window))
                    tile.descriptions = source.descriptions


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])
