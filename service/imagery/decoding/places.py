"""Whose turn it is: places for tiles that are decoded, and the queue in front of them."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack


class QueueFull(RuntimeError):
    """As many tiles wait as may."""


class Places:
    """`count` places, `count_for_nice` for tiles that give way, and `queue` tiles that may wait for one."""

    def __init__(self, count: int, count_for_nice: int, queue: int) -> None:
        self._places, self._nice_places = asyncio.Semaphore(count), asyncio.Semaphore(count_for_nice)
        self._most, self._taken_or_waiting = count + queue, 0

    async def take(self, *, gives_way: bool) -> AsyncExitStack:
        """A place in turn; closing what is returned gives it back. Raises QueueFull."""
        if self._taken_or_waiting >= self._most:
            raise QueueFull
        async with AsyncExitStack() as held:
            self._taken_or_waiting += 1
            held.callback(self._leave)
            await held.enter_async_context(self._nice_places if gives_way else self._places)
            return held.pop_all()

    def _leave(self) -> None:
        self._taken_or_waiting -= 1
