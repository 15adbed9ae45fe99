from __future__ import annotations

import asyncio
import os
import signal
import subprocess

import pytest

from service.imagery.decoding import frames
from service.imagery.decoding.fork_server import ForkServer
from service.imagery.decoding.process import DecodeProcess


class Deaf(ForkServer):
    """Starts what says that it is ready, reads no requests, and hangs: as a decoder that is no longer itself may."""

    async def fork(self, _requests: int, answers: int, _niceness: int) -> int:
        os.write(answers, frames.pack({"ready": True}))
        self.started = subprocess.Popen(["sleep", "1000"], pass_fds=[answers])
        return self.started.pid


def test_a_process_that_closed_its_requests_is_ended_without_harm_to_others(caplog: pytest.LogCaptureFixture) -> None:
    async def run() -> None:
        server = Deaf("")
        process = await DecodeProcess.start(server, 0)
        asked = asyncio.create_task(process.ask({}, []))
        await asyncio.sleep(0.01)  # the first write tells that nobody reads
        process.kill()
        assert await asked is None
        await process.ended()
        assert server.started.wait() == -signal.SIGKILL

    asyncio.run(run())
    assert caplog.messages == []  # as asyncio writes of what is closed twice
