from __future__ import annotations

import numpy as np
import pytest
import torch
from torchmetrics.functional.classification import multilabel_average_precision

from training.probe import intervals, metrics
from training.probe.metrics import Columns


def answers(seed: int, count: int, skill: float = 1.5, rates: tuple[float, ...] = (0.3, 0.1)) -> Columns:
    """Scores of what is there are higher by `skill` standard deviations."""
    chance = np.random.default_rng(seed)
    truth = chance.random((count, len(rates))) < rates
    scores = chance.normal(0, 1, truth.shape) + skill * truth
    p = 1 / (1 + np.exp(-scores))
    names = tuple("abcdefgh"[: len(rates)])
    return Columns(names, p.astype(np.float32), truth.astype(np.int8))


def test_average_precision_is_that_of_torchmetrics_with_ties_and_unknown_truth() -> None:
    table = answers(0, 400, rates=(0.3, 0.1, 0.02))
    p, truth = np.round(table.probabilities, 1), table.truth.copy()  # many answers share a score
    truth[np.random.default_rng(1).random(truth.shape) < 0.2] = -1
    found = metrics.average_precision(Columns(table.names, p, truth))
    given = torch.from_numpy(p), torch.from_numpy(truth.astype(np.int64)), 3
    each = multilabel_average_precision(*given, average="none", ignore_index=-1)
    assert list(found["per_label"].values()) == pytest.approx(each.tolist(), rel=1e-5)
    assert found["macro"] == pytest.approx(float(each.mean()), rel=1e-5)
    assert found["micro"] == pytest.approx(
        float(multilabel_average_precision(*given, average="micro", ignore_index=-1)), rel=1e-5
    )


def test_an_image_of_weight_three_counts_as_three_images() -> None:
    table, chance = answers(2, 80), np.random.default_rng(3)
    weights = chance.integers(0, 4, 80).astype(np.int32)
    repeated = np.repeat(np.arange(80), weights)
    again = Columns(table.names, table.probabilities[repeated], table.truth[repeated])
    rankings = metrics.Rankings(table)
    wanted = metrics.average_precision(again)
    assert rankings.per_label(weights[:, None])[:, 0] == pytest.approx(list(wanted["per_label"].values()))
    assert rankings.micro(weights[:, None])[0] == pytest.approx(wanted["micro"])


def test_a_resample_draws_as_many_images_as_there_are_and_the_same_ones_each_time() -> None:
    drawn = [np.hstack(list(intervals.resamples(50, columns))) for columns in (1, 10**5)]  # at once, or one by one
    assert drawn[0].shape == (50, intervals.RESAMPLES)
    assert (drawn[0].sum(0) == 50).all()
    assert np.array_equal(*drawn)


def test_intervals_hold_the_truth_about_as_often_as_they_say(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intervals, "RESAMPLES", 200)
    population = metrics.average_precision(answers(10**6, 200_000))
    held = {"macro": 0, "micro": 0, "a": 0}
    rounds = 100
    for seed in range(rounds):
        found = intervals.of_average_precision(answers(seed, 300))
        pairs = {name: (found[f"{name}_interval"], population[name]) for name in ("macro", "micro")}
        pairs["a"] = found["per_label_interval"]["a"], population["per_label"]["a"]
        for name, ((low, high), truth) in pairs.items():
            held[name] += low <= truth <= high
    for name, count in held.items():
        assert 87 <= count <= 99, name


def test_the_interval_of_an_accuracy_is_that_of_a_share() -> None:
    right = np.arange(1000) % 5 > 0
    low, high = intervals.of_mean(right.astype(np.float64))
    wide = 1.96 * np.sqrt(0.8 * 0.2 / 1000)
    assert (low, high) == pytest.approx((0.8 - wide, 0.8 + wide), abs=0.004)


def test_a_label_that_no_image_has_is_null_and_one_that_a_single_image_has_is_a_number() -> None:
    truth = np.zeros((12, 3), np.int8)
    truth[4, 1] = truth[:3, 2] = 1
    p = np.random.default_rng(0).random((12, 3)).astype(np.float32)
    found = intervals.of_average_precision(Columns(("never", "once", "often"), p, truth))
    assert found["per_label_interval"]["never"] is None
    told = [found["per_label_interval"][name] for name in ("once", "often")]
    assert np.isfinite([*told, found["macro_interval"], found["micro_interval"]]).all()


def test_what_was_measured_on_the_same_images_is_compared_pairwise() -> None:
    first = answers(0, 500)
    noise = np.random.default_rng(1).normal(0, 0.02, first.probabilities.shape)
    second = Columns(first.names, np.clip(first.probabilities + noise, 0, 1).astype(np.float32), first.truth)
    difference, (low, high) = intervals.of_macro_difference(first, second)
    macros = [metrics.average_precision(table)["macro"] for table in (first, second)]
    assert difference == pytest.approx(macros[1] - macros[0])
    assert low < difference < high
    alone = [intervals.of_average_precision(table)["macro_interval"] for table in (first, second)]
    assert high - low < 0.5 * min(b - a for a, b in alone)
    assert intervals.of_macro_difference(first, first) == (0, [0, 0])
    worse = intervals.of_macro_difference(first, Columns(first.names, 1 - first.probabilities, first.truth))
    assert worse[1][1] < 0


def test_answers_to_other_questions_are_not_compared() -> None:
    with pytest.raises(ValueError, match="same questions"):
        intervals.of_macro_difference(answers(0, 50), answers(1, 50))
