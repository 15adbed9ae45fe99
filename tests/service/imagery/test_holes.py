from __future__ import annotations

import numpy as np
import pytest

from service.imagery.holes import fill


def test_a_hole_is_the_mirror_image_of_what_lies_nearest_in_its_row_or_column() -> None:
    row = np.array([9, 7, 5, 0, 0, 0, 0, 1], np.uint8)
    pixels = np.broadcast_to(row[None, :, None], (6, 8, 1))
    valid = np.broadcast_to(row > 0, (6, 8))
    # from the left 5 and 7, then from the right 1 twice: behind it the image ends
    assert fill(pixels, valid)[:, :, 0].tolist() == [[9, 7, 5, 5, 7, 1, 1, 1]] * 6
    assert np.array_equal(fill(pixels.transpose(1, 0, 2), valid.T), fill(pixels, valid).transpose(1, 0, 2))


def test_a_mirror_image_that_has_no_data_itself_is_replaced_by_the_edge() -> None:
    pixels = np.array([[0, 4, 0, 0, 0, 0, 0, 0]], np.uint8)[..., None]
    assert fill(pixels, pixels[..., 0] > 0).ravel().tolist() == [4] * 8


@pytest.mark.parametrize("share", [0.05, 0.5, 0.95])
def test_every_hole_is_filled_with_colours_that_are_there_and_data_stay_as_they_are(share: float) -> None:
    chance = np.random.default_rng(0)
    pixels = chance.integers(1, 256, (60, 90, 3), np.uint8)
    valid = chance.random((60, 90)) < share
    valid[:, 40:70] = False
    valid[20:40] = False
    filled = fill(np.where(valid[..., None], pixels, np.uint8(0)), valid)
    assert np.array_equal(filled[valid], pixels[valid])
    assert {*map(tuple, filled.reshape(-1, 3))} <= {*map(tuple, pixels[valid])}


def test_without_a_hole_nothing_is_copied() -> None:
    pixels = np.zeros((8, 8, 3), np.uint8)
    assert fill(pixels, np.ones((8, 8), bool)) is pixels
