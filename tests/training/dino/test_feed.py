from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import torch

from tests.training.dino.parity.twenty_steps import CONFIG
from training.dino import feed
from training.distributed import Place, Workers

ORDERED = replace(CONFIG, images=103, batch=10, seed=3)  # ten steps an epoch, three images left out


def order(first: int, last: int, share: slice = slice(None)) -> list[list[int]]:
    return [batch.tolist() for batch in feed.order(ORDERED, range(first, last), share)]


def test_an_epoch_takes_no_image_twice_and_each_epoch_has_an_order_of_its_own() -> None:
    first, second = order(0, 10), order(10, 20)
    for epoch in (first, second):
        seen = Counter(i for batch in epoch for i in batch)
        assert len(seen) == 100
        assert max(seen.values()) == 1
    assert [set(batch) for batch in first] != [set(batch) for batch in second]


def test_a_run_that_goes_on_at_a_step_sees_what_the_unbroken_one_sees() -> None:
    assert order(13, 20) == order(0, 20)[13:]


def test_processes_share_a_batch_whatever_their_number() -> None:
    whole = order(0, 4)
    for world in (2, 3):
        shares = [Workers(Place(rank, world), torch.device("cpu")).share(ORDERED.batch) for rank in range(world)]
        parts = [order(0, 4, share) for share in shares]
        assert [[i for part in parts for i in part[step]] for step in range(4)] == whole


def test_images_of_several_stores_come_as_one_in_the_order_asked_for() -> None:
    chance = np.random.default_rng(0)
    one, two = (chance.integers(0, 256, (n, 4, 4, 3), np.uint8) for n in (9, 6))
    chosen = np.array([1, 3, 8]), np.array([0, 5])  # positions 0 … 4 of the run
    given = feed.Feed([(one, chosen[0]), (two, chosen[1])], torch.device("cpu"))
    everything = np.concatenate([one[chosen[0]], two[chosen[1]]])
    wanted = [np.array([0, 2, 4]), np.array([3]), np.array([1, 2])]
    for positions, images in zip(wanted, given.batches(iter(wanted)), strict=True):
        assert np.array_equal(images.numpy(), everything[positions])


def test_an_image_that_cannot_be_read_stops_the_run_with_its_error() -> None:
    given = feed.Feed([(np.zeros((3, 2, 2, 3), np.uint8), np.array([0, 1, 7]))], torch.device("cpu"))
    batches = given.batches(iter([np.array([0]), np.array([2])]))
    next(batches)
    try:
        next(batches)
    except IndexError as error:
        assert "7 is out of bounds" in str(error)
    else:
        raise AssertionError("nothing was raised")
