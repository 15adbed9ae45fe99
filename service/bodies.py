"""Request bodies to tiles: one GeoTIFF, or a multipart form of tiles or of band files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePath

from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.errors import ServiceError
from service.imagery.bands import band_at_the_end, canonical, is_band
from service.imagery.patches import TileFile

TIFF_TYPES = ("image/tiff", "image/geotiff", "application/octet-stream")
MULTIPART = "multipart/form-data"
LONGEST_ID = 256


@dataclass(frozen=True)
class TileRequest:
    """One tile of a request: a GeoTIFF, or its bands as files."""

    id: str
    files: tuple[TileFile, ...]


@dataclass(frozen=True)
class Part:
    """A file of a multipart form."""

    field: str
    file_name: str
    data: bytes


@dataclass(frozen=True)
class BodyLimit:
    """Refuses a body over `largest` bytes while it comes in, announced or not, as ServiceError body_too_large."""

    app: ASGIApp
    largest: int

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        size = int(dict(scope["headers"]).get(b"content-length", 0))  # the server has checked that it is a number
        received = 0

        async def limited() -> Message:
            nonlocal received
            if size <= self.largest:
                message = await receive()
                received += len(message.get("body", b""))
            if max(size, received) > self.largest:
                raise ServiceError(
                    "body_too_large",
                    f"The body is over {self.largest / 1e6:g} MB; send fewer tiles at a time, or smaller windows.",
                    limits={"max_body_mb": self.largest / 1e6},
                )
            return message

        await self.app(scope, limited, send)


async def read(request: Request, media_type: str, bands: Sequence[str], max_instances: int) -> list[TileRequest]:
    """The tiles of a request; `bands` are the model's. Raises ServiceError for a body that holds none."""
    if media_type in TIFF_TYPES:
        return [TileRequest("0", (TileFile(await request.body()),))]
    if media_type != MULTIPART:
        known = ", ".join((*TIFF_TYPES, MULTIPART))
        raise ServiceError("unsupported_media_type", f"Content-Type must be one of {known}.")
    tiles = by_tile(await _parts(request, max_instances * max(len(bands), 13)), bands)
    if len(tiles) > max_instances:
        raise ServiceError(
            "too_many_instances",
            f"The request has {len(tiles)} tiles; send at most {max_instances} at a time.",
            limits={"max_instances": max_instances},
        )
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


def by_tile(parts: Sequence[Part], bands: Sequence[str]) -> list[TileRequest]:
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
        TileRequest((PurePath(stem).name or str(i))[:LONGEST_ID], tuple(files))
        for i, ((stem, _), files) in enumerate(tiles.items())
    ]
