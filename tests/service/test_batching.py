from __future__ import annotations

import asyncio
import threading

import numpy as np
import pytest
from numpy.typing import NDArray

from service.batching import LARGEST_BATCH, Batcher
from service.errors import ServiceError
from service.metrics import Metrics
from service.model.engine import Output


class Echo:
    """An engine whose answers say which image they are for, and that can be held."""

    name = "echo"

    def __init__(self) -> None:
        self.batches: list[int] = []
        self.free = threading.Event()
        self.free.set()
        self.fails = False

    def run(self, images: NDArray[np.uint8], tokens: bool = False) -> Output:
        self.free.wait(10)
        self.batches.append(len(images))
        if self.fails:
            raise RuntimeError("no memory left")
        values = images[:, 0, 0, :1].astype(np.float32)
        return Output(values, values, images[:, :1, :1].astype(np.float32) if tokens else None)


def image(value: int, count: int = 1) -> NDArray[np.uint8]:
    return np.full((count, 2, 2, 1), value, np.uint8)


def test_what_waits_while_the_engine_works_goes_next_together() -> None:
    async def run() -> None:
        engine = Echo()
        engine.free.clear()
        batcher = Batcher(Metrics())
        batcher.start(engine)
        asked = [asyncio.create_task(batcher.run(image(i))) for i in range(9)]
        await asyncio.sleep(0.05)
        engine.free.set()
        outputs = await asyncio.gather(*asked)
        assert [int(out.embeddings[0, 0]) for out in outputs] == list(range(9))
        assert engine.batches in ([9], [1, 8])
        await batcher.close()

    asyncio.run(run())


def test_a_request_with_many_patches_does_not_keep_others_waiting() -> None:
    async def run() -> None:
        engine = Echo()
        engine.free.clear()
        batcher = Batcher(Metrics())
        batcher.start(engine)
        order: list[str] = []

        async def ask(name: str, count: int) -> None:
            output = await batcher.run(image(1, count))
            assert len(output.embeddings) == count
            order.append(name)

        tasks = [asyncio.create_task(ask("many", 10 * LARGEST_BATCH)), asyncio.create_task(ask("one", 1))]
        await asyncio.sleep(0.05)
        engine.free.set()
        await asyncio.gather(*tasks)
        assert order == ["one", "many"]
        assert max(engine.batches) <= LARGEST_BATCH
        await batcher.close()

    asyncio.run(run())


def test_a_caller_that_left_costs_no_engine_time() -> None:
    async def run() -> None:
        engine = Echo()
        engine.free.clear()
        batcher = Batcher(Metrics())
        batcher.start(engine)
        first = asyncio.create_task(batcher.run(image(1)))
        await asyncio.sleep(0.05)
        left = asyncio.create_task(batcher.run(image(2)))
        await asyncio.sleep(0.05)
        left.cancel()
        await asyncio.sleep(0)
        engine.free.set()
        await first
        await batcher.run(image(3))
        assert engine.batches == [1, 1]
        assert batcher.wait_s() == 0
        await batcher.close()

    asyncio.run(run())


def test_all_patches_of_a_scene_count_as_waiting_and_those_that_wait_at_the_end_are_told() -> None:
    async def run() -> None:
        engine = Echo()
        batcher = Batcher(Metrics())
        batcher.start(engine)
        await batcher.run(image(1))
        engine.free.clear()
        before = batcher.wait_s(1)
        scene = asyncio.create_task(batcher.run(image(1, 10 * LARGEST_BATCH)))
        await asyncio.sleep(0.05)
        waits = asyncio.create_task(batcher.run(image(2)))
        await asyncio.sleep(0.05)
        assert batcher.wait_s() == pytest.approx(before * (10 * LARGEST_BATCH + 1))
        engine.free.set()
        await batcher.close()
        done, _ = await asyncio.wait({scene, waits}, timeout=5)
        assert len(done) == 2
        assert all(task.cancelled() for task in done)

    asyncio.run(run())


def test_a_batch_that_fails_is_told_to_its_callers_and_the_next_is_served() -> None:
    async def run() -> None:
        engine, metrics = Echo(), Metrics()
        batcher = Batcher(metrics)
        batcher.start(engine)
        engine.fails = True
        with pytest.raises(ServiceError) as error:
            await batcher.run(image(1))
        assert error.value.code == "engine_failed"
        engine.fails = False
        assert (await batcher.run(image(7))).embeddings[0, 0] == 7
        assert b"aerial_engine_failures_total 1.0" in metrics.text()
        await batcher.close()

    asyncio.run(run())


def test_token_embeddings_go_to_those_who_asked() -> None:
    async def run() -> None:
        engine = Echo()
        engine.free.clear()
        batcher = Batcher(Metrics())
        batcher.start(engine)
        with_tokens = asyncio.create_task(batcher.run(image(1), tokens=True))
        without = asyncio.create_task(batcher.run(image(2)))
        await asyncio.sleep(0.05)
        engine.free.set()
        assert (await with_tokens).tokens is not None
        assert (await without).tokens is None
        await batcher.close()

    asyncio.run(run())
