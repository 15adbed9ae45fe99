"""Pools of real processes, each shared by the tests that leave it working."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Coroutine, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

import pytest
import uvloop

from service.imagery.decoding.pool import DecodePool, Tile
from service.imagery.errors import ImageryError
from service.imagery.patches import ReadOptions, TileFile
from service.imagery.tiff.limits import Limits
from tests.imagery import RGB, geotiff, reflectance

GOOD = (TileFile(geotiff(reflectance())),)
SIDE = 64  # of an image for the model
DEADLINE_S = 60  # of a tile: none takes so long on a busy machine, unless its process hangs
# LZMA is slow to decode, however little was done to compress.
SCENE = [TileFile(geotiff(reflectance(600), compress="lzma", lzma_preset=0))]  # takes 20 times as long as a patch
LARGE = [TileFile(geotiff(reflectance(1280), compress="lzma", lzma_preset=0))]
T = TypeVar("T")


def is_alive(process: int) -> bool:
    """False for one that has ended too, though nobody may have collected it yet."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] not in {"Z", "X"}
    except OSError:
        return False


def parent_of(process: int) -> int:
    return int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1])


class Running:
    """A pool that was started, and the event loop that it runs in."""

    def __init__(self, runner: asyncio.Runner, workers: int, timeout_s: float = DEADLINE_S, **more: Any) -> None:
        self._runner, self._workers = runner, workers
        self.pool = DecodePool(RGB, SIDE, workers=workers, timeout_s=timeout_s, **{"memory_mb": 600, **more})

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self._runner.run(work)

    async def ask(
        self, files: Sequence[TileFile] = GOOD, options: ReadOptions | None = None, *, gives_way: bool = False
    ) -> Tile:
        options = options or ReadOptions()
        headers = await self.pool.headers(files, options.limits)
        return await self.pool.decode(files, options, headers, gives_way=gives_way)

    def decode(self, files: Sequence[TileFile] = GOOD, options: ReadOptions | None = None) -> Tile:
        return self.run(self.ask(files, options))

    @property
    def processes(self) -> list[int]:
        return self.pool.processes

    def signal(self, number: signal.Signals) -> None:
        """To all its processes."""
        for process in self.processes:
            with suppress(ProcessLookupError):
                os.kill(process, number)

    def kill_server(self) -> None:
        """The process that the others are forked from, so that another has to be started."""
        os.kill(parent_of(self.processes[0]), signal.SIGKILL)

    def kill(self) -> None:
        """All its processes; returns when they have ended."""
        before = self.processes
        self.signal(signal.SIGKILL)
        end = time.monotonic() + 60
        while any(map(is_alive, before)):
            assert time.monotonic() < end
            time.sleep(0.001)

    def settle(self) -> None:
        """Waits until every process that ended was replaced."""

        async def settled() -> None:
            end = time.monotonic() + 60
            all_there = self._workers + 1 + max(1, self._workers - 1)  # a spare, and those for large tiles
            while len(self.processes) < all_there or not all(map(is_alive, self.processes)):
                assert time.monotonic() < end
                await asyncio.sleep(0.01)

        self.run(settled())


@contextmanager
def running(workers: int, **more: Any) -> Iterator[Running]:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:  # as the service does
        made = Running(runner, workers, **more)
        runner.run(made.pool.start())
        try:
            yield made
        finally:
            runner.run(made.pool.close())


@pytest.fixture(scope="session")
def two() -> Iterator[Running]:
    """Two places, time enough."""
    with running(2) as made:
        yield made


@pytest.fixture(scope="session")
def one() -> Iterator[Running]:
    """One place, and one tile that may wait."""
    with running(1, queue=1) as made:
        yield made


def computed(process: int) -> int:
    """Hundredths of a second."""
    return int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[11])


def refusal(pool: Running, files: list[TileFile], **limits: int) -> ImageryError:
    with pytest.raises(ImageryError) as error:
        pool.decode(files, ReadOptions(limits=Limits(**limits)))
    return error.value


@pytest.fixture(autouse=True)
def _all_are_there(request: pytest.FixtureRequest) -> Iterator[None]:
    """A test begins when what the one before ended was replaced."""
    for name in {"one", "two"} & set(request.fixturenames):
        request.getfixturevalue(name).settle()
    yield
