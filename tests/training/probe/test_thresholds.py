from __future__ import annotations

import numpy as np
import pytest

from service.model import land_cover
from service.model.manifest import Label
from training.probe import thresholds
from training.probe.metrics import Columns


def one(p: list[float], truth: list[int]) -> Columns:
    return Columns(("x",), np.array(p, np.float32)[:, None], np.array(truth, np.int8)[:, None])


def test_the_best_threshold_has_the_highest_f1() -> None:
    p, truth = [0.9, 0.8, 0.7, 0.6, 0.1, 0.95], [1, 1, 0, 1, 0, -1]
    assert thresholds.best_f1(one(p, truth)) == {"x": pytest.approx(0.6)}
    assert thresholds.best_f1(one(p, [0] * 6)) == {"x": 0.5}
    assert thresholds.best_f1(one(p, [-1] * 6)) == {"x": 0.5}


def test_a_threshold_takes_all_of_those_with_one_score() -> None:
    answers = one([0.9, *[0.5] * 11], [1, 1, *[0] * 10])
    assert thresholds.best_f1(answers) == {"x": pytest.approx(0.9)}
    assert thresholds.of_precision(answers, 0.15) == {"x": pytest.approx(0.5)}
    assert thresholds.of_precision(answers, 0.2) == {"x": pytest.approx(0.9)}


def test_the_threshold_for_a_precision_is_the_lowest_that_reaches_it() -> None:
    p, truth = [0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3], [0, 1, 1, 1, 0, 0, 1]
    for precision, threshold in ((0.75, 0.6), (0.55, 0.3), (0.6, 0.5)):
        assert thresholds.of_precision(one(p, truth), precision) == {"x": pytest.approx(threshold)}


def test_a_label_that_is_never_told_so_precisely_has_no_threshold_and_is_not_listed() -> None:
    answers = one([0.9, 0.8, 0.7], [0, 1, 1])
    found = thresholds.of_precision(answers, 0.9)
    assert found == thresholds.of_precision(one([0.9], [0]), 0.5) == {"x": None}
    label = Label(name="x", threshold=found["x"], supervision=("direct",))
    cover = land_cover.read(np.array([9.0], np.float32), [label], [])
    assert cover.probabilities["x"] == pytest.approx(1, abs=1e-3)
    assert cover.labels == []
    assert land_cover.read(np.array([9.0], np.float32), [label], [], threshold=0.5).labels == ["x"]
