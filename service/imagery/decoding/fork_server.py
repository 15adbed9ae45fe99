"""The process that decode processes are forked from: it warms up once, and each of them is ready in milliseconds.

It sees no tile, so that nothing of one can reach another through it.
"""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
from pathlib import Path

from service.imagery.decoding.forks import NICENESS, NOT_FORKED, PROCESS

START_TIMEOUT_S = 60.0  # importing GDAL from a cold disk


class PoolBroken(RuntimeError):
    """A decode process that ended cannot be replaced."""


class ForkServer:
    """Started by the first fork, and again if it ended."""

    def __init__(self, config: str) -> None:
        self._config = config
        self._process: subprocess.Popen[bytes] | None = None
        self._socket: socket.socket | None = None
        self._asked = asyncio.Lock()

    async def fork(self, requests: int, answers: int, niceness: int) -> int:
        """The id of a process that reads requests from the one descriptor and writes answers to the other.

        Raises PoolBroken.
        """
        async with self._asked:
            try:
                async with asyncio.timeout(START_TIMEOUT_S):
                    server = self._socket or await self._start()
                    socket.send_fds(server, [NICENESS.pack(niceness)], [requests, answers])
                    said = await asyncio.get_running_loop().sock_recv(server, PROCESS.size)
            except BaseException as error:
                self._end()  # what it says from now on would answer another question
                if isinstance(error, (OSError, TimeoutError, ValueError)):
                    raise PoolBroken(f"a decode process could not be started: {error}".rstrip(": ")) from None
                raise
            if said in (b"", NOT_FORKED):
                self._end()
                raise PoolBroken("a decode process could not be started")
            return int(*PROCESS.unpack(said))

    async def _start(self) -> socket.socket:
        await self.close()  # the one before is collected
        # Its environment is made from nothing: a decoder has no use for credentials.
        environment = {
            "PATH": os.environ.get("PATH", os.defpath),
            "PYTHONPATH": str(Path(__file__).parents[3]),
            "OPENBLAS_NUM_THREADS": "1",  # a thread's stack counts towards the memory limit, and is lost in a fork
            "LIBTIFF_JPEG_MAX_ALLOWED_SCAN_NUMBER": "20",  # encoders write 10; libtiff's 100 take 0.23 s for a few kB
        }
        self._socket, its_end = socket.socketpair()
        self._socket.setblocking(False)
        command = [sys.executable, "-m", "service.imagery.decoding.worker", self._config]
        with its_end:  # not by the loop: uvloop's leaves descriptors of ours open in what it starts
            self._process = subprocess.Popen(command, stdin=its_end.fileno(), env=environment)
        if not await asyncio.get_running_loop().sock_recv(self._socket, PROCESS.size):
            raise OSError
        return self._socket

    def _end(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        if self._process is not None:
            self._process.kill()

    async def close(self) -> None:
        """Ends the server, and nothing that was forked."""
        self._end()
        if self._process is not None:
            await asyncio.to_thread(self._process.wait)
