"""The walk over the headers of a request's tiles, which lets others have the event loop in between."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from service.imagery.bands import canonical
from service.imagery.patches import TileFile
from service.imagery.tiff import header
from service.imagery.tiff.header import Header
from service.imagery.tiff.limits import Limits

SMALL_BYTES = 2**20  # a directory of no more takes some milliseconds at most


class HeaderWalk:
    """Over those files of a tile that are read: band files that the model does not use are not looked at."""

    def __init__(self, bands: Sequence[str]) -> None:
        self._bands = set(map(canonical, bands))
        self._turn = asyncio.Lock()

    async def of(self, files: Sequence[TileFile], limits: Limits) -> list[Header]:
        """Pure Python, about 0.1 ms for a patch. Raises ImageryError as `header.read` does."""
        read = [file.data for file in files if file.band is None or canonical(file.band) in self._bands]
        return [await self._header(data, limits) for data in read]

    async def _header(self, data: bytes | memoryview, limits: Limits) -> Header:
        if len(data) > SMALL_BYTES:
            return await asyncio.to_thread(header.read, data, limits)
        async with self._turn:  # without it, all that wait would go on in the same round of the loop
            await asyncio.sleep(0)
            return header.read(data, limits)
