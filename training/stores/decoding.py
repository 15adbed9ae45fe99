"""GeoTIFFs through the service's own decode processes: the same pixels, and a bad file harms nobody."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from service.cpus import usable_cpus
from service.imagery.decoding.pool import DecodePool, Tile
from service.imagery.errors import ImageryError
from service.imagery.outline import well_known_binary
from service.imagery.patches import InputSpec, ReadOptions, TileFile

AT_ONCE = 64  # names between two looks at what is done
TIMEOUT_S, MEMORY_MB = 300.0, 12_000  # more than the service gives: a whole Sentinel-2 tile is 10,980² pixels


def decode_all(
    names: Sequence[str], load: Callable[[str], list[TileFile]], spec: InputSpec, options: ReadOptions
) -> Iterator[tuple[str, Tile | str]]:
    """(name, tile) of each name in order, with the reason in place of the tile where it cannot be read.

    Patches are resized to `spec.patch_px` a side where they differ.
    """
    cpus = usable_cpus()
    workers = DecodePool(spec, spec.patch_px, workers=cpus, timeout_s=TIMEOUT_S, memory_mb=MEMORY_MB)
    in_memory = asyncio.Semaphore(cpus + 1)  # one is read from disk while the others are decoded

    async def one(name: str) -> Tile | str:
        async with in_memory:
            try:
                files = load(name)
                return await workers.decode(files, options, await workers.headers(files, options.limits))
            except (ImageryError, OSError) as error:
                return str(error)

    async def some(batch: Sequence[str]) -> list[Tile | str]:
        return await asyncio.gather(*map(one, batch))

    with asyncio.Runner() as runner:
        runner.run(workers.start())
        try:
            for start in range(0, len(names), AT_ONCE):
                batch = names[start : start + AT_ONCE]
                yield from zip(batch, runner.run(some(batch)), strict=True)
        finally:
            runner.run(workers.close())


def wkb(footprint: dict[str, Any] | None) -> bytes | None:
    """A footprint in GeoJSON as well-known binary."""
    return well_known_binary(footprint) if footprint else None
