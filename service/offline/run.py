"""Tiles to rows: decoded ahead, through the engine in full batches, written as they come, in order."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.answers import parquet, records
from service.batching import Batcher
from service.errors import ServiceError
from service.featurizer import Prediction
from service.formats import geoparquet
from service.imagery import outline
from service.imagery.decoding.pool import Tile
from service.imagery.errors import ImageryError
from service.imagery.patches import PatchFacts
from service.model.artifact import Artifact
from service.model.engine import Output
from service.offline.journal import Journal
from service.offline.pieces import Decoding, Piece
from service.offline.progress import Progress
from service.offline.sources import SourceTile
from service.options import Options

Ahead = Piece | tuple[SourceTile, ServiceError]  #: what is decoded, or why a tile is not

IN_ENGINE = 2  # batches for each at a time: while one is written, the next is at work
WRITTEN = 16  # patches of a batch, at least, though an engine may take fewer: to write fewer takes as long


@dataclass
class Batch:
    """Patches that go through the engine together, and the pieces whose last patch is among them."""

    images: list[NDArray[np.uint8]] = field(default_factory=list)
    patches: list[tuple[Piece, PatchFacts]] = field(default_factory=list)
    ends: list[Piece] = field(default_factory=list)


class Run:
    """Puts tiles through the engine. What a journal has is not done again."""

    def __init__(
        self, artifact: Artifact, options: Options, engine: Batcher, decoding: Decoding, journal: Journal,
        progress: Progress,
    ) -> None:  # fmt: skip
        self._artifact, self._options, self._engine = artifact, options, engine
        self._decoding, self._journal, self._progress = decoding, journal, progress
        self._schema, self._model = parquet.schema(artifact, options), records.of_model(artifact)
        patch_px = artifact.manifest.input.patch_px
        self._share_of_ground = min(1.0, ((options.stride or patch_px) / patch_px) ** 2)  # that overlaps leave
        self._in_engine: deque[tuple[Batch, asyncio.Task[Output | None]]] = deque()
        self._batch, self._full = Batch(), max(WRITTEN, engine.largest_batch)

    async def embed(self, tiles: Sequence[SourceTile]) -> None:
        """Every tile is in the journal then, finished or refused. Raises ServiceError engine_failed, PoolBroken."""
        ahead: asyncio.Queue[Ahead | None] = asyncio.Queue()
        decoding = asyncio.create_task(self._decode(tiles, ahead))
        try:
            while (piece := await ahead.get()) is not None:
                await self._take(piece)
            await decoding
            await self._submit(keep=0)
            self._progress.finish()
        finally:
            tasks = [decoding, *(output for _, output in self._in_engine)]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _decode(self, tiles: Sequence[SourceTile], ahead: asyncio.Queue[Ahead | None]) -> None:
        try:
            async for piece in self._decoding.pieces(tiles):
                ahead.put_nowait(piece)
        finally:
            ahead.put_nowait(None)

    async def _take(self, piece: Ahead) -> None:
        """Adds a piece's patches to the batch; batches that are full go to the engine."""
        if not isinstance(piece, Piece):
            tile, error = piece
            self._journal.refuse(tile.source, error.code, error.detail)
            self._progress.advance(tile.size)
            return
        decoded = await self._decoded(piece)
        self._decoding.room.give(piece.patches)
        left, written = piece.patches, self._journal.written(piece.tile.source)
        for image, facts in zip(decoded.images, decoded.facts, strict=True) if decoded is not None else ():
            if facts.window not in written:
                self._batch.images.append(image)
                self._batch.patches.append((piece, facts))
                left -= 1
            if len(self._batch.images) == self._full:
                await self._submit(keep=IN_ENGINE * self._engine.engines)
        self._batch.ends.append(piece)
        self._progress.advance(left * piece.patch_size)

    async def _decoded(self, piece: Piece) -> Tile | None:
        """None: no data, or its tile is refused."""
        if piece.tile.source in self._journal.refused:
            return None
        try:
            return await piece.decoding
        except ImageryError as error:
            self._journal.refuse(piece.tile.source, error.code, error.detail)
            return None

    async def _submit(self, keep: int) -> None:
        """The batch to the engine, of whose batches all but the last `keep` are written."""
        batch, self._batch = self._batch, Batch()
        self._in_engine.append((batch, asyncio.create_task(self._output(batch.images))))
        while len(self._in_engine) > keep:
            first, output = self._in_engine[0]
            self._write(first, await output)
            self._in_engine.popleft()

    async def _output(self, images: Sequence[NDArray[np.uint8]]) -> Output | None:
        return await self._engine.run(np.stack(images)) if images else None

    def _write(self, batch: Batch, output: Output | None) -> None:
        if output is not None:
            rows = list(self._rows(batch.patches, output))
            self._journal.write(geoparquet.table(rows, self._model, self._schema))
            self._progress.advance(sum(piece.patch_size for piece, _ in batch.patches))
            self._progress.count(len(rows), self._share_of_ground * sum(map(_ground_m2, rows)))
        for piece in batch.ends:
            self._end(piece)

    def _rows(self, patches: Sequence[tuple[Piece, PatchFacts]], output: Output) -> Iterator[dict[str, Any]]:
        for (piece, facts), embedding, logits in zip(patches, output.embeddings, output.logits, strict=True):
            prediction = Prediction(piece.tile.id, facts, embedding, logits, None)
            (record,) = records.of_tile([prediction], self._artifact, self._options)
            yield {"source": piece.tile.source, **record}

    def _end(self, piece: Piece) -> None:
        source = piece.tile.source
        if source in self._journal.refused:
            return
        if not piece.is_last:
            self._journal.finish_piece(source, piece.window)
        elif self._journal.patches[source]:
            self._journal.finish(source, piece.size)
        else:
            self._journal.refuse(source, "no_valid_pixels", "None of the scene's windows holds enough data.")


def _ground_m2(row: Mapping[str, Any]) -> float:
    footprint = row["footprint"]
    return outline.area_m2(footprint) if footprint else 0.0
