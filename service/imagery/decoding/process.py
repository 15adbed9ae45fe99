"""One decode process as the service sees it: started, asked, ended."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from service.imagery.decoding import frames

START_TIMEOUT_S = 60.0  # importing GDAL from a cold disk
BUFFER_BYTES = 2**20  # of an answer; asyncio's own 64 KiB pause the pipe three times a patch

Frame = tuple[dict[str, Any], list[bytes]]


class PoolBroken(RuntimeError):
    """A decode process that ended cannot be replaced."""


class DecodeProcess:
    """A process that runs `service.imagery.decoding.worker`."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdin is not None and process.stdout is not None  # asked for as pipes
        self._process, self._requests, self._answers = process, process.stdin, process.stdout

    @classmethod
    async def start(cls, config: str) -> DecodeProcess:
        """A process that is ready. Raises PoolBroken."""
        # Its environment is made from nothing: a decoder has no use for credentials.
        environment = {
            "PATH": os.environ.get("PATH", os.defpath),
            "PYTHONPATH": str(Path(__file__).parents[3]),
            "OPENBLAS_NUM_THREADS": "1",  # a thread's stack counts towards the memory limit
        }
        try:
            process = cls(
                await asyncio.create_subprocess_exec(
                    *(sys.executable, "-m", "service.imagery.decoding.worker", config),
                    stdin=asyncio.subprocess.PIPE,
                    stdout=asyncio.subprocess.PIPE,
                    env=environment,
                    limit=BUFFER_BYTES,
                )
            )
        except OSError as error:
            raise PoolBroken(f"a decode process could not be started: {error}") from None
        try:
            async with asyncio.timeout(START_TIMEOUT_S):
                await process._read_frame()
        except BaseException as error:
            process.kill()
            await process.ended()
            if isinstance(error, (OSError, asyncio.IncompleteReadError, ValueError)):
                raise PoolBroken("a decode process could not be started") from None
            raise
        return process

    @property
    def pid(self) -> int:
        """Its id."""
        return self._process.pid

    @property
    def is_alive(self) -> bool:
        """False once it is known to have ended; its pipe tells that before its exit status is collected."""
        return self._process.returncode is None and not self._answers.at_eof()

    async def ended(self) -> None:
        """Returns when it has."""
        await self._process.wait()

    def kill(self) -> None:
        """At once; a process that hangs in a decoder listens to nothing else."""
        if self._process.returncode is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)  # Popen.kill may collect the exit status that asyncio waits for

    async def ask(self, head: dict[str, Any], blobs: Sequence[frames.Bytes]) -> Frame | None:
        """The frame that answers a frame, or None if the process had ended before it read any of it.

        Raises IncompleteReadError if it ends later.
        """
        self._requests.write(frames.pack(head, blobs))
        with suppress(ConnectionError):  # how far it came is what it said
            await self._requests.drain()
        if not await self._answers.read(len(frames.BEGUN)):
            return None
        return await self._read_frame()

    async def _read_frame(self) -> Frame:
        (length,) = frames.LENGTH.unpack(await self._answers.readexactly(frames.LENGTH.size))
        head = json.loads(await self._answers.readexactly(length))
        return head, [await self._answers.readexactly(size) for size in head["blobs"]]
