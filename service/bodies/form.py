"""A multipart form: several tiles, or the band files of one or more."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import PurePath

from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from service.bodies.arrival import pieces
from service.bodies.reading import Reading
from service.errors import ServiceError
from service.imagery.bands import band_at_the_end, canonical, is_band
from service.imagery.patches import TileFile
from service.tiles import LONGEST_ID, TileAtHand

PIECE = 16_384  # bytes parsed at once


@dataclass(frozen=True)
class Part:
    """A file of a multipart form."""

    field: str
    file_name: str
    data: bytes


async def read(request: Request, reading: Reading) -> list[TileAtHand]:
    """The tiles of a form. Raises ServiceError bad_multipart, empty_body, too_many_instances."""
    parts = await _parts(request, reading)
    tiles = by_tile(parts, reading.bands)
    reading.refuse_over(len(tiles))
    return tiles


class _Form(MultiPartParser):
    """Knows whether the form came to its end: one that was cut would lose its last file, and nobody would notice."""

    spool_max_size = sys.maxsize  # a body is in memory as others are, whatever its type, and never on disk
    is_complete = False

    def on_end(self) -> None:
        self.is_complete = True


async def _parts(request: Request, reading: Reading) -> list[Part]:
    max_files = reading.max_instances * max(len(reading.bands), 13)
    stream = _in_pieces(pieces(request, reading.is_busy))
    parser = _Form(request.headers, stream, max_files=max_files, max_fields=0)
    try:
        form = await parser.parse()
    except MultiPartException as error:
        detail = f"The multipart form cannot be read ({error.message}): send every GeoTIFF as a file of the form."
        raise ServiceError("bad_multipart", detail) from None
    except UnicodeError:  # charsets are the sender's choice, and some decode nothing
        raise ServiceError("bad_multipart", "The form's names cannot be read; write them in UTF-8.") from None
    if not parser.is_complete:
        raise ServiceError("bad_multipart", "The form has no closing boundary: it was cut; send all of it.")
    return [
        Part(_clean(field), _clean(value.filename or ""), await value.read())
        for field, value in form.multi_items()
        if isinstance(value, UploadFile)
    ]


async def _in_pieces(stream: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
    """3,000 empty files fit into what arrives at once, and take 0.1 s, in which no health check is answered."""
    async for chunk in stream:
        for start in range(0, len(chunk), PIECE):
            yield chunk[start : start + PIECE]
            await asyncio.sleep(0)


def _clean(name: str) -> str:
    """Some charsets, UTF-7 for one, decode to halves of surrogate pairs, which no answer can hold."""
    return name.encode(errors="replace").decode()


def by_tile(parts: Sequence[Part], bands: Sequence[str]) -> list[TileAtHand]:
    """Band files of one tile come together, every other file is a tile.

    A file is a band if its field is named like one (`B04`) or its file name ends in one (`…_B04.tif`);
    what stands before the band in the file name tells which tile it belongs to.
    """
    if not parts:
        raise ServiceError("empty_body", "The form has no files; send GeoTIFFs.")
    tiles: dict[tuple[str, int | None], list[TileFile]] = {}
    for i, part in enumerate(parts):
        stem, band = band_at_the_end(part.file_name) or ("", None)
        if is_band(part.field, bands):
            band = canonical(part.field)
        key = (stem, None) if band else (PurePath(part.file_name).stem, i)
        tiles.setdefault(key, []).append(TileFile(part.data, band))
    return [
        TileAtHand((PurePath(stem).name or str(i))[:LONGEST_ID], tuple(files))
        for i, ((stem, _), files) in enumerate(tiles.items())
    ]
