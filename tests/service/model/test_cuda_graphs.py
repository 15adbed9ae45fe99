"""Recordings without a GPU: a stand-in computes anew at each replay, from and to the same memory, as a graph does."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from service.model.cuda_graphs import Function, Outputs, Recorded, Replay, padded


class StandIn:
    """Records; `replayed` are the sizes of the recordings that were replayed."""

    def __init__(self) -> None:
        self.recorded: list[int] = []
        self.replayed: list[int] = []

    def __call__(self, function: Function, images: Tensor) -> Replay:
        self.recorded.append(len(images))
        outputs = function(images)

        def replay() -> Outputs:
            self.replayed.append(len(images))
            for place, output in zip(outputs, function(images), strict=True):
                place.copy_(output)
            return outputs

        return replay


def sums_and_images(images: Tensor) -> Outputs:
    return images.sum(dim=1), images + 0


@pytest.mark.parametrize(
    ("count", "replayed"), [(1, [1]), (2, [2]), (3, [4]), (8, [8]), (9, [8, 1]), (21, [8, 8, 8]), (19, [8, 8, 4])]
)
def test_any_number_of_images_goes_through_the_least_recordings_that_hold_it(count: int, replayed: list[int]) -> None:
    stand_in = StandIn()
    recorded = Recorded(sums_and_images, torch.zeros(8, 5, dtype=torch.long), stand_in)
    images = torch.arange(count * 5).reshape(count, 5)
    sums, same = recorded(images)
    assert stand_in.replayed == replayed
    assert torch.equal(same, images) and torch.equal(sums, images.sum(dim=1))


def test_the_largest_is_recorded_first_and_need_be_no_power_of_two() -> None:
    stand_in = StandIn()
    Recorded(sums_and_images, torch.zeros(6, 5), stand_in)
    assert stand_in.recorded == [6, 4, 2, 1]
    assert [padded(count, 6) for count in range(1, 7)] == [1, 2, 4, 4, 6, 6]


def test_answers_are_not_overwritten_by_the_next() -> None:
    recorded = Recorded(sums_and_images, torch.zeros(2, 5), StandIn())
    first, _ = recorded(torch.ones(2, 5))
    recorded(torch.zeros(2, 5))
    assert torch.equal(first, torch.tensor([5.0, 5.0]))
