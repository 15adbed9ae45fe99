"""Tiles to predictions: decode, run, read. Owns the decode processes and the engine, and knows whether they work."""

from __future__ import annotations

import asyncio
import gc
import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from service.admission import Admission
from service.batching import Batcher
from service.errors import ServiceError
from service.imagery.decoding import self_test
from service.imagery.decoding.fork_server import PoolBroken
from service.imagery.decoding.places import QueueFull
from service.imagery.decoding.pool import DecodePool
from service.imagery.errors import ImageryError
from service.imagery.patches import PatchFacts, ReadOptions
from service.lines import FIRST
from service.metrics import Metrics
from service.model import engine as engines
from service.model.artifact import Artifact
from service.pixels import PixelRoom
from service.settings import Settings
from service.tiles import TileAtHand, TileRequest

TEST_EVERY_S = 5.0  # when no real patch went through for so long
WORKS_FOR_S = 30.0  # after the last patch that went through
TESTS_THAT_MAY_FAIL = 3  # in a row, before the service gives up
log = logging.getLogger("service")


@dataclass(frozen=True)
class Prediction:
    """One patch as the model sees it."""

    id: str
    facts: PatchFacts
    embedding: NDArray[np.float32]  #: dim
    logits: NDArray[np.float32]  #: labels
    tokens: NDArray[np.float32] | None  #: rows × columns × dim
    pixels: NDArray[np.uint8] | None = None  #: image_size × image_size × C, as the engine had them


@dataclass(frozen=True)
class Refusal:
    """A tile that was refused, among others that were not."""

    id: str
    error: ServiceError


TileResult = list[Prediction] | Refusal  #: one prediction for each patch of the tile, or why there is none


@dataclass
class _Request:
    """What the tiles of one request have in common, and have taken so far."""

    room: PixelRoom
    tokens: bool = False  #: whether token embeddings are wanted
    pixels: bool = False  #: whether the engine's input is
    patches: int = 0


class Featurizer:
    """Loads in the background; `status` says how it stands."""

    def __init__(self, artifact: Artifact, settings: Settings, metrics: Metrics) -> None:
        self.artifact, self._settings, self._metrics = artifact, settings, metrics
        manifest = artifact.manifest
        self._spec = manifest.input.spec
        self._pool = DecodePool(
            self._spec,
            manifest.backbone.image_size,
            workers=settings.decode_workers,
            timeout_s=settings.decode_timeout_s,
            memory_mb=settings.decode_memory_mb,
            queue=settings.decode_queue,
        )
        self._engine = Batcher(metrics)
        self._admission = Admission(self._pool, self._engine, settings.max_wait_s)
        self.in_flight = 0  #: requests being answered
        metrics.in_flight.set_function(lambda: self.in_flight)
        metrics.waiting.set_function(lambda: self._admission.waiting)
        self._worked_at = -WORKS_FOR_S
        self.status: Literal["loading", "ready", "draining"] = "loading"
        self.engine_name = ""

    @property
    def works(self) -> bool:
        """True if ready and a patch went through lately."""
        return self.status == "ready" and time.monotonic() - self._worked_at < WORKS_FOR_S

    def is_busy(self) -> bool:
        """True while patches are decoded, wait for an engine or are in one."""
        return self._admission.waiting > 0

    async def live(self) -> None:
        """Loads, then tests itself now and then. Returns never; raises what cannot be mended."""
        loading = asyncio.to_thread(engines.choose, self.artifact, self._settings.threads, self._settings.engine)
        found, _ = await asyncio.gather(loading, self._pool.start())
        self.engine_name = found.name
        log.info("engine %s", self.engine_name)
        self._engine.start(found)
        await self._test()
        gc.collect()
        gc.freeze()  # what is loaded for good: each look at it by the collector held every thread for 0.4 s
        if self.status == "loading":
            self.status = "ready"
        failed = 0
        while True:
            await asyncio.sleep(TEST_EVERY_S)
            self._pool.raise_if_broken()
            if time.monotonic() - self._worked_at < TEST_EVERY_S:
                failed = 0
                continue
            try:
                await self._test()
                failed = 0
            except (ServiceError, ImageryError) as error:
                failed += error.code != "overloaded"  # to have much to do is no fault
                if failed == TESTS_THAT_MAY_FAIL:
                    raise

    async def close(self) -> None:
        """Ends the decode processes and the engine."""
        await self._pool.close()
        await self._engine.close()

    async def _test(self) -> None:
        tile, options = TileAtHand("self-test", self_test.tile(self._spec)), ReadOptions()
        await self._predict_tile(tile, options, _Request(PixelRoom(options.limits.max_pixels)))

    @contextmanager
    def answering(self) -> Iterator[None]:
        """Around a request, so that draining knows of it."""
        self.in_flight += 1
        try:
            yield
        finally:
            self.in_flight -= 1

    def raise_unless_ready(self) -> None:
        """Raises ServiceError loading or draining."""
        if self.status != "ready":
            raise ServiceError(self.status, "The service does not take work at this time; try again.", retry_after_s=5)

    def admit(self, tiles: int) -> None:
        """Raises ServiceError overloaded if `tiles` more, of a patch each, would be answered late."""
        self._admission.refuse_late(tiles, tiles)

    async def predict(
        self, tiles: Sequence[TileRequest], options: ReadOptions, tokens: bool, pixels: bool = False
    ) -> list[TileResult]:
        """What came of each tile, in order; one that is refused does not stop the others."""
        request = _Request(PixelRoom(options.limits.max_pixels), tokens, pixels)
        each = [self._predict_or_refuse(tile, options, request) for tile in tiles]
        done = [await each[0]] if len(each) == 1 else await asyncio.gather(*each)  # one needs no task of its own
        self._metrics.patches.inc(sum(len(result) for result in done if not isinstance(result, Refusal)))
        return done

    async def _predict_or_refuse(self, tile: TileRequest, options: ReadOptions, request: _Request) -> TileResult:
        try:
            return await self._predict_tile(tile, options, request)
        except ImageryError as error:
            refusal = ServiceError.of(error)
        except ServiceError as error:
            refusal = error
        except Exception as error:  # a fault of ours in one tile is not the others'
            refusal = ServiceError.unforeseen(error)
        self._metrics.refused_tiles.labels(refusal.code).inc()
        return Refusal(tile.id, refusal)

    async def _predict_tile(self, tile: TileRequest, options: ReadOptions, request: _Request) -> list[Prediction]:
        """Predictions of one tile's patches. Raises ImageryError and ServiceError."""
        with self._admission.arriving():
            files = await tile.load()
            headers = await self._pool.headers(files, options.limits)
        before = request.patches
        patches = request.room.take(headers, self._spec.patch_px, options.stride)
        gives_way = before >= FIRST or self._pool.is_large(headers)
        self._admission.refuse_late(patches, before=before, gives_way=gives_way)
        request.patches += patches
        try:
            with self._admission.decoding(patches, before, gives_way=gives_way):
                decoded = await self._pool.decode(files, options, headers, gives_way=gives_way)
        except QueueFull:
            raise self._admission.queue_full(self._settings.decode_queue) from None
        except PoolBroken:
            raise ServiceError("engine_failed", "Decoding has broken down; try again.", retry_after_s=30) from None
        output = await self._engine.run(decoded.images, request.tokens, before)
        self._worked_at = time.monotonic()
        return [
            Prediction(
                tile.id,
                facts,
                output.embeddings[i],
                output.logits[i],
                output.tokens[i] if output.tokens is not None else None,
                decoded.images[i] if request.pixels else None,
            )
            for i, facts in enumerate(decoded.facts)
        ]
