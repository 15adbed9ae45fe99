"""The service against what people serve a ViT with instead: images/s that 32 clients get.

    python -m tests.benchmarks.peers [--rounds 5] [--seconds 15] [--clients 32] [--new-connections]

ViT-S/16 at 224 px with random weights, the same for all; GeoTIFFs of 120 × 120 px, three bands, uint16, Deflate; the
answer is the embedding and 19 probabilities as JSON (ours says more). Each client asks again when answered. Ours twice, each with the engine that it chooses:
with an artifact that brings int8, and with one that does not. The peers (`tests/benchmarks/peers/`) compute in float32.
All take turns in each round, while the others are stopped; the first seconds of a turn do not count. The client runs on
the same processors. Connections are kept, which is best for all, or new for each request.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import statistics
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import httpx
import numpy as np

from tests.benchmarks.figures import print_row, ratios, spread
from tests.benchmarks.load import Request, turn
from tests.benchmarks.peers.sides import PLAIN, engine_of, ours, peers
from tests.benchmarks.processes import resumed
from tests.benchmarks.vit_small import save_vit_small, tiles
from tests.conftest import Service


def embedding(service: Service, tile: bytes) -> np.ndarray:
    """As it is answered. Raises SystemExit unless 19 probabilities are beside it."""
    answer = httpx.post(
        f"{service.url}/invocations", content=tile, headers={"Content-Type": "image/tiff"}, timeout=60
    ).json()
    prediction = answer["predictions"][0] if "predictions" in answer else answer
    if len([p for p in prediction["probabilities"].values() if p is not None]) != 19:
        raise SystemExit(f"{service.url} does not answer what the others do")
    return np.asarray(prediction["embedding"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=15, help="of a turn, after its warm-up")
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--new-connections", action="store_true", help="for each request")
    asked = parser.parse_args()
    request = Request(b"", query="outputs=embedding,probabilities", is_last=asked.new_connections)
    requests = [replace(request, body=tile) for tile in tiles()]
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as held:
        folder = Path(name)
        exact, small = save_vit_small(folder / "exact", is_int8=False), save_vit_small(folder / "int8")
        sides, own = {}, []
        for artifact in (small, exact):
            service = held.enter_context(ours(folder, artifact))
            with resumed(service.process.pid):
                own.append(f"ours, {engine_of(service)}")
            sides[own[-1]] = service
        sides |= held.enter_context(peers(folder, exact))
        compare(sides, own, requests, asked)


def compare(
    sides: dict[str, Service], own: Sequence[str], requests: Sequence[Request], asked: argparse.Namespace
) -> None:
    """Prints a line for each side, and our ratios to the better peer."""
    answers, rates = {}, {name: [] for name in sides}
    for name, service in sides.items():
        with resumed(service.process.pid):
            answers[name] = embedding(service, requests[0].body)
    for number in range(asked.rounds):
        for name, service in sides.items():
            with resumed(service.process.pid):
                some = turn(service, itertools.cycle(requests), asked.clients, asked.seconds)
                rates[name].append(asyncio.run(some).rate)
            print(f"round {number}, {name}: {rates[name][-1]:.1f} images/s", flush=True)
    theirs = [name for name in sides if name not in own]
    better = max(theirs, key=lambda name: statistics.median(rates[name]))
    print(f"{asked.clients} clients, {asked.rounds} rounds of {asked.seconds:g} s: images/s, median (lowest–highest)")
    for name, found in rates.items():
        cosine = answers[name] @ answers[PLAIN] / np.linalg.norm(answers[name]) / np.linalg.norm(answers[PLAIN])
        print(f"  {name:44}{spread(found, 1):24} cosine with {PLAIN} {cosine:.5f}")
    for name in own:
        print_row(
            "peers",
            f"{statistics.median(rates[name]):.0f} images/s, {asked.clients} clients ({name.removeprefix('ours, ')})",
            f"{better}, float32, {statistics.median(rates[better]):.1f}",
            spread(ratios(rates[name], rates[better]), 1),
        )


if __name__ == "__main__":
    main()
