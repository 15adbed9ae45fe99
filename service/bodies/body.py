"""What a request brings, by its media type."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from starlette.requests import Request

from service.bodies import form, instances
from service.bodies.arrival import pieces
from service.bodies.reading import Reading
from service.errors import ServiceError
from service.imagery.patches import TileFile
from service.tiles import RefusedTile, TileAtHand, TileRequest

TIFF_TYPES = ("image/tiff", "image/geotiff", "application/octet-stream")
MULTIPART, JSON, JSON_LINES = "multipart/form-data", "application/json", "application/jsonlines"


@dataclass(frozen=True)
class Body:
    """The tiles of a request, in order, and the options that came with them."""

    tiles: Sequence[TileRequest]
    options: Mapping[str, Any] = field(default_factory=dict)


async def read(request: Request, media_type: str, reading: Reading) -> Body:
    """The body of a request.

    A body that cannot be read is one refused tile, as one that is read and no GeoTIFF would be. Raises
    ServiceError for what is no tile's fault: unsupported_media_type, too_many_instances.
    """
    try:
        return await _read(request, media_type, reading)
    except ServiceError as error:
        if not error.is_the_tiles:
            raise
        return Body([RefusedTile("0", error)])


async def _read(request: Request, media_type: str, reading: Reading) -> Body:
    if media_type in TIFF_TYPES:
        return Body([TileAtHand("0", (TileFile(memoryview(await _whole(request, reading))),))])
    if media_type == MULTIPART:
        return Body(await form.read(request, reading))
    # In a thread: a large body takes long enough for health checks to notice.
    if media_type == JSON:
        return Body(*await asyncio.to_thread(instances.of_json, await _whole(request, reading), reading))
    if media_type == JSON_LINES:
        return Body(await asyncio.to_thread(instances.of_json_lines, await _whole(request, reading), reading))
    known = ", ".join((*TIFF_TYPES, MULTIPART, JSON, JSON_LINES))
    raise ServiceError("unsupported_media_type", f"Content-Type must be one of {known}.")


async def _whole(request: Request, reading: Reading) -> bytearray:
    """Grows where it is: joining the pieces of 18 MB at their end held the event loop for 15 ms."""
    whole = bytearray()
    async for piece in pieces(request, reading.is_busy):
        whole += piece
    return whole
