"""How many pixels a request may bring, all its tiles together."""

from __future__ import annotations

from collections.abc import Sequence

from service.errors import ServiceError
from service.imagery.tiff.header import Header
from service.imagery.windows import cut


class PixelRoom:
    """Pixels that a request has left."""

    def __init__(self, most: int) -> None:
        self._most = self._left = most

    def take(self, files: Sequence[Header], patch_px: int) -> int:
        """The number of patches of a tile, by its finest band; 0 of one without a band that is read.

        A patch counts for half of patch_px² at least, so that a long thin image, which is cut into many, is no way
        round the limit. Raises ServiceError image_too_large, or ImageryError too_small.
        """
        if not files:
            return 0
        finest = max(files, key=lambda header: header.pixels)
        patches = len(cut(finest.width, finest.height, patch_px))
        pixels = max(finest.pixels, patches * patch_px**2 // 2)
        if pixels > self._left:
            raise ServiceError(
                "image_too_large",
                f"The tiles of this request have more than {self._most} pixels together; send fewer, or windows.",
                limits={"max_pixels": self._most},
            )
        self._left -= pixels
        return patches
