"""A file that stays open between its windows."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rasterio.io import DatasetReader

    from service.imagery.tiff.header import Header


class Kept:
    """Where it stays open, so that the next window finds the blocks decoded that it shares with the one before."""

    opened: tuple[DatasetReader, Header] | None = None
