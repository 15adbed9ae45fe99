"""A scene too large to send: mapped files, of which windows are read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from service.imagery.patches import InputSpec, Patch, ReadOptions, TileFile
from service.imagery.reader import read_tile


def read_window(scene: Sequence[TileFile], spec: InputSpec, options: ReadOptions) -> list[Patch]:
    """Patches of the window `options.window` of a tile, as `read_tile` has them of one with these pixels alone.

    One GeoTIFF, or band files that have as many pixels as each other. A window is part of a scene: of more than
    `patch_px` a side it is cut.

    What is decided by the look of the values (whether floats are reflectance, whether an offset is suspected) is
    decided for each window anew: the scene as a whole is never in memory. Windows as wide as the scene see more of
    it, and decode every strip once; of files that are kept open, blocks that two windows share are decoded once as
    well. Patches say their place in the scene. Raises ImageryError as `read_tile` does.
    """
    column, row = options.window[:2] if options.window else (0, 0)
    return [_moved(patch, column, row) for patch in read_tile(scene, spec, options)]


def _moved(patch: Patch, column: int, row: int) -> Patch:
    x, y, width, height = patch.facts.window
    return replace(patch, facts=replace(patch.facts, window=(x + column, y + row, width, height)))
