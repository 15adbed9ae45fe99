"""A supervised pool of decode processes: nothing untrusted is decoded in the process that serves."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.imagery.decoding import frames
from service.imagery.decoding.fork_server import ForkServer
from service.imagery.decoding.headers import HeaderWalk
from service.imagery.decoding.places import Places
from service.imagery.decoding.process import DecodeProcess, Frame
from service.imagery.decoding.processes import Processes
from service.imagery.errors import ImageryError
from service.imagery.pace import Pace
from service.imagery.patches import InputSpec, PatchFacts, ReadOptions, TileFile
from service.imagery.tiff.header import Header
from service.imagery.tiff.limits import Limits

LARGE_BYTES = 8 * 2**20  # decoded: 0.2 to 0.4 s, by the codec, where a patch takes 2 ms
NICENESS = 10  # a tenth of the processor's time of one that is not nice: sched(7)
PATIENCE = 3  # times as long, by the clock, is waited for what is nice; it computes no longer: sandbox.allow_cpu


@dataclass(frozen=True)
class Tile:
    """A decoded tile: one image and its facts for each patch."""

    images: NDArray[np.uint8]  #: N × image_size × image_size × C
    facts: tuple[PatchFacts, ...]


class DecodeFailure(RuntimeError):
    """A fault of ours in a decode process; the message is its traceback."""


class DecodePool:
    """At most `workers` tiles are decoded at once, each in a process of its own; `queue` more may wait.

    A process that hangs or dies is replaced. One more than `workers` is kept, so that the next tile need not wait
    until another has started. A tile is given `timeout_s` seconds, a process `memory_mb` MiB of address space.
    Tiles that decode to more than LARGE_BYTES, or that are told to give way, have processes beside these, one less than
    `workers` (at least one), and nice(2), lest the others wait.

    `scene` are the files of a tile too large to send, each with its band, or None for one with all bands: the
    processes map them, and windows of that tile can be decoded too; each keeps them open, and the blocks that its next
    window shares.
    """

    def __init__(
        self,
        spec: InputSpec,
        image_size: int,
        *,
        workers: int,
        timeout_s: float,
        memory_mb: int,
        queue: int = 1024,
        scene: Sequence[tuple[Path, str | None]] = (),
    ) -> None:
        self._spec, self._image_size, self._timeout_s = spec, image_size, timeout_s
        config = json.dumps(
            {
                "spec": asdict(spec),
                "image_size": image_size,
                "memory_mb": memory_mb,
                "timeout_s": timeout_s,
                "scene": [(str(file), band) for file, band in scene],
            }
        )
        for_nice = max(1, workers - 1)
        self._workers, self._nice_workers = workers, for_nice
        self.pace, self.nice_pace = Pace(), Pace()
        self._server = ForkServer(config)
        self._kept = Processes(self._server, workers + 1)
        self._kept_nice = Processes(self._server, for_nice, NICENESS)
        self._places, self._walk = Places(workers, for_nice, queue), HeaderWalk(spec.bands)
        self._exchanges: set[asyncio.Task[Tile]] = set()

    async def start(self) -> None:
        """Starts all processes and waits until each is ready. Raises PoolBroken."""
        await asyncio.gather(self._kept.start(), self._kept_nice.start())

    @property
    def processes(self) -> list[int]:
        """Process ids of those that are ready or decode, for whoever watches them."""
        return sorted([*self._kept.ids, *self._kept_nice.ids])

    def raise_if_broken(self) -> None:
        """Raises PoolBroken once a replacement could not be started, or the pool is closed."""
        self._kept.raise_if_broken()
        self._kept_nice.raise_if_broken()

    async def close(self) -> None:
        """Ends all processes; whoever waits for one, or asks from now on, gets PoolBroken."""
        await asyncio.gather(self._kept.close(), self._kept_nice.close())
        await self._server.close()
        await asyncio.gather(*self._exchanges, return_exceptions=True)

    async def headers(self, files: Sequence[TileFile], limits: Limits) -> list[Header]:
        """What `decode` is to know of a tile; what this forbids need not wait (see `HeaderWalk`).

        Raises ImageryError as `header.read` does.
        """
        return await self._walk.of(files, limits)

    def seconds(self, patches: int, tiles: int, *, gives_way: bool = False) -> float:
        """Until so many tiles, of so many patches together, would be decoded, by the speed seen so far."""
        if gives_way:
            return self.nice_pace.seconds(patches, tiles) / self._nice_workers
        return self.pace.seconds(patches, tiles) / self._workers

    @staticmethod
    def is_large(headers: Sequence[Header]) -> bool:
        """True for a tile that gives way to others in any case."""
        return sum(about.decoded_bytes for about in headers) > LARGE_BYTES

    async def decode(
        self, files: Sequence[TileFile], options: ReadOptions, headers: Sequence[Header], *, gives_way: bool = False
    ) -> Tile:
        """The patches of one tile (see `reader.read_tile`), resized to the model's input.

        `headers` are those of `self.headers`. Raises ImageryError; beside the codes of the reader, decode_timeout and
        decode_crashed. Raises QueueFull, and PoolBroken once a process could not be replaced. A caller that is
        cancelled ends no process: a tile that waits is dropped, one that is being decoded is decoded to its end.
        """
        gives_way |= self.is_large(headers)
        return await self._ask(*frames.request(files, options), gives_way=gives_way)

    async def decode_window(self, window: tuple[int, int, int, int], options: ReadOptions) -> Tile:
        """The patches of a window (column, row, width, height) of the pool's scene (see `scene.read_window`).

        Raises what `decode` does, and bad_option for a window that lies outside the scene.
        """
        return await self._ask(*frames.request([], replace(options, window=window)), gives_way=False)

    async def _ask(self, head: dict[str, Any], blobs: Sequence[frames.Bytes], *, gives_way: bool) -> Tile:
        place = await self._places.take(gives_way=gives_way)
        kept = self._kept_nice if gives_way else self._kept
        exchange = asyncio.create_task(self._exchange(head, blobs, kept, place))
        self._exchanges.add(exchange)
        exchange.add_done_callback(self._forget)
        return await asyncio.shield(exchange)

    def _forget(self, exchange: asyncio.Task[Tile]) -> None:
        self._exchanges.discard(exchange)
        if not exchange.cancelled():
            exchange.exception()  # asyncio complains of one that nobody looked at, and a caller may have gone

    async def _exchange(
        self, head: dict[str, Any], blobs: Sequence[frames.Bytes], kept: Processes, place: AsyncExitStack
    ) -> Tile:
        """What a process says to a request, whose place it gives back."""
        began = time.perf_counter()
        async with place:
            answer = None
            while answer is None:  # that a process died idle is no fault of the tile
                process = await kept.take()
                answer = await self._answer(process, head, blobs, PATIENCE if kept is self._kept_nice else 1)
            kept.give_back(process)
        tile = self._tile(*answer)
        pace = self.nice_pace if kept is self._kept_nice else self.pace
        pace.add(len(tile.facts), time.perf_counter() - began)
        return tile

    async def _answer(
        self, process: DecodeProcess, head: dict[str, Any], blobs: Sequence[frames.Bytes], patience: int
    ) -> Frame | None:
        began = time.monotonic()
        try:
            async with asyncio.timeout(patience * self._timeout_s):
                return await process.ask(head, blobs)
        except BaseException as error:
            process.kill()
            has_crashed = isinstance(error, asyncio.IncompleteReadError)
            if has_crashed:
                self.raise_if_broken()
            is_late = time.monotonic() - began > self._timeout_s  # the kernel may have ended what computed so long
            if isinstance(error, TimeoutError) or (has_crashed and is_late):
                raise ImageryError(
                    "decode_timeout",
                    f"Decoding took longer than {self._timeout_s:g} s; send a smaller or simpler file.",
                    {"decode_timeout_s": self._timeout_s},
                ) from None
            if has_crashed:
                raise ImageryError("decode_crashed", "Decoding this file ended its decode process.") from None
            raise

    def _tile(self, head: dict[str, Any], blobs: Sequence[bytes]) -> Tile:
        if "error" in head:
            raise ImageryError(**head["error"])
        if "failure" in head:
            raise DecodeFailure(head["failure"])
        images = np.frombuffer(blobs[0], np.uint8)
        images = images.reshape(-1, self._image_size, self._image_size, len(self._spec.bands))
        return Tile(images, tuple(frames.parse_facts(facts) for facts in head["patches"]))
