"""A supervised pool of decode processes: nothing untrusted is decoded in the process that serves."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.imagery.decoding import frames
from service.imagery.errors import ImageryError
from service.imagery.patches import InputSpec, PatchFacts, ReadOptions, TileFile

START_TIMEOUT_S = 60.0  # importing GDAL from a cold disk


@dataclass(frozen=True)
class Tile:
    """A decoded tile: one image and its facts for each patch."""

    images: NDArray[np.uint8]  #: N × image_size × image_size × C
    facts: tuple[PatchFacts, ...]


class PoolBroken(RuntimeError):
    """A decode process that ended cannot be replaced."""


class DecodeFailure(RuntimeError):
    """A fault of ours in a decode process; the message is its traceback."""


class DecodePool:
    """`workers` processes, each with one tile at a time; a process that hangs or dies is replaced.

    A tile is given `timeout_s` seconds, a process `memory_mb` MiB of address space.
    """

    def __init__(self, spec: InputSpec, image_size: int, *, workers: int, timeout_s: float, memory_mb: int) -> None:
        self._spec, self._image_size, self._count, self._timeout_s = spec, image_size, workers, timeout_s
        self._config = json.dumps({"spec": asdict(spec), "image_size": image_size, "memory_mb": memory_mb})
        self._idle: asyncio.Queue[asyncio.subprocess.Process | PoolBroken] = asyncio.Queue()
        self._all: set[asyncio.subprocess.Process] = set()
        self._starting: set[asyncio.Task[None]] = set()
        self._broken: PoolBroken | None = None

    async def start(self) -> None:
        """Starts all processes and waits until each is ready. Raises PoolBroken."""
        await asyncio.gather(*(self._start_one() for _ in range(self._count)))

    def raise_if_broken(self) -> None:
        """Raises PoolBroken once a replacement could not be started."""
        if self._broken is not None:
            raise self._broken

    async def close(self) -> None:
        """Ends all processes."""
        for starting in self._starting:
            starting.cancel()
        for process in self._all:
            _kill(process)
        await asyncio.gather(*(process.wait() for process in self._all))

    async def decode(self, files: Sequence[TileFile], options: ReadOptions) -> Tile:
        """The patches of one tile (see `reader.read_tile`), resized to the model's input.

        Raises ImageryError; beside the codes of the reader, decode_timeout and decode_crashed. Raises
        PoolBroken once a process could not be replaced.
        """
        process = await self._take()
        try:
            async with asyncio.timeout(self._timeout_s):
                head, blobs = await _exchange(process, frames.request(files, options))
        except BaseException as error:
            self._replace(process)
            if isinstance(error, TimeoutError):
                raise ImageryError(
                    "decode_timeout",
                    f"Decoding took longer than {self._timeout_s:g} s; send a smaller or simpler file.",
                    {"decode_timeout_s": self._timeout_s},
                ) from None
            if isinstance(error, (asyncio.IncompleteReadError, ConnectionError)):
                raise ImageryError("decode_crashed", "Decoding this file ended its decode process.") from None
            raise
        self._idle.put_nowait(process)
        if "error" in head:
            raise ImageryError(**head["error"])
        if "failure" in head:
            raise DecodeFailure(head["failure"])
        side, channels = self._image_size, len(self._spec.bands)
        images = np.frombuffer(blobs[0], np.uint8).reshape(-1, side, side, channels)
        return Tile(images, tuple(frames.parse_facts(facts) for facts in head["patches"]))

    async def _take(self) -> asyncio.subprocess.Process:
        while True:
            process = await self._idle.get()
            if isinstance(process, PoolBroken):
                self._idle.put_nowait(process)  # for the next one that waits
                raise process
            if process.returncode is None:
                return process
            self._replace(process)  # died while idle: no tile's fault

    def _replace(self, process: asyncio.subprocess.Process) -> None:
        _kill(process)
        self._all.discard(process)
        starting = asyncio.create_task(self._start_again())
        self._starting.add(starting)
        starting.add_done_callback(self._starting.discard)

    async def _start_again(self) -> None:
        try:
            await self._start_one()
        except PoolBroken as error:
            self._broken = error
            self._idle.put_nowait(error)

    async def _start_one(self) -> None:
        # Its environment is made from nothing: a decoder has no use for credentials.
        environment = {
            "PATH": os.environ.get("PATH", os.defpath),
            "PYTHONPATH": str(Path(__file__).parents[3]),
            "OPENBLAS_NUM_THREADS": "1",  # a thread's stack counts towards the memory limit
        }
        try:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "service.imagery.decoding.worker", self._config),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                env=environment,
            )
        except OSError as error:
            raise PoolBroken(f"a decode process could not be started: {error}") from None
        self._all.add(process)
        try:
            async with asyncio.timeout(START_TIMEOUT_S):
                await _read_frame(process)
        except (TimeoutError, asyncio.IncompleteReadError):
            _kill(process)
            self._all.discard(process)
            raise PoolBroken("a decode process could not be started") from None
        self._idle.put_nowait(process)


def _kill(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.kill()


async def _exchange(process: asyncio.subprocess.Process, request: bytes) -> tuple[dict[str, Any], list[bytes]]:
    assert process.stdin is not None  # asked for a pipe
    process.stdin.write(request)
    await process.stdin.drain()
    return await _read_frame(process)


async def _read_frame(process: asyncio.subprocess.Process) -> tuple[dict[str, Any], list[bytes]]:
    assert process.stdout is not None  # asked for a pipe
    (length,) = frames.LENGTH.unpack(await process.stdout.readexactly(frames.LENGTH.size))
    head = json.loads(await process.stdout.readexactly(length))
    return head, [await process.stdout.readexactly(size) for size in head["blobs"]]


def usable_cpus() -> int:
    """Processors that this container may use: its CPU quota (cgroup v2), else its affinity, not the host's count."""
    cpus = len(os.sched_getaffinity(0))
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
    except (OSError, ValueError):
        return cpus
    return cpus if quota == "max" else max(1, min(cpus, int(quota) // int(period)))
