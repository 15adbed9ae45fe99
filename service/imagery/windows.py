"""Patch or scene: how a tile is cut into patches."""

from __future__ import annotations

from service.imagery.errors import ImageryError

PATCH_UP_TO = 1.5  # times patch_px: a larger side makes it a scene
SMALLEST_PX = 8  # half a ViT token at the usual sizes; less carries no texture


def cut(width: int, height: int, patch_px: int) -> list[tuple[int, int, int, int]]:
    """Windows (column, row, width, height) of a tile, row by row.

    Up to 1.5 × `patch_px` on its larger side the tile is one patch, whole. Beyond, windows of `patch_px`
    lie side by side and the last column and row are shifted inwards, so every pixel is in one.
    Raises ImageryError too_small under 8 pixels a side.
    """
    if min(width, height) < SMALLEST_PX:
        raise ImageryError(
            "too_small",
            f"The image is {width} × {height} pixels; the smallest that can be read is {SMALLEST_PX} a side.",
            {"smallest_px": SMALLEST_PX},
        )
    if max(width, height) <= PATCH_UP_TO * patch_px:
        return [(0, 0, width, height)]
    return [
        (column, row, min(patch_px, width), min(patch_px, height))
        for row in _starts(height, patch_px)
        for column in _starts(width, patch_px)
    ]


def _starts(length: int, patch_px: int) -> list[int]:
    if length <= patch_px:
        return [0]
    starts = list(range(0, length - patch_px + 1, patch_px))
    return starts if starts[-1] + patch_px == length else [*starts, length - patch_px]
