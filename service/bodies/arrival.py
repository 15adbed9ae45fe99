"""A body as it comes in."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

from starlette.requests import Request

AT_ONCE_BYTES = 2**20  # 1 ms of the process that answers everybody
PAUSE_S = 0.02  # 20 patches under way were kept 12 ms each by a body of 18 MB, and by one that pauses 0.3


async def pieces(request: Request, is_busy: Callable[[], bool]) -> AsyncIterator[bytes]:
    """The body of a request bit by bit; a large one waits now and then while `is_busy()`, so that others are answered.

    At 50 MB/s, that is, which keeps no engine idle: while there is nothing else to do it comes as fast as it can.
    Raises what reading a request does: starlette.requests.ClientDisconnect, and ServiceError of the limits around it.
    """
    at_once = 0
    async for piece in request.stream():
        yield piece
        at_once += len(piece)
        if at_once > AT_ONCE_BYTES and is_busy():
            await asyncio.sleep(PAUSE_S)
            at_once = 0
