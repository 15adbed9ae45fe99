"""Tiles as requests bring them: at hand, refused already, or still to be fetched or decoded (`bodies.instances`)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from service.errors import ServiceError
from service.imagery.patches import TileFile

LONGEST_ID = 256


class TileRequest(Protocol):
    """One tile of a request. Whatever is wrong with it is known when it is loaded, and is its own fault alone."""

    @property
    def id(self) -> str:
        """What its predictions are called by."""

    async def load(self) -> tuple[TileFile, ...]:
        """A GeoTIFF, or its bands as files. Raises ServiceError."""


@dataclass(frozen=True)
class TileAtHand:
    """A tile whose files came with the request."""

    id: str
    files: tuple[TileFile, ...]

    async def load(self) -> tuple[TileFile, ...]:
        """See `TileRequest`."""
        return self.files


@dataclass(frozen=True)
class RefusedTile:
    """A tile that cannot be read from its request; it keeps its place among the others."""

    id: str
    error: ServiceError

    async def load(self) -> tuple[TileFile, ...]:
        """See `TileRequest`."""
        raise self.error
