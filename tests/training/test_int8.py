from __future__ import annotations

import numpy as np
import pytest

from training import int8


def test_queries_and_keys_are_made_as_large_as_each_other_and_have_room_beyond_the_calibration() -> None:
    queries, keys = np.array([8, 0.5, 2], np.float32), np.array([2, 2, 2], np.float32)
    smoothing, (low, high) = int8._of_scores(queries, keys)
    assert np.allclose(queries / smoothing, keys * smoothing)
    assert high == pytest.approx(2 * (queries / smoothing).max())
    assert low == pytest.approx(-high * 128 / 127)  # zero is a step
