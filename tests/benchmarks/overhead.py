"""What the service adds to its engine, when 32 clients ask and when one does.

    python -m tests.benchmarks.overhead [--rounds 5] [--seconds 10] [--clients 32]

ViT-S/16 at 224 px with random weights and int8, the engines that the service chooses by itself, GeoTIFFs of
120 × 120 px. The same engines run bare, in this process, in batches of the size that is fastest; they take turns, and
the service is stopped meanwhile.

The client that asks takes its time from the processors that serve. It is measured (CPU time of its process) and taken
out: with N processors, images in T seconds count for N × T − that time, against N × T of the bare engine. Beside it
stand the plain ratio, and that of images per second of CPU time of the service and its decode processes.

One client, which asks again when it is answered: the median of its times against that of reading the same tile
(decoded, stretched, resized) and running the engine on it in this process.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import rasterio

from service.cpus import usable_cpus
from service.imagery.patches import ReadOptions, TileFile
from service.imagery.reader import read_tile
from service.imagery.resize import resize
from service.model.artifact import Artifact
from service.model.engine import Engine, choose
from tests.benchmarks.bare import at_work
from tests.benchmarks.figures import print_row, ratios, spread
from tests.benchmarks.load import Request, milliseconds, turn
from tests.benchmarks.peers.sides import ours
from tests.benchmarks.processes import resumed
from tests.benchmarks.vit_small import resized, save_vit_small, tiles
from tests.conftest import Service

BATCHES = (1, 2, 4, 8)


def alone(engine: Engine, artifact: Artifact, files: Iterator[bytes], seconds: float) -> float:
    """Milliseconds that reading a tile and running it take here, in the median."""
    spec, options, took = artifact.manifest.input.spec, ReadOptions(), []
    end = time.perf_counter() + seconds
    with rasterio.Env():  # entered once, as in the decode processes
        while (began := time.perf_counter()) < end:
            patches = read_tile([TileFile(next(files))], spec, options)
            engine.run(np.stack([resize(patch.pixels, artifact.manifest.backbone.image_size) for patch in patches]))
            took.append(1000 * (time.perf_counter() - began))
    return statistics.median(took)


def measure(service: Service, artifact: Artifact, asked: argparse.Namespace) -> None:
    """Prints the rows."""
    engines = choose(artifact, usable_cpus())
    engine = engines.together or engines.each[0]
    images = np.stack([resized(i) for i in range(max(BATCHES))])
    files = tiles()
    requests = [Request(tile, query="outputs=embedding,probabilities", is_last=False) for tile in files]
    batch = max(BATCHES, key=lambda n: at_work(engines, images[:n], 2)[0])
    print(f"{engines.name}: fastest in batches of {batch}", flush=True)
    walls, shares, efforts, medians = [], [], [], []
    for number in range(asked.rounds):
        of_bare, of_bare_cpu = at_work(engines, images[:batch], asked.seconds)
        here = alone(engine, artifact, itertools.cycle(files), asked.seconds / 2)
        with resumed(service.process.pid):
            many = asyncio.run(turn(service, itertools.cycle(requests), asked.clients, asked.seconds))
            one = asyncio.run(turn(service, itertools.cycle(requests), 1, asked.seconds / 2))
        left = 1 - many.client_cpu_s / (usable_cpus() * many.seconds)
        walls.append((many.rate, of_bare))
        shares.append((many.rate / left, of_bare))
        efforts.append((len(many.replies) / many.service_cpu_s, of_bare_cpu))
        medians.append((milliseconds(one.replies, 0.5), here))
        print(
            f"round {number}: {many.rate:.1f} images/s for {asked.clients} clients, who took {1 - left:.1%} of the "
            f"processors; the engine alone {of_bare:.1f}; one client {medians[-1][0]:.1f} ms, here {here:.1f} ms",
            flush=True,
        )
    compared = {
        "as the clock says": walls, "the client's time taken out": shares, "per second of CPU time": efforts,
        "one client's p50 to reading and engine": medians,
    }  # fmt: skip
    for name, pairs in compared.items():
        print(f"  {name:42}{spread(ratios(*zip(*pairs, strict=True)))}")
    own, other = (statistics.median(values) for values in zip(*shares, strict=True))
    share = spread(ratios(*zip(*shares, strict=True)))
    print_row("overhead", f"{own:.0f} images/s, {asked.clients} clients", f"its engine alone, {other:.0f}", share)
    own, other = (statistics.median(values) for values in zip(*medians, strict=True))
    took = spread(ratios(*zip(*medians, strict=True)))
    print_row("overhead", f"{own:.1f} ms, one client (p50)", f"reading and engine alone, {other:.1f} ms", took)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=10, help="of a turn, after its warm-up")
    parser.add_argument("--clients", type=int, default=32)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        artifact = save_vit_small(Path(name) / "artifact")
        with ours(Path(name), artifact) as service:
            measure(service, artifact, asked)


if __name__ == "__main__":
    main()
