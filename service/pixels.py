"""How many pixels a request may bring, all its tiles together."""

from __future__ import annotations

from collections.abc import Sequence

from service.errors import LARGER, ServiceError
from service.imagery import windows
from service.imagery.tiff.header import Header


def windowed(files: Sequence[Header], patch_px: int, stride: int | None) -> tuple[int, int]:
    """(patches, pixels) of a tile, by its finest band; (0, 0) of one without a band that is read.

    Pixels count as often as overlapping windows hold them. A patch counts for half of patch_px² at least, so that a
    long thin image, which is cut into many, is no way round a limit. Raises ImageryError as `windows.cut` does.
    """
    if not files:
        return 0, 0
    finest = max(files, key=lambda header: header.pixels)
    patches = windows.count(finest.width, finest.height, patch_px, stride)
    is_overlapping = stride is not None and stride < patch_px
    return patches, max(finest.pixels, patches * patch_px**2 // (1 if is_overlapping else 2))


class PixelRoom:
    """Pixels that a request has left."""

    def __init__(self, most: int) -> None:
        self._most = self._left = most

    def take(self, files: Sequence[Header], patch_px: int, stride: int | None = None) -> int:
        """The number of patches of a tile. Raises ServiceError image_too_large, or ImageryError as `windowed` does."""
        patches, pixels = windowed(files, patch_px, stride)
        if pixels > self._left:
            detail = f"The tiles of this request have more than {self._most} pixels together, overlapping windows "
            detail += f"counted in full; send fewer, or windows, or with a larger stride. {LARGER}"
            raise ServiceError("image_too_large", detail, limits={"max_pixels": self._most})
        self._left -= pixels
        return patches
