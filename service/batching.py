"""An owner for each engine, and one queue: no delay when idle, and what waits while they work goes next, together."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from service.errors import ServiceError
from service.imagery.pace import Pace
from service.lines import PIECE, Job, Lines, shares
from service.metrics import Metrics
from service.model.engine import Engine, Output

log = logging.getLogger("service")


class Batcher:
    """Runs patches through the engines, each in a thread of its own, in batches that form by themselves."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._lines = Lines()
        self.pace = Pace()
        self._engines: Sequence[Engine] = ()
        self._owners: list[asyncio.Task[None]] = []

    def start(self, engines: Sequence[Engine]) -> None:
        """Begins to take work; needs a running event loop."""
        self._engines = engines
        self._owners = [asyncio.create_task(self._own(engine)) for engine in engines]

    async def close(self) -> None:
        """Ends the owners when their batches are done; what waits is cancelled."""
        for owner in self._owners:
            owner.cancel()
        await asyncio.gather(*self._owners, return_exceptions=True)
        self._lines.clear()

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
        jobs = []
        for line, (start, end) in enumerate(((0, in_first), (in_first, len(images)))):
            for at in range(start, end, PIECE):
                jobs.append(Job(images[at : min(at + PIECE, end)], tokens))
                self._lines.put(jobs[-1], line)
        try:
            outputs = [await job.result for job in jobs]
        finally:
            for job in jobs:  # one that failed leaves none behind
                job.result.cancel()
        return outputs[0] if len(outputs) == 1 else await asyncio.to_thread(_joined, outputs)

    async def _own(self, engine: Engine) -> None:
        tray = _Tray()
        with ThreadPoolExecutor(1, "engine") as thread:
            while True:
                await self._run_batch(engine, tray, thread, await self._lines.take(engine.largest_batch))

    async def _run_batch(self, engine: Engine, tray: _Tray, thread: ThreadPoolExecutor, batch: list[Job]) -> None:
        count = sum(len(job.images) for job in batch)
        started = time.perf_counter()
        try:
            output = await asyncio.get_running_loop().run_in_executor(thread, _through, engine, tray, batch)
        except asyncio.CancelledError:
            for job in batch:
                job.result.cancel()
            raise
        except Exception as error:  # whatever it is, callers are told and the next batch is tried
            self._metrics.engine_failures.inc()
            for job in batch:
                if not job.result.done():
                    job.result.set_exception(
                        ServiceError("engine_failed", "The model failed on this batch; try again.")
                    )
                    job.result.exception()  # seen, even if the caller has left
            log.error("a batch of %d patches failed", count, exc_info=error)
            return
        self.pace.add(count, time.perf_counter() - started)
        self._metrics.batch_size.observe(count)
        start = 0
        for job in batch:
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

    def of(self, batch: list[Job]) -> NDArray[np.uint8]:
        """The batch's images together, until the next."""
        count = sum(len(job.images) for job in batch)
        if count > len(self._images):
            self._images = np.empty((count, *batch[0].images.shape[1:]), np.uint8)
        return np.concatenate([job.images for job in batch], out=self._images[:count])


def _through(engine: Engine, tray: _Tray, batch: list[Job]) -> Output:
    """In the engine's thread, since large batches take long to copy, too."""
    output = engine.run(tray.of(batch), any(job.tokens for job in batch))
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
