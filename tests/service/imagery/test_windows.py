from __future__ import annotations

import numpy as np
import pytest

from service.imagery.errors import ImageryError
from service.imagery.windows import count, cut


@pytest.mark.parametrize(("width", "height"), [(120, 120), (64, 64), (180, 120), (8, 180)])
def test_up_to_one_and_a_half_patches_an_image_is_one_patch(width: int, height: int) -> None:
    assert cut(width, height, 120) == [(0, 0, width, height)]


@pytest.mark.parametrize("stride", [None, 120, 119, 60, 7])
@pytest.mark.parametrize(("width", "height"), [(181, 120), (240, 240), (300, 250), (1000, 60), (60, 1000)])
def test_a_scene_is_covered_by_windows_inside_it(width: int, height: int, stride: int | None) -> None:
    covered = np.zeros((height, width), bool)
    windows = cut(width, height, 120, stride)
    for column, row, w, h in windows:
        assert (w, h) == (min(120, width), min(120, height))
        assert covered[row : row + h, column : column + w].shape == (h, w)
        covered[row : row + h, column : column + w] = True
    assert covered.all()
    assert len({*windows}) == len(windows) == count(width, height, 120, stride)
    if stride is None:
        assert len(windows) == -(-width // 120) * -(-height // 120)


def test_windows_lie_a_stride_apart_and_the_last_one_reaches_the_edge() -> None:
    assert [column for column, *_ in cut(300, 120, 120, 70)] == [0, 70, 140, 180]
    assert [column for column, *_ in cut(260, 120, 120, 70)] == [0, 70, 140]
    assert count(100_000, 100_000, 120, 1) == 99_881**2  # at once, not one by one


def test_a_stride_that_would_leave_pixels_out_is_refused() -> None:
    with pytest.raises(ImageryError) as error:
        cut(400, 400, 120, 121)
    assert (error.value.code, error.value.limits) == ("bad_option", {"max_stride": 120})


def test_a_part_of_a_scene_is_cut_where_an_image_of_its_size_would_be_one_patch() -> None:
    assert cut(180, 120, 120) == [(0, 0, 180, 120)]
    assert cut(180, 120, 120, is_part=True) == [(0, 0, 120, 120), (60, 0, 120, 120)]


def test_less_than_eight_pixels_a_side_is_too_small() -> None:
    with pytest.raises(ImageryError) as error:
        cut(7, 100, 120)
    assert error.value.code == "too_small"
