"""Patch or scene: how a tile is cut into patches."""

from __future__ import annotations

from service.imagery.errors import ImageryError

PATCH_UP_TO = 1.5  # times patch_px: a larger side makes it a scene
SMALLEST_PX = 8  # half a ViT token at the usual sizes; less carries no texture

Window = tuple[int, int, int, int]  #: column, row, width, height, pixels


def cut(width: int, height: int, patch_px: int, stride: int | None = None, *, is_part: bool = False) -> list[Window]:
    """Windows of a tile, row by row.

    Up to 1.5 × `patch_px` on its larger side the tile is one patch, whole, unless it `is_part` of a scene. Beyond,
    windows of `patch_px` lie `stride` pixels apart (side by side by default) and the last column and row are shifted
    inwards, so every pixel is in one.
    Raises ImageryError too_small under 8 pixels a side, bad_option for a stride that leaves pixels out.
    """
    if not is_scene(width, height, patch_px, stride, is_part=is_part):
        return [(0, 0, width, height)]
    return [
        (column, row, min(patch_px, width), min(patch_px, height))
        for row in starts(height, patch_px, stride)
        for column in starts(width, patch_px, stride)
    ]


def count(width: int, height: int, patch_px: int, stride: int | None = None) -> int:
    """How many `cut` gives, without making them: with a stride of 1 there are as many as pixels."""
    if not is_scene(width, height, patch_px, stride):
        return 1
    apart = stride or patch_px
    across, down = (1 + -(-max(0, length - patch_px) // apart) for length in (width, height))
    return across * down


def is_scene(width: int, height: int, patch_px: int, stride: int | None = None, *, is_part: bool = False) -> bool:
    """True for what is cut into windows. Raises ImageryError as `cut` does."""
    if min(width, height) < SMALLEST_PX:
        raise ImageryError(
            "too_small",
            f"The image is {width} × {height} pixels; the smallest that can be read is {SMALLEST_PX} a side.",
            {"smallest_px": SMALLEST_PX},
        )
    if stride is not None and stride > patch_px:
        detail = f"With a stride of {stride} pixels some would be in no window: windows are {patch_px} pixels wide."
        raise ImageryError("bad_option", detail, {"max_stride": patch_px})
    return max(width, height) > (patch_px if is_part else PATCH_UP_TO * patch_px)


def starts(length: int, patch_px: int, stride: int | None = None) -> list[int]:
    """Where windows begin along a side of a scene."""
    last = max(0, length - patch_px)
    return [*range(0, last, stride or patch_px), last]
