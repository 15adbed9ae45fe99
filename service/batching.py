"""A thread for each engine, and one queue: no delay when idle, and what waits while they work goes next, together."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from functools import partial
from threading import Thread

import numpy as np
from numpy.typing import NDArray

from service.errors import ServiceError
from service.imagery.pace import Pace
from service.lines import PIECE, Batch, Job, Lines, shares
from service.metrics import Metrics
from service.model.engine import Engine, Engines, Output

log = logging.getLogger("service")


class Batcher:
    """Runs patches through the engines, each in a thread of its own, in batches that form by themselves.

    A thread takes its next batch itself, and leaves the event loop to tell the callers of the last one: an engine that
    waited for the loop in between idled a tenth of its time. Fewer pieces than engines, while nothing else runs, go
    together through the engine that has all processors, if there is one.
    """

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._lines = Lines()
        self.pace = Pace()  #: of one of the engines
        self._engines: Sequence[Engine] = ()
        self._threads: list[Thread] = []

    def start(self, engines: Engines) -> None:
        """Begins to take work; needs a running event loop."""
        self._engines = engines.each
        work = partial(self._work, together=engines.together, loop=asyncio.get_running_loop())
        self._threads = [Thread(target=work, args=(engine,), daemon=True) for engine in engines.each]
        for thread in self._threads:
            thread.start()

    async def close(self) -> None:
        """Returns when the batches that run are done, and their callers told; what waits is cancelled."""
        self._lines.close()
        for thread in self._threads:
            await asyncio.to_thread(thread.join)

    @property
    def engines(self) -> int:
        """How many there are, each with a batch of its own at a time."""
        return len(self._engines)

    @property
    def largest_batch(self) -> int:
        """Patches that one engine takes at a time."""
        return self._engines[0].largest_batch

    def queued(self) -> tuple[int, int]:
        """Patches that wait or are in an engine, by line (see `Lines`)."""
        first, more = self._lines.patches
        return first, more

    def seconds(self, patches: int) -> float:
        """That so many take, on all engines, by the speed seen so far."""
        if not self._engines:
            return 0.0
        batches = -(-patches // self.largest_batch)
        return self.pace.seconds(patches, batches) / len(self._engines)

    async def run(self, images: NDArray[np.uint8], tokens: bool = False, before: int = 0) -> Output:
        """N × image_size × image_size × C through the engines, `before` being patches of the same request.

        Raises ServiceError engine_failed.
        """
        in_first, _ = shares(len(images), before)
        lines = [
            [Job(piece, tokens) for piece in _pieces(images[part])] for part in (slice(in_first), slice(in_first, None))
        ]
        self._lines.put(*lines)
        jobs = [*lines[0], *lines[1]]
        try:
            outputs = [await job.result for job in jobs]
        finally:
            for job in jobs:  # one that failed leaves none behind
                job.result.cancel()
        return outputs[0] if len(outputs) == 1 else await asyncio.to_thread(_joined, outputs)

    def _work(self, engine: Engine, together: Engine | None, loop: asyncio.AbstractEventLoop) -> None:
        """A thread of its own."""
        tray, threads = _Tray(), len(self._engines) if together else 0
        while batch := self._lines.take(engine.largest_batch, threads):
            busy = len(self._engines) if batch.is_alone else 1
            started = time.perf_counter()
            try:
                output = _through(together if together and batch.is_alone else engine, tray, batch)
                loop.call_soon_threadsafe(self._answer, batch, output, busy * (time.perf_counter() - started))
            except Exception as error:  # whatever it is, callers are told and the next batch is tried
                loop.call_soon_threadsafe(self._fail, batch, error)
            finally:
                if batch.is_alone:
                    self._lines.give_back()

    def _fail(self, batch: Batch, error: Exception) -> None:
        self._metrics.engine_failures.inc()
        for job in batch.jobs:
            if not job.result.done():
                job.result.set_exception(ServiceError("engine_failed", "The model failed on this batch; try again."))
                job.result.exception()  # seen, even if the caller has left
        log.error("a batch of %d patches failed", batch.patches, exc_info=error)

    def _answer(self, batch: Batch, output: Output, seconds: float) -> None:
        self.pace.add(batch.patches, seconds)
        self._metrics.batch_size.observe(batch.patches)
        start = 0
        for job in batch.jobs:
            here = slice(start, start + len(job.images))
            start = here.stop
            if not job.result.done():
                job.result.set_result(
                    Output(
                        output.embeddings[here],
                        output.logits[here],
                        output.tokens[here] if output.tokens is not None and job.tokens else None,
                    )
                )


class _Tray:
    """What an engine's batches lie on: memory that stays, as the kernel takes 1.2 ms to make new for 16 of 224 px."""

    def __init__(self) -> None:
        self._images = np.empty((0, 0, 0, 0), np.uint8)

    def of(self, batch: Batch) -> NDArray[np.uint8]:
        """The batch's images together, until the next."""
        if batch.patches > len(self._images):
            self._images = np.empty((batch.patches, *batch.jobs[0].images.shape[1:]), np.uint8)
        return np.concatenate([job.images for job in batch.jobs], out=self._images[: batch.patches])


def _pieces(images: NDArray[np.uint8]) -> list[NDArray[np.uint8]]:
    """As few as can be, and of about one size, so that engines that share them end together."""
    return np.array_split(images, -(-len(images) // PIECE)) if len(images) else []


def _through(engine: Engine, tray: _Tray, batch: Batch) -> Output:
    """In the engine's thread: large batches take long to copy, too."""
    output = engine.run(tray.of(batch), any(job.tokens for job in batch.jobs))
    if not (np.isfinite(output.embeddings).all() and np.isfinite(output.logits).all()):
        raise FloatingPointError("the engine gave values that are not finite")
    return output


def _joined(outputs: Sequence[Output]) -> Output:
    tokens = [output.tokens for output in outputs if output.tokens is not None]
    return Output(
        np.concatenate([output.embeddings for output in outputs]),
        np.concatenate([output.logits for output in outputs]),
        np.concatenate(tokens) if tokens else None,
    )
