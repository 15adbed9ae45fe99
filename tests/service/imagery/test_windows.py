from __future__ import annotations

import numpy as np
import pytest

from service.imagery.errors import ImageryError
from service.imagery.windows import cut


@pytest.mark.parametrize(("width", "height"), [(120, 120), (64, 64), (180, 120), (8, 180)])
def test_up_to_one_and_a_half_patches_an_image_is_one_patch(width: int, height: int) -> None:
    assert cut(width, height, 120) == [(0, 0, width, height)]


@pytest.mark.parametrize(("width", "height"), [(181, 120), (240, 240), (300, 250), (1000, 60), (60, 1000)])
def test_a_scene_is_covered_by_windows_inside_it(width: int, height: int) -> None:
    covered = np.zeros((height, width), bool)
    windows = cut(width, height, 120)
    for column, row, w, h in windows:
        assert (w, h) == (min(120, width), min(120, height))
        assert covered[row : row + h, column : column + w].shape == (h, w)
        covered[row : row + h, column : column + w] = True
    assert covered.all()
    assert len(windows) == -(-width // 120) * -(-height // 120)


def test_less_than_eight_pixels_a_side_is_too_small() -> None:
    with pytest.raises(ImageryError) as error:
        cut(7, 100, 120)
    assert error.value.code == "too_small"
