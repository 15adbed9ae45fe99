"""Nearest neighbours, against every cosine in float64 sorted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from service import similarity
from service.answers.records import compand
from service.similarity import nearest


def exact(vectors: NDArray[Any]) -> NDArray[np.float64]:
    numbers = vectors.astype(np.float64)
    numbers = numbers * abs(numbers) if vectors.dtype == np.int8 else numbers
    return numbers / np.linalg.norm(numbers, axis=1, keepdims=True)


def by_brute_force(embeddings: NDArray[Any], query: NDArray[Any], k: int) -> tuple[list[int], NDArray[np.float64]]:
    cosines = exact(embeddings) @ exact(query[None])[0]
    order = np.argsort(-cosines, kind="stable")[:k]
    return order.tolist(), cosines[order]


@pytest.fixture(params=["float32", "float16", "int8"])
def embeddings(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> NDArray[Any]:
    """Around a few centres, as embeddings lie; in many blocks."""
    monkeypatch.setattr(similarity, "BLOCK_BYTES", 100 * 4 * 48)
    chance = np.random.default_rng(0)
    centres = chance.normal(size=(5, 48))
    made = (centres[chance.integers(0, 5, 3001)] + 0.01 * chance.normal(size=(3001, 48))).astype(np.float32)
    return compand(made)[0] if request.param == "int8" else made.astype(request.param)


@pytest.mark.parametrize("k", [1, 10, 3001, 5000])
def test_they_are_those_of_brute_force(embeddings: NDArray[Any], k: int) -> None:
    queries = embeddings[[0, 1500, 3000]]
    for query, found in zip(queries, nearest(embeddings, queries, k), strict=True):
        order, cosines = by_brute_force(embeddings, query, k)
        assert found.cosines == pytest.approx(cosines, abs=1e-12)
        assert found.indices.tolist() == order


def test_neighbours_that_float32_cannot_tell_apart_come_in_their_true_order() -> None:
    query = np.ones((1, 64), np.float32)
    rows = np.ones((5000, 64), np.float32)
    rows[:, 0] += np.random.default_rng(0).permutation(5000).astype(np.float32) * np.float32(2**-20)
    order, _ = by_brute_force(rows, query[0], 20)
    (found,) = nearest(rows, query, 20)
    assert found.indices.tolist() == order


def test_equally_near_ones_come_in_their_order_however_many_there_are() -> None:
    (found,) = nearest(np.ones((10_000, 16), np.float32), np.ones((1, 16), np.float32), 7)
    assert found.indices.tolist() == list(range(7))


def test_what_is_no_number_is_no_neighbour_and_zeros_are_like_nothing() -> None:
    rows = np.array([[1, 0], [np.nan, 0], [0, 0], [-1, 0], [np.inf, 0]], np.float32)
    (found,) = nearest(rows, np.array([[2, 0]], np.float32), 5)
    assert (found.indices.tolist(), found.cosines.tolist()) == ([0, 2, 3], [1, 0, -1])


def test_a_mapped_file_is_searched_as_it_is(tmp_path: Path, embeddings: NDArray[Any]) -> None:
    np.save(tmp_path / "embeddings.npy", embeddings)
    mapped = np.load(tmp_path / "embeddings.npy", mmap_mode="r")
    (one,), (other,) = (nearest(rows, embeddings[:1], 10) for rows in (mapped, embeddings))
    assert one.indices.tolist() == other.indices.tolist()
