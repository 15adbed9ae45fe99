from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import chain

import numpy as np
import pytest
from numpy.typing import NDArray

from service.batching import Batcher
from service.errors import ServiceError
from service.lines import FIRST, PIECE, Job, Lines
from service.metrics import Metrics
from service.model.engine import Engines, Output

BATCH = 16
SCENE = 289
SLOW_S = 0.2


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


class Slow(Echo):
    """An engine that takes as long for any batch."""

    def run(self, images: NDArray[np.uint8], tokens: bool = False) -> Output:
        time.sleep(SLOW_S)
        return super().run(images, tokens)


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


def test_engines_that_are_free_share_what_waits() -> None:
    async def run() -> None:
        engines = [Echo(), Echo(), Echo()]
        for engine in engines:
            engine.free.clear()
        async with started(*engines) as batcher:
            six_pieces = asyncio.create_task(batcher.run(image(1, 6 * PIECE)))
            await until_held(*engines)
            assert [len(engine.batches[0]) for engine in engines] == [2 * PIECE] * 3
            for engine in engines:
                engine.free.set()
            await six_pieces

    asyncio.run(run())


def test_two_engines_end_together_where_a_request_has_a_patch_more_than_a_piece() -> None:
    async def run() -> None:
        engines = [Echo(), Echo()]
        for engine in engines:
            engine.free.clear()
        async with started(*engines) as batcher:
            request = asyncio.create_task(batcher.run(image(1, PIECE + 1)))
            await until_held(*engines)
            assert sorted(len(engine.batches[0]) for engine in engines) == [2, 3]
            for engine in engines:
                engine.free.set()
            await request

    asyncio.run(run())


def test_a_line_that_took_what_the_other_left_owes_it_nothing() -> None:
    async def run() -> list[list[int]]:
        lines = Lines()
        scene, patch = image(1, PIECE), image(2)
        lines.put([], [Job(scene, False) for _ in range(4000)])
        for _ in range(500):  # neither is empty when a batch is taken, but most of each is the scene's
            lines.put([Job(patch, False)])
            assert lines.take(BATCH) is not None
        lines.put([Job(patch, False) for _ in range(500)])
        batches = [lines.take(BATCH) for _ in range(4)]
        return [[int(job.images[0, 0, 0, 0]) for job in batch.jobs] for batch in batches if batch]

    kinds = list(chain(*asyncio.run(run())))
    assert kinds.count(1) * PIECE == pytest.approx(kinds.count(2), abs=2 * PIECE)  # half each, from the first on


def test_what_comes_after_the_end_is_cancelled() -> None:
    async def run() -> None:
        lines = Lines()
        lines.close()
        job = Job(image(1), False)
        lines.put([job])
        assert job.result.cancelled()

    asyncio.run(run())


def test_a_failure_while_one_is_alone_keeps_nobody_waiting() -> None:
    async def run() -> None:
        engines, together = [Echo(), Echo()], Echo()
        together.fails = True
        async with started(*engines, together=together) as batcher:
            with pytest.raises(ServiceError):
                await batcher.run(image(1))
            together.fails = False
            await asyncio.wait_for(batcher.run(image(2)), 60)
        assert together.batches[0] == [1]

    asyncio.run(run())


def test_a_patch_that_is_alone_has_all_processors_and_what_comes_meanwhile_waits() -> None:
    async def run() -> None:
        engines, together = [Echo(), Echo()], Echo()
        for engine in (*engines, together):
            engine.free.clear()
        async with started(*engines, together=together) as batcher:
            lone = asyncio.create_task(batcher.run(image(0)))
            await until_held(together)
            others = [asyncio.create_task(batcher.run(image(i))) for i in (1, 2, 3)]
            await asyncio.sleep(0.05)
            assert not any(engine.batches for engine in engines)
            together.free.set()
            await until_held(*engines)
            for engine in engines:
                engine.free.set()
            await asyncio.gather(lone, *others)
        assert together.batches == [[0]]
        assert sorted(len(engine.batches[0]) for engine in engines) == [1, 2]

    asyncio.run(run())


def test_a_patch_that_comes_while_others_run_goes_to_an_engine_that_is_free() -> None:
    async def run() -> None:
        engines, together = [Echo(), Echo()], Echo()
        async with started(*engines, together=together) as batcher:
            for engine in engines:
                engine.free.clear()
            two = [asyncio.create_task(batcher.run(image(i))) for i in (1, 2)]
            await until_held(*engines)
            engines[0].free.set()
            await asyncio.wait(two, return_when=asyncio.FIRST_COMPLETED)
            await batcher.run(image(3))
            engines[1].free.set()
            await asyncio.gather(*two)
        assert [3] in engines[0].batches
        assert not together.batches

    asyncio.run(run())


def test_all_processors_for_a_while_count_as_the_time_of_all_engines() -> None:
    async def seconds(count: int) -> float:
        slow = Slow()
        async with started(*(slow for _ in range(count)), together=slow) as batcher:
            await batcher.run(image(1))
            await asyncio.sleep(0)
            return batcher.seconds(1)

    assert asyncio.run(seconds(4)) == pytest.approx(SLOW_S, rel=0.5)


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
