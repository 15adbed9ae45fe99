"""Who takes part: ours and its peers, each in processes of its own, behind the same route."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path

import httpx

from service.cpus import usable_cpus
from service.model.artifact import Artifact
from tests.benchmarks.processes import pause, tree
from tests.conftest import ROOT, Service, start_service
from tests.ports import HeldPort

PLAIN, BATCHED = "FastAPI, rasterio and timm", "LitServe with the same"


@contextlib.contextmanager
def ours(folder: Path, artifact: Artifact) -> Iterator[Service]:
    """The service with this artifact and whatever engine it chooses, paused."""
    service = start_service(folder, artifact.path, ENGINE="auto", DECODE_WORKERS=str(usable_cpus()))
    with _kept(service):
        yield service


@contextlib.contextmanager
def peers(folder: Path, artifact: Artifact) -> Iterator[dict[str, Service]]:
    """Those that are installed, paused, by name."""
    commands = {PLAIN: ("uvicorn", "tests.benchmarks.peers.plain:app", "--log-level", "warning", "--port")}
    if find_spec("litserve"):
        commands[BATCHED] = ("tests.benchmarks.peers.batched",)
    else:
        print("LitServe is not installed and takes no part: pip install litserve")
    with contextlib.ExitStack() as held:
        yield {name: held.enter_context(_kept(_start(folder, artifact, part))) for name, part in commands.items()}


def _start(folder: Path, artifact: Artifact, command: Sequence[str]) -> Service:
    port = HeldPort()
    environment = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}  # the tests' own
    log = folder / f"peer-{port.number}.log"
    with log.open("w") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", *command, str(port.number)], cwd=folder, stdout=file, stderr=file, text=True,
            env={**environment, "ARTIFACT": str(artifact.path), "PYTHONPATH": str(ROOT)},
        )  # fmt: skip
    return Service(process, port, log)


@contextlib.contextmanager
def _kept(service: Service) -> Iterator[Service]:
    """Ready, then paused; ended with all that it started."""
    try:
        service.wait_until_ready()
        pause(service.process.pid)
        yield service
    finally:
        for pid in reversed(tree(service.process.pid)):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        service.process.wait()


def engine_of(service: Service) -> str:
    """As ours names it."""
    return str(httpx.get(f"{service.url}/model").json()["properties"]["aerial:engine"])
