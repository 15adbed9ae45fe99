from __future__ import annotations

import numpy as np
import pytest
import torch

from service.model.land_cover import group_logit, sigmoid
from training.probe import linear, metrics, supervision, thresholds
from training.stores.store import Card, Row

LABELS = ("a", "b", "c", "unseen")


def made(seed: int = 0, count: int = 1200) -> tuple[np.ndarray, list[Row]]:
    """Features whose first three directions are the labels a, b and c; b and c are told only as a group."""
    chance = np.random.default_rng(seed)
    there = chance.random((count, 3)) < 0.4
    features = chance.normal(0, 1, (count, 12)) * np.linspace(1, 50, 12)
    features[:, :3] += 6 * there * np.linspace(1, 50, 12)[:3]
    rows = []
    for i, (a, b, c) in enumerate(there):
        split = "train" if i % 5 < 3 else "validation" if i % 5 == 3 else "test"
        rows.append(Row(str(i), split, ("a",) if a else (), (("b", "c"),) if b or c else ()))
    return features.astype(np.float32), rows


CARD = Card(
    "made",
    (1, 1, 3),
    ("B04", "B03", "B02"),
    10,
    {"divisor": 2000},
    LABELS,
    ({"name": "b or c!", "members": ["b", "c"]},),
)


def positions(rows: list[Row], split: str) -> np.ndarray:
    return np.asarray([i for i, row in enumerate(rows) if row.split == split])


def test_supervision_tells_what_is_there_what_is_not_and_what_is_unknown() -> None:
    rows = [
        Row("0", "train", ("a",), ()),
        Row("1", "train", ("b",), (("b", "c"),)),
        Row("2", "train", (), (("b", "c"),)),
        Row("3", "test", ("unseen",), ()),
    ]
    known = supervision.read(CARD, rows, np.array([0, 1, 2]))
    assert known.targets.tolist() == [[1, 0, 0, -1], [0, 1, -1, -1], [0, -1, -1, -1], [0, 0, 0, 1]]
    assert known.any_of.tolist() == [[0], [1], [1], [0]]
    assert known.groups == (("b or c!", ("b", "c")),)
    assert known.direct == (True, True, False, False)
    assert known.by_group == (False, True, True, False)


def test_a_group_without_a_name_is_named_after_its_members() -> None:
    known = supervision.read(CARD, [Row("0", "train", (), (("a", "b"),))], np.array([0]))
    assert known.groups == (("a or b", ("a", "b")),)


def test_labels_and_groups_are_learnt_and_what_is_not_supervised_stays_untrained() -> None:
    features, rows = made()
    train, validation, test = (positions(rows, split) for split in ("train", "validation", "test"))
    known = supervision.read(CARD, rows, train)
    head = linear.fit(features, 4, linear.multi_label_loss(known), train, validation)
    assert not head.weight[3].any()
    assert head.bias[3] == 0
    answers = metrics.columns(head(features[test]), known.of(test))
    assert answers.names == ("a", "b or c!")
    found = metrics.average_precision(answers)
    assert found["per_label"]["a"] > 0.99
    assert found["per_label"]["b or c!"] > 0.99
    bounds = thresholds.best_f1(metrics.columns(head(features[validation]), known.of(validation)))
    for i, name in enumerate(answers.names):
        told = answers.probabilities[:, i] >= bounds[name]
        assert (told == (answers.truth[:, i] == 1)).mean() > 0.95


def test_the_group_loss_is_the_noisy_or() -> None:
    known = supervision.read(CARD, [Row("0", "train", ("a",), (("b", "c"),))], np.array([0]))
    logits = np.array([[0.3, -1.2, 0.4, 9.0]])
    loss = linear.multi_label_loss(known)(torch.from_numpy(logits), np.array([0]))
    p = sigmoid(logits[0])
    assert float(loss) == pytest.approx(-np.log(p[0]) - np.log(1 - (1 - p[1]) * (1 - p[2])), rel=1e-9)
    assert sigmoid(group_logit(logits[0, 1:3])) == pytest.approx(1 - (1 - p[1]) * (1 - p[2]), rel=1e-9)


def test_the_solution_is_the_same_each_time_and_that_of_scikit_learns_objective() -> None:
    features, rows = made()
    classes = np.asarray([len(row.labels) for row in rows])
    train, validation = positions(rows, "train"), positions(rows, "validation")
    heads = [linear.fit(features, 2, linear.single_label_loss(classes), train, validation) for _ in range(2)]
    assert np.array_equal(heads[0].weight, heads[1].weight)
    # the gradient of the objective is zero at the solution
    x = torch.from_numpy(features[train].astype(np.float64))
    mean, std = x.mean(0), x.std(0)
    weight = (torch.from_numpy(heads[0].weight).double() * std).requires_grad_()
    bias = torch.from_numpy(heads[0].bias).double() + torch.from_numpy(heads[0].weight).double() @ mean
    logits = (x - mean) / std @ weight.T + bias
    truth = torch.from_numpy(classes[train])
    loss = torch.nn.functional.cross_entropy(logits, truth) + 0.5 * heads[0].penalty * weight.square().sum()
    loss.backward()
    assert weight.grad is not None
    assert weight.grad.abs().max() < 1e-4


def test_average_precision_of_a_known_ranking() -> None:
    truth = np.array([[1, 0], [0, 0], [1, 0], [-1, 0]], np.int8)
    p = np.array([[0.9, 0.1], [0.8, 0.85], [0.7, 0.1], [0.99, 0.1]], np.float32)
    found = metrics.average_precision(metrics.Columns(("x", "never"), p, truth))
    assert found["per_label"] == {"x": pytest.approx((1 + 2 / 3) / 2), "never": None}
    assert found["macro"] == pytest.approx((1 + 2 / 3) / 2)
    assert found["micro"] == pytest.approx((1 + 2 / 4) / 2)  # 0.9 there, 0.85 and 0.8 not, 0.7 there
