"""GeoTIFFs through the service's own decode processes: the same pixels, and a bad file harms nobody."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from service.imagery import pool as decode
from service.imagery.errors import ImageryError
from service.imagery.patches import InputSpec, ReadOptions, TileFile

AT_ONCE = 64  # tiles read from disk and under way together
TIMEOUT_S, MEMORY_MB = 60.0, 4000  # more than the service gives: scenes on one's own disk are large


def decode_all(
    names: Sequence[str], load: Callable[[str], list[TileFile]], spec: InputSpec, options: ReadOptions
) -> Iterator[tuple[str, decode.Tile | str]]:
    """(name, tile) of each name in order, with the reason in place of the tile where it cannot be read.

    Patches are resized to `spec.patch_px` a side where they differ.
    """
    workers = decode.DecodePool(
        spec, spec.patch_px, workers=decode.usable_cpus(), timeout_s=TIMEOUT_S, memory_mb=MEMORY_MB
    )

    async def one(name: str) -> decode.Tile | str:
        try:
            return await workers.decode(load(name), options)
        except (ImageryError, OSError) as error:
            return str(error)

    async def some(batch: Sequence[str]) -> list[decode.Tile | str]:
        return await asyncio.gather(*map(one, batch))

    with asyncio.Runner() as runner:
        runner.run(workers.start())
        try:
            for start in range(0, len(names), AT_ONCE):
                batch = names[start : start + AT_ONCE]
                yield from zip(batch, runner.run(some(batch)), strict=True)
        finally:
            runner.run(workers.close())


def wkt(footprint: dict[str, Any] | None) -> str | None:
    """A GeoJSON polygon as well-known text."""
    if footprint is None:
        return None
    ring = ", ".join(f"{x} {y}" for x, y in footprint["coordinates"][0])
    return f"POLYGON (({ring}))"
