from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from training.probe import features, neighbours
from training.probe.representations import ImageStatistics
from training.stores.store import Store


class Counting:
    """Image statistics that know how many images they saw, and stop when told."""

    name, key = "counting", "counting"

    def __init__(self, at_most: int = 10**9) -> None:
        self.seen, self.at_most = 0, at_most

    def __call__(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        if self.seen + len(images) > self.at_most:
            raise KeyboardInterrupt
        self.seen += len(images)
        return ImageStatistics()(images)


def test_features_are_computed_once(tiles: Path, tmp_path: Path) -> None:
    store, counting = Store.open(tiles), Counting()
    first = features.cached(counting, store, tmp_path)
    again = features.cached(counting, store, tmp_path)
    assert counting.seen == len(store.images)
    assert np.array_equal(first, again)
    assert np.array_equal(first, ImageStatistics()(store.images))


def test_some_features_come_from_the_cache_only_if_it_holds_the_whole_store(tiles: Path, tmp_path: Path) -> None:
    store, counting, some = Store.open(tiles), Counting(), np.asarray([70, 3, 399])
    first = features.of_some(counting, store, tmp_path, some)
    assert counting.seen == 3
    assert list(tmp_path.iterdir()) == []
    features.cached(counting, store, tmp_path)
    assert np.array_equal(features.of_some(counting, store, tmp_path, some), first)
    assert counting.seen == 3 + len(store.images)


def test_a_broken_computation_goes_on_where_it_was(
    tiles: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(features, "SAVE_EVERY", 128)
    store = Store.open(tiles)
    with pytest.raises(KeyboardInterrupt):
        features.cached(Counting(at_most=200), store, tmp_path)
    rest = Counting()
    assert np.array_equal(features.cached(rest, store, tmp_path), ImageStatistics()(store.images))
    assert rest.seen == len(store.images) - 128


def test_image_statistics_are_mean_deviation_and_percentiles_of_each_band() -> None:
    image = np.zeros((1, 2, 2, 3), np.uint8)
    image[0, :, :, 0] = [[0, 10], [20, 30]]
    found = ImageStatistics()(image)[0]
    assert found.shape == (21,)
    assert found[[0, 3]] == pytest.approx([15, np.std([0, 10, 20, 30])])
    assert found[6:21:3] == pytest.approx(np.percentile([0, 10, 20, 30], [5, 25, 50, 75, 95]))


def test_nearest_neighbours_vote_by_cosine_whatever_the_length() -> None:
    bank = torch.tensor([[1.0, 0.0]] * 30 + [[0.0, 100.0]] * 30)
    classes = torch.tensor([0] * 30 + [1] * 30)
    queries = torch.tensor([[50.0, 10.0], [0.1, 0.2]])
    assert neighbours.accuracy(bank, classes, queries, torch.tensor([0, 1])) == 1
    assert neighbours.accuracy(bank, classes, queries, torch.tensor([0, 0])) == 0.5
