from __future__ import annotations

import pytest

from service.imagery.windows import cut
from service.offline.pieces import WIDEST, parts_of


@pytest.mark.parametrize(
    ("width", "height", "stride"),
    [(10_980, 10_980, None), (500, 500, 7), (100, 9000, 3), (9000, 100, 3), (200_000, 300, None), (181, 125, 1)],
)
def test_parts_of_a_scene_are_cut_into_the_windows_of_the_whole(width: int, height: int, stride: int | None) -> None:
    found = []
    for (column, row, w, h), patches in parts_of(width, height, 120, stride):
        inside = cut(w, h, 120, stride, is_part=True)
        assert len(inside) == patches <= WIDEST
        found += [(column + x, row + y, *size) for x, y, *size in inside]
    whole = cut(width, height, 120, stride)
    assert sorted(found) == sorted(whole)
    assert len(found) == len(whole)
