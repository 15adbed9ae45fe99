from __future__ import annotations

import asyncio

import pytest

from service.imagery.decoding.places import Places


@pytest.mark.parametrize("count", [1, 2, 4])
def test_many_that_give_way_do_not_keep_another_waiting(count: int) -> None:
    places, done = Places(count, max(1, count - 1), queue=100), []

    async def take(name: str, gives_way: bool) -> None:
        async with await places.take(gives_way=gives_way):
            await asyncio.sleep(0)
            done.append(name)

    async def all_at_once() -> None:
        await asyncio.gather(*(take("many", True) for _ in range(50)), take("one", False))

    asyncio.run(all_at_once())
    assert len(done) == 51
    assert done.index("one") <= count
