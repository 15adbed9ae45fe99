"""What is decoded at once, and ahead of the engine: whole tiles, or rows of windows of scenes too large for that."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from service.errors import ServiceError
from service.imagery.decoding.pool import DecodePool, Tile
from service.imagery.errors import ImageryError
from service.imagery.patches import ReadOptions
from service.imagery.windows import Window, count, starts
from service.model.artifact import Artifact
from service.offline.journal import Journal
from service.offline.opening import Opened, by_windows, open_tile
from service.offline.progress import Progress
from service.offline.sources import SourceTile
from service.settings import Settings

PIECE = 128  # patches that are decoded together, of a scene some rows of windows: so few that an engine has work soon
WIDEST = 256  # windows of a row, where a scene has more: 31,000 pixels, of which GDAL's cache holds a row of blocks
AHEAD = 2  # pieces for each decode process that may be decoded, or about to be, before a batch takes them
PATIENCE_S = 60  # for a piece to be decoded, at least: nobody waits on the line, and the machine may be busy
OPENED_AHEAD = 8  # tiles: what lies in S3 takes a while to come
WAITING = 8  # tiles that are open and wait for a decode process: each holds its files, and many systems allow 1024


@dataclass(frozen=True)
class Piece:
    """A tile or a part of it, on its way through a decode process."""

    tile: SourceTile
    window: Window  #: of the tile
    size: tuple[int, int]  #: of the tile: width, height
    patches: int
    patch_size: float  #: bytes of the tile's files, for each patch: by them progress is told
    is_last: bool  #: of its tile
    decoding: asyncio.Task[Tile | None]  #: None: no data


class Room:
    """How far decoding may be ahead of batches, in patches.

    On few processors an engine is slower than one decode process: then this is full, one piece is decoded at a time,
    always by the process that was used last, and no block of a scene twice.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self._taken, self._freed = 0, asyncio.Event()

    async def take(self, patches: int) -> None:
        """Waits until there is room. A piece larger than half of it may have the other half."""
        while self._taken + min(patches, self.most // 2) > self.most:
            self._freed.clear()
            await self._freed.wait()
        self._taken += patches

    def give(self, patches: int) -> None:
        """They are in a batch, or not wanted."""
        self._taken -= patches
        self._freed.set()


class Decoding:
    """Decodes tiles piece by piece, in order, as far ahead as there is room. Whoever has it closes it.

    `folder` is for what is downloaded.
    """

    def __init__(
        self, artifact: Artifact, settings: Settings, options: ReadOptions, journal: Journal, progress: Progress,
        folder: Path,
    ) -> None:  # fmt: skip
        self._input, self._image_size = artifact.manifest.input, artifact.manifest.backbone.image_size
        self._settings, self._options, self._folder = settings, options, folder
        self._journal, self._progress = journal, progress
        self.room = Room(AHEAD * PIECE * settings.decode_workers)
        self._open_tiles = asyncio.Semaphore(settings.decode_workers + WAITING)
        self._pool: DecodePool | None = None  # of what is sent, once there is such a tile

    def _pool_of(self, scene: Sequence[tuple[Path, str | None]] = ()) -> DecodePool:
        return DecodePool(
            self._input.spec,
            self._image_size,
            workers=self._settings.decode_workers,
            timeout_s=max(PATIENCE_S, self._settings.decode_timeout_s),
            memory_mb=self._settings.decode_memory_mb,
            queue=self.room.most,
            scene=scene,
        )

    async def close(self) -> None:
        """Ends the decode processes."""
        if self._pool is not None:
            await self._pool.close()

    async def pieces(self, tiles: Iterable[SourceTile]) -> AsyncIterator[Piece | tuple[SourceTile, ServiceError]]:
        """Pieces that are not done yet, or why a tile has none; the room that a piece takes is the caller's to give."""
        async for tile, opened in self._opened(tiles):
            if isinstance(opened, ServiceError):
                yield tile, opened
            elif opened.is_sent:
                if self._pool is None:
                    self._pool = self._pool_of()
                    await self._pool.start()
                yield await self._whole(opened, self._pool)
            else:
                async for piece in self._windows(opened):
                    yield piece

    async def _opened(self, tiles: Iterable[SourceTile]) -> AsyncIterator[tuple[SourceTile, Opened | ServiceError]]:
        opening: deque[tuple[SourceTile, asyncio.Task[Opened | ServiceError]]] = deque()
        try:
            for tile in tiles:
                opening.append((tile, asyncio.create_task(asyncio.to_thread(self._open, tile))))
                if len(opening) == OPENED_AHEAD:
                    first, task = opening.popleft()
                    yield first, await task
            for tile, task in opening:
                yield tile, await task
        finally:
            tasks = [task for _, task in opening]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)  # asyncio complains of failures that nobody looked at

    def _open(self, tile: SourceTile) -> Opened | ServiceError:
        try:
            return open_tile(tile, self._input.spec, self._options, self._folder)
        except ImageryError as error:
            return ServiceError(error.code, error.detail)  # `of` would say what does larger scenes
        except ServiceError as error:
            return error

    async def _whole(self, opened: Opened, pool: DecodePool) -> Piece:
        width, height = opened.size
        patches = count(width, height, self._input.patch_px, self._options.stride)
        await self.room.take(patches)
        await self._open_tiles.acquire()
        decoding = asyncio.create_task(self._sent(opened, pool))
        return Piece(
            opened.tile, (0, 0, width, height), opened.size, patches, opened.tile.size / patches, True, decoding
        )

    async def _sent(self, opened: Opened, pool: DecodePool) -> Tile | None:
        try:
            with opened.held:
                return await pool.decode(opened.files, self._options, opened.headers)
        finally:
            self._open_tiles.release()

    async def _windows(self, opened: Opened) -> AsyncIterator[Piece]:
        """By a pool of their own, whose processes map the scene."""
        files = zip(opened.paths, opened.tile.files, strict=True)
        pool = self._pool_of([(path, file.band) for path, file in files])
        patch_px, stride = self._input.patch_px, self._options.stride
        patch_size = opened.tile.size / count(*opened.size, patch_px, stride)
        parts = list(parts_of(*opened.size, patch_px, stride))
        unfinished: set[asyncio.Task[Tile | None]] = set()  # no others: what they decoded is the caller's to drop
        with opened.held:
            await pool.start()
            try:
                for window, patches in parts:
                    if self._journal.has(opened.tile.source, window):
                        self._progress.skip(patches * patch_size)
                        continue
                    if opened.tile.source in self._journal.refused:
                        break
                    await self.room.take(patches)
                    decoding = asyncio.create_task(self._window(pool, window))
                    unfinished.add(decoding)
                    decoding.add_done_callback(unfinished.discard)
                    is_last = window == parts[-1][0]
                    yield Piece(opened.tile, window, opened.size, patches, patch_size, is_last, decoding)
                await asyncio.gather(*unfinished, return_exceptions=True)
            finally:
                await pool.close()

    async def _window(self, pool: DecodePool, window: Window) -> Tile | None:
        try:
            return await pool.decode_window(window, by_windows(self._options))
        except ImageryError as error:
            if error.code == "no_valid_pixels":
                return None
            raise


def parts_of(width: int, height: int, patch_px: int, stride: int | None) -> Iterator[tuple[Window, int]]:
    """Parts of a scene and how many windows each has: as many rows of windows as make a piece, or parts of a row.

    Each begins where the one before ends, so that it finds the blocks decoded that both share.
    """
    w, h = min(patch_px, width), min(patch_px, height)
    for some in _in_groups(starts(width, patch_px, stride), WIDEST):
        for rows in _in_groups(starts(height, patch_px, stride), max(1, PIECE // len(some))):
            window = (some[0], rows[0], some[-1] - some[0] + w, rows[-1] - rows[0] + h)
            yield window, len(some) * len(rows)


def _in_groups(numbers: Sequence[int], most: int) -> Iterator[Sequence[int]]:
    for i in range(0, len(numbers), most):
        yield numbers[i : i + most]
