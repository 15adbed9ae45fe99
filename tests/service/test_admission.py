from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import ExitStack

import pytest

from service.admission import LATE, Admission
from service.batching import Batcher
from service.errors import ServiceError
from service.imagery.decoding.pool import DecodePool
from service.lines import FIRST
from service.metrics import Metrics
from service.model.engine import Engines
from tests.imagery import RGB
from tests.service.test_batching import BATCH, SCENE, Echo, image

ALLOWED_S = 4.0
RUN_S, DECODE_S = 0.01, 0.001  # a patch


class Foreseen:
    """An admission whose engine is known to take 10 ms a patch, and waits, and whose decode process takes 1 ms."""

    def __init__(self) -> None:
        self.engine, self.pool = Batcher(Metrics()), DecodePool(RGB, 32, workers=1, timeout_s=10, memory_mb=600)
        self.echo = Echo()
        self.echo.free.clear()
        self.engine.start(Engines((self.echo,)))
        self.engine.pace.add(BATCH, BATCH * RUN_S)
        self.pool.pace.add(1, DECODE_S)
        self.admission = Admission(self.pool, self.engine, ALLOWED_S)
        self._asked: list[asyncio.Task[object]] = []

    async def queue(self, requests: int, patches: int = 1) -> None:
        """So many requests come to the engine."""
        self._asked += [asyncio.create_task(self.engine.run(image(1, patches))) for _ in range(requests)]
        await asyncio.sleep(0)

    def is_admitted(self, patches: int) -> bool:
        try:
            self.admission.refuse_late(patches)
        except ServiceError as error:
            assert error.code == "overloaded"
            return False
        return True

    async def close(self) -> None:
        self.echo.free.set()
        await self.engine.close()
        await asyncio.gather(*self._asked, return_exceptions=True)


def foresee(test: Callable[[Foreseen], Awaitable[None]]) -> None:
    async def run() -> None:
        foreseen = Foreseen()
        try:
            await test(foreseen)
        finally:
            await foreseen.close()

    asyncio.run(run())


def test_who_would_wait_too_long_is_refused_and_told_when_to_come_back() -> None:
    async def test(some: Foreseen) -> None:
        await some.queue(200)
        assert some.is_admitted(1)
        await some.queue(150)
        with pytest.raises(ServiceError) as error:
            some.admission.refuse_late(1)
        wait = LATE * 351 * RUN_S
        assert error.value.more["limits"] == {"wait_s": pytest.approx(wait, abs=0.1), "max_wait_s": ALLOWED_S}
        assert ALLOWED_S / 2 <= error.value.more["retry_after_s"] <= wait

    foresee(test)


def test_the_patches_of_a_request_wait_for_each_other() -> None:
    async def test(some: Foreseen) -> None:
        await some.queue(100)
        assert some.is_admitted(1) and not some.is_admitted(SCENE)

    foresee(test)


def test_a_service_that_has_nothing_else_to_do_refuses_nobody() -> None:
    async def test(some: Foreseen) -> None:
        assert some.is_admitted(10 * SCENE)
        await some.queue(1)
        assert not some.is_admitted(10 * SCENE)

    foresee(test)


def test_patches_come_in_beside_scenes_that_they_do_not_wait_for() -> None:
    async def test(some: Foreseen) -> None:
        await some.queue(4, SCENE)
        assert some.is_admitted(1) and not some.is_admitted(SCENE)
        assert some.admission.wait_s(1) == pytest.approx(LATE * RUN_S * 2 * (4 * FIRST + 1))

    foresee(test)


def test_a_scene_that_would_make_those_late_that_are_admitted_is_refused() -> None:
    async def test(some: Foreseen) -> None:
        await some.queue(250)  # they would share the engine with it
        assert some.is_admitted(1) and not some.is_admitted(FIRST + 100)

    foresee(test)


def test_where_decoding_is_slower_than_the_engine_it_is_what_counts() -> None:
    async def test(some: Foreseen) -> None:
        for _ in range(100):
            some.pool.pace.add(1, 0.5)
        assert some.is_admitted(1)
        with ExitStack() as tiles:
            for _ in range(6):
                tiles.enter_context(some.admission.decoding(1, 0, gives_way=False))
            assert not some.is_admitted(1)

    foresee(test)


def test_tiles_on_their_way_to_the_engine_count_as_those_in_its_queue() -> None:
    async def test(some: Foreseen) -> None:
        with some.admission.decoding(400, 0, gives_way=False):
            assert not some.is_admitted(100)
        await some.queue(1)
        assert some.is_admitted(100)
        with ExitStack() as tiles:
            for _ in range(400):
                tiles.enter_context(some.admission.arriving())
            assert not some.is_admitted(1)

    foresee(test)


def test_of_many_tiles_that_come_together_some_are_admitted_and_the_others_refused() -> None:
    async def test(some: Foreseen) -> None:
        with ExitStack() as tiles:
            for _ in range(1000):
                tiles.enter_context(some.admission.arriving())
            assert some.is_admitted(1)
            tiles.enter_context(some.admission.decoding(1, 0, gives_way=False))
            assert not some.is_admitted(1)

    foresee(test)


def test_patches_do_not_wait_for_large_tiles_that_other_processes_decode() -> None:
    async def test(some: Foreseen) -> None:
        for pace in (some.pool.pace, some.pool.nice_pace):
            for _ in range(100):
                pace.add(1, 0.5)
        with ExitStack() as tiles:
            for _ in range(20):
                tiles.enter_context(some.admission.decoding(1, 0, gives_way=True))
            assert some.is_admitted(1)
            assert some.admission.wait_s(1, gives_way=True) > LATE * 10

    foresee(test)
