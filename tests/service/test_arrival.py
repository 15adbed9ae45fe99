from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from starlette.requests import Request
from starlette.types import Message

from service.bodies.arrival import AT_ONCE_BYTES, PAUSE_S, pieces

PIECE = b"x" * 2**18  # what asyncio receives at once


async def pauses(size: int, is_busy: Callable[[], bool]) -> int:
    """How often others had half of PAUSE_S while a body was read that was there at once."""
    left = size

    async def receive() -> Message:
        nonlocal left
        piece = PIECE[:left]
        left -= len(piece)
        return {"type": "http.request", "body": piece, "more_body": left > 0}

    count = 0

    async def pausing() -> None:
        nonlocal count
        while True:
            await asyncio.sleep(PAUSE_S / 2)
            count += 1

    others = asyncio.create_task(pausing())
    await asyncio.sleep(0)
    whole = [piece async for piece in pieces(Request({"type": "http"}, receive), is_busy)]
    others.cancel()
    assert b"".join(whole) == b"x" * size
    return count


@pytest.mark.parametrize(("size", "expected"), [(100, 0), (AT_ONCE_BYTES, 0), (5 * AT_ONCE_BYTES, 4)])
def test_a_large_body_lets_others_go_first(size: int, expected: int) -> None:
    assert asyncio.run(pauses(size, lambda: True)) >= expected
    assert asyncio.run(pauses(size, lambda: False)) == 0


def test_a_patch_does_not_wait() -> None:
    assert asyncio.run(pauses(AT_ONCE_BYTES, lambda: True)) == 0
