"""Writing the answer for 1,000 patches of 384 numbers: ours against json.dumps of the same content.

    python -m tests.benchmarks.encoders [--patches 1000] [--rounds 20]

With the labels and groups of the bundled model. Each round writes each of them once; medians over the rounds, and of
the longest time for which another thread, as that of the event loop, could not run.
"""

from __future__ import annotations

import argparse
import json
import statistics
import threading
import time
from collections.abc import Callable

import numpy as np

from service.answers.npy import to_npy
from service.answers.text import to_json, to_json_lines
from service.featurizer import Prediction, TileResult
from service.imagery.patches import PatchFacts, Radiometry
from service.model import artifact as artifacts
from service.options import Options
from tests.benchmarks.figures import print_row, ratios, spread

DIM = 384
WAYS = {"JSON": to_json, "JSON Lines": to_json_lines, "npy": to_npy}
RING = [[12.1, 48.2], [12.2, 48.2], [12.2, 48.3], [12.1, 48.3], [12.1, 48.2]]


def predictions(count: int, labels: int) -> list[Prediction]:
    chance = np.random.default_rng(0)
    radiometry = Radiometry(divisor=2000, boa_offset=0, scale=1, bands=("B04", "B03", "B02"))
    footprint = {"type": "Polygon", "coordinates": [RING]}
    return [
        Prediction(
            id="scene",
            facts=PatchFacts(
                (120 * i, 0, 120, 120), 1.0, "EPSG:32633", (10, 0, 4e5, 0, -10, 5e6), footprint, radiometry, ()
            ),
            embedding=chance.normal(size=DIM).astype(np.float32),
            logits=chance.normal(size=labels).astype(np.float32),
            tokens=None,
        )
        for i in range(count)
    ]


class Watch:
    """A thread that wants to run each millisecond, and the longest that it could not."""

    def __init__(self) -> None:
        self.longest, self._is_over = 0.0, threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def _watch(self) -> None:
        last = time.perf_counter()
        while not self._is_over.wait(0.001):
            now = time.perf_counter()
            self.longest, last = max(self.longest, now - last), now

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._thread.join()


def main() -> None:
    """Prints a line for each way of writing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--patches", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=20)
    asked = parser.parse_args()
    artifact = artifacts.load(artifacts.STARTER)
    results: list[TileResult] = [predictions(asked.patches, len(artifact.head["bias"]))]
    answer = to_json(results, artifact, Options()).body
    content = json.loads(answer)
    ways: dict[str, Callable[[], object]] = {
        "json.dumps alone, of lists": lambda: json.dumps(content),
        **{name: (lambda encode=encode: encode(results, artifact, Options())) for name, encode in WAYS.items()},
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    held: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(asked.rounds):
        for name, write in ways.items():
            with Watch() as watch:
                started = time.perf_counter()
                write()
                seconds[name].append(time.perf_counter() - started)
            held[name].append(watch.longest)
    print(f"{asked.patches} patches of {DIM} numbers, {len(answer) / 1e6:.1f} MB of JSON, {asked.rounds} rounds")
    first = statistics.median(next(iter(seconds.values())))
    for name, taken in seconds.items():
        middle = statistics.median(taken)
        others = f"others wait {statistics.median(held[name]) * 1e3:.1f} ms"
        print(f"{name:38} {middle * 1e3:7.1f} ms  {first / middle:6.1f} × (from {min(taken) * 1e3:.1f}), {others}")
    slowest = next(iter(seconds))
    for name in ("JSON", "npy"):
        answered = f"{name} of {asked.patches:,} patches, {statistics.median(seconds[name]) * 1e3:.1f} ms"
        print_row(
            "encoders", answered, f"{slowest}, {first * 1e3:.0f} ms", spread(ratios(seconds[slowest], seconds[name]), 1)
        )


if __name__ == "__main__":
    main()
