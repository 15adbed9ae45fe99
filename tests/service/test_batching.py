from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import chain

import numpy as np
import pytest
from numpy.typing import NDArray

from service.batching import Batcher
from service.errors import ServiceError
from service.lines import FIRST, PIECE
from service.metrics import Metrics
from service.model.engine import Engines, Output

BATCH = 16
SCENE = 289


class Echo:
    """An engine whose answers say which image they are for, and that can be held."""

    name = "echo"
    largest_batch = BATCH

    def __init__(self) -> None:
        self.batches: list[list[int]] = []  # the value of each image
        self.free = threading.Event()
        self.free.set()
        self.fails = False

    def run(self, images: NDArray[np.uint8], tokens: bool = False) -> Output:
        self.batches.append(images[:, 0, 0, 0].tolist())
        self.free.wait(10)
        if self.fails:
            raise RuntimeError("no memory left")
        values = images[:, 0, 0, :1].astype(np.float32)
        return Output(values, values, images[:, :1, :1].astype(np.float32) if tokens else None)


def image(value: int, count: int = 1) -> NDArray[np.uint8]:
    return np.full((count, 2, 2, 1), value, np.uint8)


@asynccontextmanager
async def started(
    *engines: Echo, together: Echo | None = None, metrics: Metrics | None = None
) -> AsyncIterator[Batcher]:
    batcher = Batcher(metrics or Metrics())
    batcher.start(Engines(engines, together))
    while batcher._lines._free < len(engines):  # threads that are not there yet share nothing
        await asyncio.sleep(0.001)
    yield batcher
    await batcher.close()


async def until_held(*engines: Echo) -> None:
    """Returns when each has a batch that it does not answer."""
    async with asyncio.timeout(30):
        while not all(engine.batches for engine in engines):
            await asyncio.sleep(0.001)


@asynccontextmanager
async def held(engine: Echo) -> AsyncIterator[Batcher]:
    """Its batcher, while it works at a patch of value 0; free afterwards, and until all is answered."""
    async with started(engine) as batcher:
        engine.free.clear()
        first = asyncio.create_task(batcher.run(image(0)))
        await until_held(engine)
        yield batcher
        await first


def test_what_waits_while_the_engine_works_goes_next_together() -> None:
    async def run() -> None:
        engine = Echo()
        async with held(engine) as batcher:
            asked = [asyncio.create_task(batcher.run(image(i))) for i in range(1, 10)]
            await asyncio.sleep(0)
            engine.free.set()
            outputs = await asyncio.gather(*asked)
        assert [int(out.embeddings[0, 0]) for out in outputs] == list(range(1, 10))
        assert engine.batches == [[0], list(range(1, 10))]

    asyncio.run(run())


def test_patches_of_a_scene_come_back_in_their_order() -> None:
    async def run() -> None:
        async with started(Echo(), Echo()) as batcher:
            output = await batcher.run(np.arange(200, dtype=np.uint8)[:, None, None, None], tokens=True)
        assert output.embeddings[:, 0].tolist() == list(range(200))
        assert output.tokens is not None and len(output.tokens) == 200

    asyncio.run(run())


def test_an_engine_that_takes_fewer_patches_than_stay_together_runs_them_all_the_same() -> None:
    async def run() -> None:
        engine = Echo()
        engine.largest_batch = 1
        async with started(engine) as batcher:
            output = await asyncio.wait_for(batcher.run(image(1, FIRST + 5)), 60)
        assert len(output.embeddings) == FIRST + 5

    asyncio.run(run())


def test_a_patch_waits_for_no_more_than_the_batch_that_runs_beside_a_scene() -> None:
    async def run() -> None:
        engine = Echo()
        async with held(engine) as batcher:
            scene = asyncio.create_task(batcher.run(image(1, SCENE)))
            await asyncio.sleep(0)
            patch = asyncio.create_task(batcher.run(image(2)))
            await asyncio.sleep(0)
            engine.free.set()
            await patch
            assert len((await scene).embeddings) == SCENE
        # Before it came those with which the scene began, which wait in the same line.
        assert 2 in engine.batches[1] + engine.batches[2]
        assert max(map(len, engine.batches)) <= BATCH

    asyncio.run(run())


def test_many_tiles_of_one_request_do_not_keep_another_waiting_either() -> None:
    async def run() -> None:
        engine = Echo()
        async with held(engine) as batcher:
            tiles = [asyncio.create_task(batcher.run(image(1), before=i)) for i in range(256)]
            await asyncio.sleep(0)
            patch = asyncio.create_task(batcher.run(image(2)))
            await asyncio.sleep(0)
            engine.free.set()
            await asyncio.gather(patch, *tiles)
        assert 2 in engine.batches[1] + engine.batches[2]

    asyncio.run(run())


@pytest.mark.parametrize("largest", [BATCH, PIECE])
def test_nor_is_a_scene_kept_waiting_by_patches_without_end(largest: int) -> None:
    async def run() -> None:
        engine = Echo()
        engine.largest_batch = largest
        async with held(engine) as batcher:
            scene = asyncio.create_task(batcher.run(image(1, FIRST + 5 * FIRST)))
            await asyncio.sleep(0)
            patches = [asyncio.create_task(batcher.run(image(2))) for _ in range(200)]
            await asyncio.sleep(0)
            engine.free.set()
            await asyncio.gather(scene, *patches)
        soon = list(chain(*engine.batches))[1 : 1 + 5 * BATCH]
        assert 2 * BATCH <= soon.count(1) <= 3 * BATCH  # half of it, and those with which it begins
        with_it = max(i for i, batch in enumerate(engine.batches) if 1 in batch)
        assert sum(batch.count(2) for batch in engine.batches[: with_it + 1]) < 60

    asyncio.run(run())


def test_engines_share_one_queue() -> None:
    async def run() -> None:
        engines = [Echo(), Echo(), Echo()]
        for engine in engines:
            engine.free.clear()
        async with started(*engines) as batcher:
            scene = asyncio.create_task(batcher.run(image(1, SCENE)))
            await until_held(*engines)
            assert [len(engine.batches) for engine in engines] == [1, 1, 1]
            engines[1].free.set()  # the others hang, and it does all that they do not hold
            while sum(len(batch) for batch in engines[1].batches) < SCENE - 2 * BATCH:
                await asyncio.sleep(0.001)
            for engine in engines:
                engine.free.set()
            assert len((await scene).embeddings) == SCENE

    asyncio.run(run())


def test_work_on_two_engines_takes_half_as_long() -> None:
    async def seconds(count: int) -> float:
        async with started(*(Echo() for _ in range(count))) as batcher:
            batcher.pace.add(BATCH, 0.16)
            return batcher.seconds(10 * BATCH)

    assert asyncio.run(seconds(1)) == pytest.approx(1.6)
    assert asyncio.run(seconds(2)) == pytest.approx(0.8)


@pytest.mark.parametrize("count", [1, SCENE])
def test_a_caller_that_left_costs_no_engine_time(count: int) -> None:
    async def run() -> None:
        engine = Echo()
        async with held(engine) as batcher:
            left = asyncio.create_task(batcher.run(image(2, count)))
            await asyncio.sleep(0)
            left.cancel()
            await asyncio.gather(left, return_exceptions=True)
            engine.free.set()
            await batcher.run(image(3))
            await asyncio.sleep(0)
            assert batcher.queued() == (0, 0)
        assert engine.batches == [[0], [3]]

    asyncio.run(run())


def test_all_patches_of_a_scene_count_as_waiting_and_those_that_wait_at_the_end_are_told() -> None:
    async def run() -> None:
        engine = Echo()
        engine.free.clear()
        async with started(engine) as batcher:
            scene = asyncio.create_task(batcher.run(image(1, SCENE)))
            await until_held(engine)
            waits = asyncio.create_task(batcher.run(image(2)))
            await asyncio.sleep(0)
            assert batcher.queued() == (FIRST + 1, SCENE - FIRST)
            closing = asyncio.create_task(batcher.close())
            await asyncio.sleep(0)
            engine.free.set()
            await closing
        done, _ = await asyncio.wait({scene, waits}, timeout=5)
        assert len(done) == 2
        assert all(task.cancelled() for task in done)

    asyncio.run(run())


def test_a_batch_that_fails_is_told_to_its_callers_and_the_next_is_served() -> None:
    async def run() -> None:
        engine, metrics = Echo(), Metrics()
        async with started(engine, metrics=metrics) as batcher:
            engine.fails = True
            with pytest.raises(ServiceError) as error:
                await batcher.run(image(1, SCENE))
            assert error.value.code == "engine_failed"
            engine.fails = False
            assert (await batcher.run(image(7))).embeddings[0, 0] == 7
        # Another batch of the scene may have begun, and failed, before its caller was told of the first.
        assert b"aerial_engine_failures_total 0.0" not in metrics.text()

    asyncio.run(run())


def test_token_embeddings_go_to_those_who_asked() -> None:
    async def run() -> None:
        engine = Echo()
        async with held(engine) as batcher:
            with_tokens = asyncio.create_task(batcher.run(image(1), tokens=True))
            without = asyncio.create_task(batcher.run(image(2)))
            await asyncio.sleep(0)
            engine.free.set()
            assert (await with_tokens).tokens is not None
            assert (await without).tokens is None
        assert len(engine.batches) == 2

    asyncio.run(run())
