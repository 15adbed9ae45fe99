"""Whose turn it is: places for tiles that are decoded, and the queue in front of them."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack


class QueueFull(RuntimeError):
    """As many tiles wait as may."""


class Places:
    """`count` places, of which some tiles leave one to the others, and `queue` tiles that may wait for one."""

    def __init__(self, count: int, queue: int) -> None:
        self._all, self._but_one = asyncio.Semaphore(count), asyncio.Semaphore(max(1, count - 1))
        self._most, self._taken_or_waiting = count + queue, 0

    async def take(self, *, leaves_one: bool) -> AsyncExitStack:
        """A place in turn; closing what is returned gives it back. Raises QueueFull."""
        if self._taken_or_waiting >= self._most:
            raise QueueFull
        async with AsyncExitStack() as held:
            self._taken_or_waiting += 1
            held.callback(self._leave)
            if leaves_one:
                await held.enter_async_context(self._but_one)
            await held.enter_async_context(self._all)
            return held.pop_all()

    def _leave(self) -> None:
        self._taken_or_waiting -= 1
