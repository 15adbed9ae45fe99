from __future__ import annotations

import asyncio
import time
from itertools import chain

import numpy as np
import pytest
from numpy.typing import NDArray

from service.errors import ServiceError
from service.lines import PIECE, Job, Lines
from service.model.engine import Output
from tests.service.test_batching import BATCH, Echo, image, started, until_held

SLOW_S = 0.2


class Slow(Echo):
    """An engine that takes as long for any batch."""

    def run(self, images: NDArray[np.uint8], tokens: bool = False) -> Output:
        time.sleep(SLOW_S)
        return super().run(images, tokens)


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
