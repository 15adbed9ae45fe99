"""Tiles as JSON: `{"instances": […], "options": {…}}`, or JSON Lines with one instance a line.

An instance holds its GeoTIFF as base64, or names it, or the file of each of its bands, in S3.
"""

from __future__ import annotations

import asyncio
import base64
import string
from dataclasses import dataclass
from pathlib import PurePath
from typing import Annotated, Any, Self

import orjson
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from service.bodies.reading import Reading
from service.errors import ServiceError
from service.imagery.bands import band_at_the_end, canonical
from service.imagery.patches import TileFile
from service.sources import S3_URI
from service.tiles import LONGEST_ID, RefusedTile, TileRequest

MARKS_AN_INSTANCE = 80  # commas and brackets; 64 bands need 69
ROOM_AN_INSTANCE = 4000  # bytes outside strings, spaces for the eye and numbers among them
MOST_BANDS = 64  # of one tile
SHAPE = 'an instance is {"id": …} with one of "image" (a GeoTIFF in base64), "s3_uri" or "bands" ({"B04": s3 URI, …})'

S3Uri = Annotated[str, StringConstraints(pattern=S3_URI, max_length=1100)]


class Instance(BaseModel):
    """One tile of a JSON body."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: Annotated[str, Field(min_length=1, max_length=LONGEST_ID, coerce_numbers_to_str=True)] | None = Field(
        None, description="Default: the stem of the file's name, or the position."
    )
    image: str | None = Field(None, description="A GeoTIFF in base64.")
    s3_uri: S3Uri | None = Field(None, description="A GeoTIFF under one of ALLOWED_S3_PREFIXES.")
    bands: Annotated[dict[str, S3Uri], Field(min_length=1, max_length=MOST_BANDS)] | None = Field(
        None, description="The single-band GeoTIFF of each band, by the band's name."
    )

    @model_validator(mode="after")
    def _says_one_thing(self) -> Self:
        if sum(value is not None for value in (self.image, self.s3_uri, self.bands)) != 1:
            raise ValueError("exactly one of image, s3_uri and bands must be given")
        return self

    @property
    def stem(self) -> str:
        """Of its file's name, without the band that one band's file ends in; empty if it has none."""
        if self.bands is not None:
            of_bands = band_at_the_end(next(iter(self.bands.values())))
            return PurePath(of_bands[0]).name if of_bands else ""
        return PurePath(self.s3_uri or "").stem


@dataclass(frozen=True)
class InstanceTile:
    """A tile whose image is still base64, or still in S3."""

    id: str
    instance: Instance
    reading: Reading

    async def load(self) -> tuple[TileFile, ...]:
        """See `TileRequest`."""
        if self.instance.image is not None:
            return (TileFile(await asyncio.to_thread(_decoded, self.instance.image)),)
        if self.instance.s3_uri is not None:
            return (TileFile(await self.reading.fetch(self.instance.s3_uri)),)
        return tuple(await asyncio.gather(*(self._load(*band) for band in (self.instance.bands or {}).items())))

    async def _load(self, band: str, uri: str) -> TileFile:
        is_read = canonical(band) in map(canonical, self.reading.bands)  # the others only tell that they are there
        return TileFile(await self.reading.fetch(uri) if is_read else b"", canonical(band))


def of_json(body: bytearray, reading: Reading) -> tuple[list[TileRequest], dict[str, Any]]:
    """The tiles and the options of a JSON body. Raises ServiceError empty_body, bad_json, too_many_instances."""
    if not body.strip():
        raise ServiceError("empty_body", f'The body is empty; send {{"instances": […]}}, where {SHAPE}.')
    said = _parsed(body, reading.max_instances)
    if not isinstance(said, dict) or not isinstance(said.get("instances"), list):
        raise ServiceError("bad_json", f'The body must be {{"instances": […]}}, where {SHAPE}.')
    options = said.get("options", {})
    if not isinstance(options, dict) or said.keys() - {"instances", "options"}:
        detail = 'Beside "instances" the body may have "options", an object, and nothing else.'
        raise ServiceError("bad_json", detail)
    if not said["instances"]:
        raise ServiceError("empty_body", "The body has no instances; send at least one.")
    reading.refuse_over(len(said["instances"]))
    return [_tile(i, instance, reading) for i, instance in enumerate(said["instances"])], options


def of_json_lines(body: bytearray, reading: Reading) -> list[TileRequest]:
    """The tiles of a JSON Lines body, one a line; blank lines are none.

    Raises ServiceError empty_body, bad_json, too_many_instances.
    """
    if body.count(b"\n") > MARKS_AN_INSTANCE * reading.max_instances:
        raise ServiceError("bad_json", f"The body holds far more lines than it may have instances: {SHAPE}.")
    lines = [line for line in body.split(b"\n") if line.strip()]
    if not lines:
        raise ServiceError("empty_body", f"The body has no lines; send one instance a line: {SHAPE}.")
    reading.refuse_over(len(lines))
    return [_tile_of_line(i, line, reading) for i, line in enumerate(lines)]


def _parsed(text: bytearray, instances: int) -> Any:
    _refuse_what_takes_long(text, instances)
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise ServiceError("bad_json", f"This is no JSON ({error}); {SHAPE}.") from None


def _refuse_what_takes_long(text: bytearray, instances: int) -> None:
    """Parsing keeps every thread waiting, health checks too: 10 s for 25 MB of brackets, 0.1 s if they are images."""
    most = MARKS_AN_INSTANCE * instances
    if text.count(b'"') <= 4 * most:
        bare = b"".join(text.replace(rb"\\", b"").replace(rb"\"", b"").split(b'"')[::2])  # without its strings
        if sum(map(bare.count, (b",", b"[", b"{"))) <= most and len(bare) <= ROOM_AN_INSTANCE * instances:
            return
    raise ServiceError("bad_json", f"The body holds far more than its instances can need: {SHAPE}.")


def _tile_of_line(position: int, line: bytearray, reading: Reading) -> TileRequest:
    try:
        return _tile(position, _parsed(line, instances=1), reading)
    except ServiceError as error:
        return RefusedTile(str(position), error)


def _tile(position: int, said: Any, reading: Reading) -> TileRequest:
    """The tile that an instance stands for; one that cannot be understood is refused in its place."""
    try:
        instance = Instance.model_validate(said)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(map(str, first["loc"]))[:64]
        about = f"{where}: {first['msg']}" if where else first["msg"]
        known = said.get("id") if isinstance(said, dict) else None
        name = str(known)[:LONGEST_ID] if isinstance(known, str | int) and known != "" else str(position)
        return RefusedTile(name, ServiceError("bad_json", f"{about}; {SHAPE}."))
    return InstanceTile(instance.id or instance.stem[:LONGEST_ID] or str(position), instance, reading)


def _decoded(image: str) -> bytes:
    try:
        return base64.b64decode(image.encode().translate(None, string.whitespace.encode()), validate=True)
    except ValueError:
        raise ServiceError("bad_base64", "The image is no base64 (RFC 4648, section 4, with padding).") from None
