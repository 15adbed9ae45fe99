"""A client that leaves takes its work along."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine
from typing import Any, TypeVar

from starlette.requests import ClientDisconnect
from starlette.types import Receive

T = TypeVar("T")


async def unless_gone(receive: Receive, work: Coroutine[Any, Any, T]) -> T:
    """The result of `work`, for a request whose body was read or refused; cancelled when the client leaves.

    Work is done in the caller's own task, whose time is up when the client leaves. Raises ClientDisconnect.
    """
    here = asyncio.timeout(None)
    leaving = asyncio.create_task(_when_gone(receive, here))
    try:
        async with here:
            return await work
    except TimeoutError:
        if here.expired():
            raise ClientDisconnect from None
        raise
    finally:
        leaving.cancel()


async def _when_gone(receive: Receive, here: asyncio.Timeout) -> None:
    with contextlib.suppress(Exception):  # the rest of a refused body may break a limit again
        while (await receive())["type"] != "http.disconnect":
            pass
        here.reschedule(asyncio.get_running_loop().time())
