from __future__ import annotations

import asyncio

import pytest

from service.imagery.decoding.places import Places


@pytest.mark.parametrize("count", [1, 2, 4])
def test_many_that_leave_a_place_do_not_keep_another_waiting(count: int) -> None:
    places, done = Places(count, queue=100), []

    async def take(name: str, leaves_one: bool) -> None:
        async with await places.take(leaves_one=leaves_one):
            await asyncio.sleep(0)
            done.append(name)

    async def all_at_once() -> None:
        await asyncio.gather(*(take("many", True) for _ in range(50)), take("one", False))

    asyncio.run(all_at_once())
    assert len(done) == 51
    assert done.index("one") <= count
