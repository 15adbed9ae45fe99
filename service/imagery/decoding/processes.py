"""Decode processes that are kept: each is replaced as soon as it ends."""

from __future__ import annotations

import asyncio
import logging

from service.imagery.decoding.fork_server import ForkServer, PoolBroken
from service.imagery.decoding.process import DecodeProcess

PAUSES_S = (0.5, 2.0, 5.0)  # before a replacement is tried again: memory may be short for a while
log = logging.getLogger("service")


class Processes:
    """`count` of them, of which each is taken by one tile at a time; `niceness` is that of nice(2)."""

    def __init__(self, server: ForkServer, count: int, niceness: int = 0) -> None:
        self._server, self._count, self._niceness = server, count, niceness
        # The last one used comes first: it is still in the processor's caches, and the spare stays small.
        self._idle: asyncio.LifoQueue[DecodeProcess | PoolBroken] = asyncio.LifoQueue()
        self._ready: set[DecodeProcess] = set()
        self._keepers: list[asyncio.Task[None]] = []
        self._broken: PoolBroken | None = None

    async def start(self) -> None:
        """Starts all and waits until each is ready. Raises PoolBroken."""
        starting = [asyncio.Event() for _ in range(self._count)]
        self._keepers = [asyncio.create_task(self._keep(ready)) for ready in starting]
        await asyncio.gather(*(ready.wait() for ready in starting))
        self.raise_if_broken()

    async def _keep(self, ready: asyncio.Event) -> None:
        """Has one process ready, and another one as soon as it ends."""
        try:
            process = await DecodeProcess.start(self._server, self._niceness)
            while True:
                self._ready.add(process)
                self._idle.put_nowait(process)
                ready.set()
                try:
                    await process.ended()
                finally:
                    self._ready.discard(process)
                    process.kill()
                ended, process = process, await self._another()
                ended.collect()
        except PoolBroken as error:
            self._break(error)
        except Exception as error:  # nobody awaits this task
            self._break(PoolBroken(f"a decode process could not be kept: {error!r}"))
        finally:
            ready.set()

    async def _another(self) -> DecodeProcess:
        for pause_s in PAUSES_S:
            try:
                return await DecodeProcess.start(self._server, self._niceness)
            except PoolBroken as error:
                log.warning("%s; trying again in %g s", error, pause_s)
                await asyncio.sleep(pause_s)
        return await DecodeProcess.start(self._server, self._niceness)

    def _break(self, error: PoolBroken) -> None:
        self._broken = error
        self._idle.put_nowait(error)

    @property
    def ids(self) -> list[int]:
        """Process ids of those that are ready or taken."""
        return sorted(process.pid for process in self._ready)

    def raise_if_broken(self) -> None:
        """Raises PoolBroken once a replacement could not be started, or after `close`."""
        if self._broken is not None:
            raise self._broken

    async def take(self) -> DecodeProcess:
        """One that is idle, as soon as there is. Raises PoolBroken."""
        while True:
            process = await self._idle.get()
            if isinstance(process, PoolBroken):
                self._idle.put_nowait(process)  # for the next one that waits
                raise process
            if process.is_alive:
                return process

    def give_back(self, process: DecodeProcess) -> None:
        """One that was taken and answered."""
        self._idle.put_nowait(process)

    async def close(self) -> None:
        """Ends all; whoever waits for one, or asks from now on, gets PoolBroken."""
        self._break(PoolBroken("the decode processes were ended"))
        for keeper in self._keepers:
            keeper.cancel()
        await asyncio.gather(*self._keepers, return_exceptions=True)
