"""Which embeddings are most like one: exact nearest neighbours by cosine, in one pass over all of them."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.cpus import usable_cpus

BLOCK_BYTES = 1 << 20  # of float32: what stays in a core's cache between its product and its norms


@dataclass(frozen=True)
class Neighbours:
    """The nearest of one query, nearest first; equally near ones in their order."""

    indices: NDArray[np.intp]
    cosines: NDArray[np.float64]


def nearest(embeddings: NDArray[Any], queries: NDArray[Any], k: int) -> list[Neighbours]:
    """The k nearest of each query: embeddings N × D and queries Q × D, both float32, float16, or int8 as
    `records.compand` makes it, whose scales cosines do not need.

    Exact as in float64, though the pass is in float32: whatever float32 cannot tell apart from the k-th is looked at
    again. `embeddings` may be a mapped file, of which a block a thread is in use. Rows that are no numbers are no
    neighbours, and nothing is like a vector of zeros (cosine 0).
    """
    looked_for = _unit(queries)
    threads = usable_cpus()
    bounds = np.linspace(0, len(embeddings), threads + 1, dtype=np.intp)
    with ThreadPoolExecutor(threads) as pool:
        scans = [pool.submit(_scan, embeddings, range(start, stop), looked_for, k) for start, stop in pairwise(bounds)]
        parts = [scan.result() for scan in scans]
    return [_best([part[i] for part in parts], k) for i in range(len(queries))]


def _scan(embeddings: NDArray[Any], rows: range, queries: NDArray[np.float64], k: int) -> list[Neighbours]:
    """Of some of the rows."""
    dim = queries.shape[1]
    undecided = 4 * dim * np.finfo(np.float32).eps  # twice the error of a product and a norm (Higham 2002, section 3.1)
    few = queries.astype(np.float32).T
    found = [Neighbours(np.empty(0, np.intp), np.empty(0)) for _ in queries]
    block_rows = max(1, BLOCK_BYTES // (4 * dim))
    for start in range(rows.start, rows.stop, block_rows):
        cosines = _cosines(_decoded(embeddings[start : min(start + block_rows, rows.stop)], np.float32), few)
        for i, query in enumerate(queries):
            least = found[i].cosines[-1] - undecided if len(found[i].cosines) == k else -np.inf
            (near,) = np.nonzero(cosines[:, i] >= least)
            if len(near) > k:
                close = np.partition(cosines[near, i], -k)[-k] - undecided
                near = near[cosines[near, i] >= close]
            if len(near):
                again = _unit(embeddings[start + near]) @ query
                found[i] = _best([found[i], Neighbours(start + near, again)], k)
    return found


def _cosines(block: NDArray[np.float32], queries: NDArray[np.float32]) -> NDArray[np.float32]:
    """N × Q, for N × D and unit vectors as D × Q; not a number where a row is none."""
    with np.errstate(invalid="ignore"):
        norms = np.sqrt(np.vecdot(block, block))[:, None]
        products: NDArray[np.float32] = block @ queries
        np.divide(products, norms, out=products, where=norms != 0)
    return products


def _best(parts: Sequence[Neighbours], k: int) -> Neighbours:
    indices, cosines = (np.concatenate([getattr(part, name) for part in parts]) for name in ("indices", "cosines"))
    order = np.lexsort((indices, -cosines))[:k]
    return Neighbours(indices[order], cosines[order])


def _unit(vectors: NDArray[Any]) -> NDArray[np.float64]:
    exact: NDArray[np.float64] = _decoded(vectors, np.float64)
    norms = np.linalg.norm(exact, axis=1, keepdims=True)
    return exact / np.where(norms == 0, 1, norms)


def _decoded(vectors: NDArray[Any], dtype: type[np.floating[Any]]) -> NDArray[Any]:
    numbers = vectors.astype(dtype, copy=False)
    return numbers * np.abs(numbers) if vectors.dtype == np.int8 else numbers
