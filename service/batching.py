"""One owner of the engine and its queue: no delay when idle, and what waits while it works goes next, together."""

from __future__ import annotations

import asyncio
import logging
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from service.errors import ServiceError
from service.metrics import Metrics
from service.model.engine import Engine, Output
from service.pace import Pace

LARGEST_BATCH = 16  # on two cores a larger one gains nothing and delays what waits
log = logging.getLogger("service")


@dataclass(frozen=True)
class _Job:
    images: NDArray[np.uint8]
    tokens: bool
    result: asyncio.Future[Output]


class Batcher:
    """Runs patches through the engine, in its own thread, in batches that form by themselves."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._waiting: asyncio.Queue[_Job] = asyncio.Queue()
        self._thread = ThreadPoolExecutor(1, "engine")
        self._queued = 0  # patches that wait or are in the engine
        self._pace = Pace()
        self._owner: asyncio.Task[None] | None = None

    def start(self, engine: Engine) -> None:
        """Begins to take work; needs a running event loop."""
        self._owner = asyncio.create_task(self._own(engine))

    async def close(self) -> None:
        """Ends the owner; what waits is cancelled."""
        if self._owner is not None:
            self._owner.cancel()
            await asyncio.gather(self._owner, return_exceptions=True)
        while not self._waiting.empty():
            self._waiting.get_nowait().result.cancel()
        self._thread.shutdown(wait=True, cancel_futures=True)

    def wait_s(self, more: int = 0) -> float:
        """Seconds until `more` patches on top of what is queued would be done, by the speed seen so far."""
        return self._pace.seconds(self._queued + more, LARGEST_BATCH)

    async def run(self, images: NDArray[np.uint8], tokens: bool = False) -> Output:
        """N × image_size × image_size × C through the engine.

        Many patches go in pieces of one batch, each queued when the one before is done, so that they do
        not keep others waiting. Raises ServiceError engine_failed.
        """
        left = len(images)
        self._queued += left
        outputs = []
        try:
            for first in range(0, len(images), LARGEST_BATCH):
                piece = images[first : first + LARGEST_BATCH]
                job = _Job(piece, tokens, asyncio.get_running_loop().create_future())
                self._waiting.put_nowait(job)
                outputs.append(await job.result)
                left -= len(piece)
                self._queued -= len(piece)
        finally:
            self._queued -= left
        return _joined(outputs)

    async def _own(self, engine: Engine) -> None:
        left_over: _Job | None = None
        while True:
            batch = [left_over or await self._waiting.get()]
            left_over = None
            while not self._waiting.empty():
                job = self._waiting.get_nowait()
                if sum(len(j.images) for j in batch) + len(job.images) > LARGEST_BATCH:
                    left_over = job
                    break
                batch.append(job)
            if alive := [job for job in batch if not job.result.done()]:  # the others' callers are gone
                await self._run_batch(engine, alive)

    async def _run_batch(self, engine: Engine, batch: list[_Job]) -> None:
        count = sum(len(job.images) for job in batch)
        tokens = any(job.tokens for job in batch)
        started = time.perf_counter()
        try:
            images = np.concatenate([job.images for job in batch])
            output = await asyncio.get_running_loop().run_in_executor(self._thread, engine.run, images, tokens)
            if not (np.isfinite(output.embeddings).all() and np.isfinite(output.logits).all()):
                raise FloatingPointError("the engine gave values that are not finite")
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
        self._pace.add(count, time.perf_counter() - started)
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


def _joined(outputs: list[Output]) -> Output:
    if len(outputs) == 1:
        return outputs[0]
    tokens = [output.tokens for output in outputs if output.tokens is not None]
    return Output(
        np.concatenate([output.embeddings for output in outputs]),
        np.concatenate([output.logits for output in outputs]),
        np.concatenate(tokens) if tokens else None,
    )
