from __future__ import annotations

import numpy as np
import pytest

from service.imagery.pace import Pace


def test_before_the_first_batch_nothing_is_known() -> None:
    assert Pace().seconds(100, 7) == 0


def test_the_seconds_of_a_batch_and_of_a_patch_are_told_apart() -> None:
    chance, pace = np.random.default_rng(0), Pace()
    for patches in chance.integers(1, 17, 200):
        pace.add(int(patches), (0.01 * patches + 0.005) * chance.uniform(0.9, 1.1))
    assert pace.line == pytest.approx((0.01, 0.005), rel=0.2)
    assert pace.seconds(33, 3) == pytest.approx(33 * 0.01 + 3 * 0.005, rel=0.1)


def test_batches_of_one_size_say_how_long_each_patch_takes() -> None:
    pace = Pace()
    for _ in range(3):
        pace.add(4, 0.2)
    assert pace.line == pytest.approx((0.05, 0))


def test_a_machine_that_becomes_slower_is_noticed() -> None:
    pace = Pace()
    for seconds in [0.01] * 50 + [0.05] * 60:
        pace.add(1, seconds)
    assert pace.seconds(1, 1) == pytest.approx(0.05, rel=0.1)


@pytest.mark.parametrize("batches", [[(1, 0.5), (16, 0.1)], [(1, 0.0), (16, 9.0)]])
def test_noise_never_leads_to_less_than_no_time(batches: list[tuple[int, float]]) -> None:
    pace = Pace()
    for patches, seconds in batches:
        pace.add(patches, seconds)
    a, b = pace.line
    assert a >= 0 and b >= 0
    assert pace.seconds(1, 1) > 0
