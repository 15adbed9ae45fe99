from __future__ import annotations

import numpy as np
import pytest

from training.probe import calibration, metrics
from training.probe.linear import Head
from training.probe.supervision import Supervision

#: a and b are told for certain, c and d only as a group, e not at all.
LABELS = ("a", "b", "c", "d", "e")
DIRECT = (True, True, False, False, False)


def world(seed: int, count: int) -> tuple[np.ndarray, Supervision]:
    """Features that are the true logits of five labels, and what a store would tell of these."""
    chance = np.random.default_rng(seed)
    logits = chance.normal(-1, 2, (count, 5))
    there = chance.random((count, 5)) < 1 / (1 + np.exp(-logits))
    targets = there.astype(np.int8)
    either = there[:, 2] | there[:, 3]
    targets[either, 2:4] = -1
    targets[:, 4] = -1
    return logits.astype(np.float32), Supervision(
        LABELS, (("c or d", ("c", "d")),), targets, either[:, None].astype(np.int8), DIRECT
    )


def head(slope: float, offset: float) -> Head:
    return Head(slope * np.eye(5, dtype=np.float32), np.full(5, offset, np.float32), 0.0)


def test_a_head_that_is_too_sure_of_itself_says_the_truth_afterwards_and_ranks_as_before() -> None:
    wrong = head(3, 2)
    right = calibration.calibrated(wrong, *world(0, 3000))
    features, known = world(1, 3000)
    before, after = (metrics.columns(each(features), known) for each in (wrong, right))
    assert calibration.expected_error(before) > 0.1
    assert calibration.expected_error(after) < 0.025
    ap = [metrics.average_precision(table)["per_label"] for table in (before, after)]
    for name in ("a", "b"):
        assert ap[1][name] == pytest.approx(ap[0][name], abs=1e-3)  # the surest are equal in float32 before
    assert ap[1]["c or d"] > ap[0]["c or d"] - 0.01
    assert right.weight[0, 0] == pytest.approx(1, abs=0.15)
    assert right.bias[0] == pytest.approx(0, abs=0.2)


def test_a_head_that_says_the_truth_is_left_alone() -> None:
    right = calibration.calibrated(head(1, 0), *world(0, 3000))
    assert right.weight[range(4), range(4)] == pytest.approx(np.ones(4), abs=0.12)
    assert right.bias[:4] == pytest.approx(np.zeros(4), abs=0.2)


def test_members_of_a_group_share_what_calibrates_it_and_a_label_without_supervision_stays() -> None:
    found = calibration.calibrated(head(3, 2), *world(0, 500))
    assert found.weight[2, 2] == found.weight[3, 3] != found.weight[0, 0]
    assert found.bias[2] == found.bias[3]
    assert (found.weight[4, 4], found.bias[4]) == (3, 2)


@pytest.mark.parametrize("count", [1, 5, 20])
def test_a_few_images_change_little(count: int) -> None:
    features, known = world(3, count)
    found = calibration.calibrated(head(1, 0), features, known)
    assert np.isfinite(found.bias).all()
    assert (np.abs(np.log(found.weight[range(5), range(5)])) < 1).all()
    assert (np.abs(found.bias) < 2).all()


def test_bins_hold_every_known_answer_once() -> None:
    p = np.array([[0.05, 0.95], [0.1, 1.0], [0.55, 0.0]], np.float32)
    truth = np.array([[0, 1], [1, 1], [-1, 0]], np.int8)
    table = metrics.Columns(("x", "y"), p, truth)
    bins = calibration.reliability(table)
    assert [(part["from"], part["to"], part["n"], part["frequency"]) for part in bins] == [
        (0, 0.1, 2, 0),
        (0.1, 0.2, 1, 1),
        (0.9, 1, 2, 1),
    ]
    assert bins[0]["probability"] == pytest.approx(0.025)
    # x: 0.05 too much, then 0.9 too little; y: 0.025 too little in its upper bin of two
    assert calibration.expected_error(table) == pytest.approx(((0.05 + 0.9) / 2 + 2 * 0.025 / 3) / 2)
