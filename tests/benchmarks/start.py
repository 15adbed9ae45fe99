"""From exec to ready: how long the service takes to start, and what it then holds in memory.

    python -m tests.benchmarks.start [--rounds 7]

The bundled starter with the engine that the service chooses by itself. Ready is when /ping answers 200: the model is
loaded, the decode processes are up and a patch went through. Memory is looked at after a hundred tiles: what is
resident of the service's own process, and of it and its decode processes together with shared pages counted once (Pss).
For comparison, a process that does no more than import torch and timm. They take turns.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from service.cpus import usable_cpus
from service.model.artifact import STARTER
from tests.benchmarks.figures import print_row, ratios, spread
from tests.benchmarks.load import Request, ask, port
from tests.benchmarks.peers.sides import engine_of
from tests.benchmarks.processes import libraries, resident_mb, tree, tree_mb
from tests.benchmarks.vit_small import tiles
from tests.conftest import Service, start_service

IMPORTS = "import timm, torch; print(flush=True); input()"


@dataclass(frozen=True)
class Start:
    """One start."""

    seconds: float
    own_mb: float  #: resident, of the first process
    tree_mb: float
    engine: str
    has_torch: bool  #: among the libraries of any of its processes


async def until_ready(service: Service) -> None:
    """Asks every few milliseconds. Raises SystemExit if the service ends instead."""
    while service.process.poll() is None:
        with contextlib.suppress(OSError):
            reader, writer = await asyncio.open_connection("127.0.0.1", port(service))
            writer.write(b"GET /ping HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            answer = await reader.read()
            writer.close()
            if answer.split()[1:2] == [b"200"]:
                return
        await asyncio.sleep(0.005)
    raise SystemExit(service.log.read_text())


async def ours(folder: Path) -> Start:
    began = time.perf_counter()
    service = start_service(folder, STARTER, ENGINE="auto", DECODE_WORKERS=str(usable_cpus()))
    try:
        await until_ready(service)
        seconds, pid = time.perf_counter() - began, service.process.pid
        for tile in itertools.islice(itertools.cycle(tiles()), 100):
            await ask(port(service), Request(tile))
        has_torch = any(name.startswith("libtorch") for one in tree(pid) for name in libraries(one))
        engine = await asyncio.to_thread(engine_of, service)
        return Start(seconds, resident_mb(pid), tree_mb(pid), engine, has_torch)
    finally:
        service.process.kill()
        service.process.wait()


def imports() -> tuple[float, float]:
    """Seconds until torch and timm are there, and MB resident."""
    began = time.perf_counter()
    with subprocess.Popen([sys.executable, "-c", IMPORTS], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        seconds, memory = time.perf_counter() - began, resident_mb(process.pid)
        process.communicate(b"\n")
    return seconds, memory


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    asked = parser.parse_args()
    starts, others = [], []
    with tempfile.TemporaryDirectory() as folder:
        for number in range(asked.rounds):
            starts.append(asyncio.run(ours(Path(folder))))
            others.append(imports())
            print(
                f"round {number}: ready after {starts[-1].seconds:.2f} s; imports alone {others[-1][0]:.2f} s",
                flush=True,
            )
    seconds, own, whole = ([getattr(s, name) for s in starts] for name in ("seconds", "own_mb", "tree_mb"))
    import_s, import_mb = zip(*others, strict=True)
    print(
        f"{starts[0].engine}; torch is {'' if any(s.has_torch for s in starts) else 'not '}among the loaded libraries"
    )
    print(f"  from exec to ready: {spread(seconds)} s; to torch and timm imported: {spread(import_s)} s")
    print(
        f"  resident: {spread(own)} MB, with decode processes {spread(whole)} MB; "
        f"torch and timm alone: {spread(import_mb)} MB"
    )
    middle = statistics.median
    print_row(
        "start",
        f"starter ready after {middle(seconds):.1f} s, {middle(whole):.0f} MB in all its processes",
        f"importing torch and timm alone, {middle(import_s):.1f} s, {middle(import_mb):.0f} MB",
        spread(ratios(import_s, seconds)),
    )


if __name__ == "__main__":
    main()
