"""The ten nearest of one embedding among a million: `service.similarity` against sorting every cosine and scikit-learn.

    python -m tests.benchmarks.similar [--vectors 1000000] [--dim 384] [--k 10] [--rounds 5]

The vectors lie around a thousand centres, as embeddings do. All ways find the same rows, or it says so.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.neighbors import NearestNeighbors

from service.answers.records import compand
from service.similarity import nearest

CENTRES, AT_ONCE = 1000, 50_000


def made(count: int, dim: int) -> NDArray[np.float32]:
    chance = np.random.default_rng(0)
    centres = chance.standard_normal((CENTRES, dim), np.float32)
    vectors = np.empty((count, dim), np.float32)
    for start in range(0, count, AT_ONCE):
        some = vectors[start : start + AT_ONCE]
        some[:] = centres[chance.integers(0, CENTRES, len(some))] + chance.standard_normal(some.shape, np.float32)
    return vectors


def by_sorting(vectors: NDArray[np.float32], query: NDArray[np.float32], k: int) -> NDArray[Any]:
    order: NDArray[Any] = np.argsort(-(vectors @ query[0]) / np.linalg.norm(vectors, axis=1))[:k]
    return order


def main() -> None:
    """Prints a line for each way and type."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in {"vectors": 1_000_000, "dim": 384, "k": 10, "rounds": 5}.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    asked = parser.parse_args()
    vectors, k = made(asked.vectors, asked.dim), asked.k
    query = vectors[:1].copy()
    half, (codes, _) = vectors.astype(np.float16), compand(vectors[: len(vectors) // 10])
    tenth = np.tile(codes, (10, 1))[: len(vectors)]
    forest = NearestNeighbors(metric="cosine", algorithm="brute").fit(vectors)
    ways: dict[str, Callable[[], NDArray[Any]]] = {
        "every cosine, sorted": lambda: by_sorting(vectors, query, k),
        "scikit-learn, brute": lambda: forest.kneighbors(query, k, return_distance=False)[0],
        "float32": lambda: nearest(vectors, query, k)[0].indices,
        "float16": lambda: nearest(half, half[:1], k)[0].indices,
        "int8": lambda: nearest(tenth, tenth[:1], k)[0].indices,
    }
    print(f"{k} nearest of {asked.vectors} vectors of {asked.dim} numbers, {asked.rounds} rounds in turn, medians")
    found: dict[str, NDArray[Any]] = {}
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(asked.rounds):
        for name, look in ways.items():
            started = time.perf_counter()
            found[name] = look()
            seconds[name].append(time.perf_counter() - started)
    first = statistics.median(seconds["every cosine, sorted"])
    for name, taken in seconds.items():
        middle = statistics.median(taken)
        print(f"{name:22} {middle:7.3f} s  {first / middle:6.1f} × (from {min(taken):.3f} s on)")
    same = all((found[name] == found["float32"]).all() for name in ("every cosine, sorted", "scikit-learn, brute"))
    print("all ways of float32 found the same rows" if same else "NOT the same rows")


if __name__ == "__main__":
    main()
