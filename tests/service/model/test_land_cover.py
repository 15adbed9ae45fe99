from __future__ import annotations

import numpy as np
import pytest

from service.model.land_cover import group_logit, read, sigmoid
from service.model.manifest import Group, Label

LABELS = (
    Label(name="field", threshold=0.3, supervision=("direct",)),
    Label(name="lake", supervision=("group",)),
    Label(name="sea", supervision=("group",)),
    Label(name="town", threshold=0.6, supervision=("direct",)),
    Label(name="desert"),
)
WATER = Group(name="Water (any)", members=("lake", "sea"), threshold=0.5)


def logit(p: float) -> float:
    return float(np.log(p / (1 - p)))


def test_a_label_that_the_model_cannot_tell_is_null_and_its_group_is_told() -> None:
    logits = np.array([logit(0.4), logit(0.5), logit(0.6), logit(0.5), 3.0], np.float32)
    cover = read(logits, LABELS, [WATER])
    assert cover.probabilities == {
        "field": pytest.approx(0.4),
        "lake": None,
        "sea": None,
        "town": pytest.approx(0.5),
        "desert": None,
    }
    assert list(cover.probabilities) == [label.name for label in LABELS]
    assert cover.groups == {"Water (any)": pytest.approx(1 - 0.5 * 0.4)}
    assert cover.labels == ["Water (any)", "field"]  # likeliest first; town is under its threshold


def test_a_threshold_of_the_callers_replaces_all() -> None:
    logits = np.array([logit(0.4), -9, -9, logit(0.5), 9], np.float32)
    assert read(logits, LABELS, [WATER], threshold=0.45).labels == ["town"]
    assert read(logits, LABELS, [WATER], threshold=0).labels == ["town", "field", "Water (any)"]


def test_extreme_logits_stay_finite_and_exact() -> None:
    assert sigmoid(np.array([-1000.0, 1000.0])).tolist() == [0.0, 1.0]
    assert np.isfinite(group_logit(np.array([[-800.0, -900.0], [800.0, 900.0]]))).all()
    assert sigmoid(group_logit(np.array([-40.0, -40.0]))) == pytest.approx(2 * np.exp(-40), rel=1e-9)
