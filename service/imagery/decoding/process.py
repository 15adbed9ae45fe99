"""One decode process as the service sees it: started, asked, ended."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import signal
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from typing import Any

from service.imagery.decoding import frames
from service.imagery.decoding.fork_server import START_TIMEOUT_S, ForkServer, PoolBroken

PIPE_BYTES = 2**18
BUFFER_BYTES = 2**20  # of an answer; asyncio's own 64 KiB pause the pipe three times a patch

Frame = tuple[dict[str, Any], list[bytes]]


def _wide_pipe() -> tuple[int, int]:
    """Its ends; there is room for a patch of 224 px: with 64 KiB both sides wake thrice, 0.4 ms of CPU time a patch.

    Raises PoolBroken: as many descriptors may be in use as there may be.
    """
    try:
        ends = os.pipe()
    except OSError as error:
        raise PoolBroken(f"a decode process could not be started: {error}") from None
    with suppress(AttributeError, OSError):  # no Linux, or it has given away as much as it may
        fcntl.fcntl(ends[0], fcntl.F_SETPIPE_SZ, PIPE_BYTES)
    return ends


class _Answers(asyncio.StreamReader):
    """What a process writes; all descriptors of a process are closed when it ends, however it ends."""

    def __init__(self) -> None:
        super().__init__(BUFFER_BYTES)
        self.ended = asyncio.Event()

    def feed_eof(self) -> None:
        super().feed_eof()
        self.ended.set()


class DecodeProcess:
    """A process that runs `service.imagery.decoding.worker`."""

    def __init__(self, pid: int, to_it: int, from_it: int) -> None:
        self.pid = pid  #: its id
        self._to_it, self._from_it = open(to_it, "wb", 0), open(from_it, "rb", 0)  # noqa: SIM115 - the pipes close them
        self._answers = _Answers()

    @classmethod
    async def start(cls, server: ForkServer, niceness: int) -> DecodeProcess:
        """A process that is ready. Raises PoolBroken."""
        with ExitStack() as its_ends, ExitStack() as our_ends:
            its_requests, to_it = _wide_pipe()
            its_ends.callback(os.close, its_requests)
            our_ends.callback(os.close, to_it)
            from_it, its_answers = _wide_pipe()
            its_ends.callback(os.close, its_answers)
            our_ends.callback(os.close, from_it)
            process = cls(await server.fork(its_requests, its_answers, niceness), to_it, from_it)
            our_ends.pop_all()  # the process closes them
        await process._connect()
        try:
            async with asyncio.timeout(START_TIMEOUT_S):
                await process._read_frame()
        except BaseException as error:
            process.kill()
            if isinstance(error, (OSError, asyncio.IncompleteReadError, ValueError)):
                raise PoolBroken("a decode process could not be started") from None
            raise
        return process

    async def _connect(self) -> None:
        loop = asyncio.get_running_loop()
        reading = asyncio.StreamReaderProtocol(self._answers)
        self._reading, _ = await loop.connect_read_pipe(lambda: reading, self._from_it)
        writing = asyncio.StreamReaderProtocol(asyncio.StreamReader())  # knows when to pause whoever writes
        writing_to, _ = await loop.connect_write_pipe(lambda: writing, self._to_it)
        self._requests = asyncio.StreamWriter(writing_to, writing, None, loop)

    @property
    def is_alive(self) -> bool:
        """False once it is known to have ended."""
        return not self._answers.ended.is_set()

    async def ended(self) -> None:
        """Returns when it has."""
        await self._answers.ended.wait()

    def kill(self) -> None:
        """At once; a process that hangs in a decoder listens to nothing else."""
        if not self._reading.is_closing():  # else it has ended, and its id may mean another
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
            if not self._requests.is_closing():  # as it is where the process reads no more: asyncio closes but once
                self._requests.transport.abort()
            self._reading.close()

    def collect(self) -> None:
        """Of one that has ended: in a container we are who has to, once its fork server has ended, too."""
        with suppress(ChildProcessError):  # the server does, or who else is the first process
            os.waitpid(self.pid, os.WNOHANG)

    async def ask(self, head: dict[str, Any], blobs: Sequence[frames.Bytes]) -> Frame | None:
        """The frame that answers a frame, or None if the process had ended before it read any of it.

        Raises IncompleteReadError if it ends later.
        """
        with suppress(ConnectionError):  # how far it came is what it said
            for piece in frames.pieces(head, blobs):
                self._requests.write(piece)
                await self._requests.drain()
        if not await self._answers.read(len(frames.BEGUN)):
            return None
        return await self._read_frame()

    async def _read_frame(self) -> Frame:
        (length,) = frames.LENGTH.unpack(await self._answers.readexactly(frames.LENGTH.size))
        head = json.loads(await self._answers.readexactly(length))
        return head, [await self._answers.readexactly(size) for size in head["blobs"]]
