"""A multipart form: several tiles, or the band files of one or more."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePath

from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import Request

from service.bodies.reading import Reading
from service.errors import ServiceError
from service.imagery.bands import band_at_the_end, canonical, is_band
from service.imagery.patches import TileFile
from service.tiles import LONGEST_ID, TileAtHand


@dataclass(frozen=True)
class Part:
    """A file of a multipart form."""

    field: str
    file_name: str
    data: bytes


async def read(request: Request, reading: Reading) -> list[TileAtHand]:
    """The tiles of a form. Raises ServiceError bad_multipart, empty_body, too_many_instances."""
    parts = await _parts(request, reading.max_instances * max(len(reading.bands), 13))
    tiles = by_tile(parts, reading.bands)
    reading.refuse_over(len(tiles))
    return tiles


async def _parts(request: Request, max_files: int) -> list[Part]:
    try:
        async with request.form(max_files=max_files, max_fields=0) as form:
            return [
                Part(field, value.filename or "", await value.read())
                for field, value in form.multi_items()
                if isinstance(value, UploadFile)
            ]
    except HTTPException as error:
        detail = f"The multipart form cannot be read ({error.detail}): send every GeoTIFF as a file of the form."
        raise ServiceError("bad_multipart", detail) from None


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
