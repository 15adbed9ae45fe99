"""The life of the service: start, serve, drain, end."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import logging
import resource
import signal
import time
from collections.abc import Iterator

import uvicorn
import uvloop
from starlette.types import ASGIApp

from service.callers import connection
from service.callers.admitting import Admitting
from service.callers.keys import Keys
from service.featurizer import Featurizer
from service.metrics import Metrics
from service.model.artifact import Artifact
from service.settings import Settings

M_MMAP_THRESHOLD, M_ARENA_MAX = -3, -8  # of malloc.h
DRAIN_S = 18.0  # SageMaker kills 30 s after SIGTERM; some are for ending
log = logging.getLogger("service")


class _Server(uvicorn.Server):
    """uvicorn that leaves signals to us: it would close its sockets first and end with the signal's number."""

    async def serve_or_fail(self) -> None:
        """Raises OSError where uvicorn would end the program, as on a port in use."""
        try:
            await self.serve()
        except SystemExit:
            raise OSError(f"port {self.config.port} cannot be listened on: is it in use?") from None

    def leave_who_do_not_read(self) -> None:
        """What still answers on their connections would wait for ever, also when it is cancelled."""
        for client in list(self.server_state.connections):
            if isinstance(client, connection.Connection) and client.flow.write_paused:
                client.transport.abort()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def serve(artifact: Artifact, settings: Settings) -> int:
    """Serves until SIGTERM or SIGINT. Returns the exit code: 0 after draining, 1 if the service broke."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # shells allow 1,024: few for clients that do nothing
    _return_memory()
    return uvloop.run(_serve(artifact, settings))  # half the time for a connection that asyncio's loop takes


def _return_memory() -> None:
    """Has threads share two heaps, and large bodies given back at once: mallopt(3), where the C library is glibc.

    Else each thread has a heap of its own, and keeps the largest that it ever held: 12 % more after 10,000 mixed
    requests than after the first thousand.
    """
    with contextlib.suppress(AttributeError, OSError):
        libc = ctypes.CDLL(None)
        libc.mallopt(M_ARENA_MAX, 2)
        libc.mallopt(M_MMAP_THRESHOLD, 2**20)


async def _serve(artifact: Artifact, settings: Settings) -> int:
    metrics = Metrics()
    featurizer = Featurizer(artifact, settings, metrics)
    living = asyncio.create_task(featurizer.live())
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    asked_to_stop = asyncio.create_task(stopping.wait())
    config = uvicorn.Config(
        await asyncio.to_thread(_application, featurizer, settings, metrics),
        host="0.0.0.0",
        port=settings.sagemaker_bind_to_port,
        http=connection.kind(settings.receive_timeout_s, Admitting(featurizer, metrics, Keys.of(settings.api_keys))),
        ws="none",
        log_config=None,
        access_log=False,
    )
    server = _Server(config)
    listening = asyncio.create_task(server.serve_or_fail())

    await asyncio.wait({living, listening, asked_to_stop}, return_when=asyncio.FIRST_COMPLETED)
    broken = next((task.exception() for task in (living, listening) if task.done()), None)
    if broken is not None:
        log.error("cannot serve: %s", " ".join(str(broken).split()) or type(broken).__name__)
    elif not listening.done():
        config.timeout_graceful_shutdown = await _drain(featurizer)
    server.should_exit = True
    living.cancel()
    await asyncio.gather(living, listening, return_exceptions=True)
    await featurizer.close()
    server.leave_who_do_not_read()
    return 0 if stopping.is_set() and broken is None else 1


def _application(featurizer: Featurizer, settings: Settings, metrics: Metrics) -> ASGIApp:
    from service import app  # FastAPI takes 0.3 s to import: meanwhile the engine loads and decode processes start

    return app.create(featurizer, settings, metrics)


async def _drain(featurizer: Featurizer) -> int:
    """No new work; waits until what was accepted has its answer. Returns the seconds left to send it, at least 1."""
    featurizer.status = "draining"
    log.info("draining")
    end = time.monotonic() + DRAIN_S
    while featurizer.in_flight and time.monotonic() < end:
        await asyncio.sleep(0.05)
    return max(1, round(end - time.monotonic()))
