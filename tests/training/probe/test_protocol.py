from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from training.probe import balance, evaluate, linear, metrics, protocol, reference, supervision
from training.probe.protocol import Protocol
from training.probe.representations import ImageStatistics
from training.stores.store import Card, Entry, Row, Source, Store, write

EVERY = [Protocol(fit, balance) for fit in protocol.FITS for balance in protocol.BALANCES]
CARD = Card("own", (8, 8, 3), ("B04", "B03", "B02"), 10, {"divisor": 2000}, ("a", "b", "never"))


def rare(seed: int, count: int, rate: float = 0.04) -> tuple[NDArray[np.float32], list[Row]]:
    """Features of which the first tells label a, which few images have, and the second b, which half have."""
    chance = np.random.default_rng(seed)
    there = chance.random((count, 2)) < (rate, 0.5)
    features = chance.normal(0, 1, (count, 6))
    features[:, :2] += 2 * there
    splits = ("train", "train", "validation", "test")
    rows = [
        Row(str(i), splits[i % 4], tuple(name for name, has in zip("ab", there[i], strict=True) if has))
        for i in range(count)
    ]
    return features.astype(np.float32), rows


def of_split(rows: list[Row], split: str) -> NDArray[np.int64]:
    return np.asarray([i for i, row in enumerate(rows) if row.split == split], np.int64)


def test_the_reference_protocol_is_a_plain_torch_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reference, "EPOCHS", 5)
    chance = torch.Generator().manual_seed(7)
    x, classes = torch.randn(600, 10), torch.arange(600) % 3
    layer = torch.nn.Linear(10, 3)
    with torch.no_grad():
        layer.weight.copy_(torch.randn(3, 10, generator=chance) * 0.01)
        layer.bias.zero_()
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.001, momentum=0.9, weight_decay=0)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 5, eta_min=0)
    for _ in range(5):
        order = torch.randperm(600, generator=chance)
        for start in range(0, 600, 256):
            batch = order[start : start + 256]
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(layer(x[batch]), classes[batch]).backward()
            optimizer.step()
        schedule.step()
    loss = linear.single_label_loss(classes.numpy())
    found = reference.fit(x.numpy(), 3, loss, np.arange(600), seed=7)
    assert found.weight == pytest.approx(layer.weight.detach().numpy(), rel=1e-5, abs=1e-7)
    assert found.bias == pytest.approx(layer.bias.detach().numpy(), rel=1e-5, abs=1e-7)


def test_weights_balance_both_sides_up_to_a_bound() -> None:
    rows = [Row(str(i), "train", ("a",) if i < 3 else ("b",)) for i in range(12)]
    weights = balance.inverse(supervision.read(CARD, rows, np.arange(12)))
    assert weights.labels.tolist() == [3, 1, 1]
    rows = [Row(str(i), "train", ("a",) if i < 1 else ("b",)) for i in range(100)]
    assert balance.inverse(supervision.read(CARD, rows, np.arange(100))).labels[0] == balance.LARGEST


def test_a_weight_counts_an_image_as_often_as_it_says() -> None:
    rows = [Row("0", "train", ("a",)), Row("1", "train", ("b",), (("a", "never"),))]
    logits = torch.randn(2, 3, dtype=torch.float64)

    def loss(a: float, group: float) -> float:
        weights = balance.Weights(np.array([a, 1.0, 1.0]), np.array([group]))
        known = supervision.read(CARD, rows, np.arange(2))
        return float(linear.multi_label_loss(known, weights)(logits, np.arange(2))) * 2

    z = logits.numpy()
    assert loss(3, 1) - loss(1, 1) == pytest.approx(2 * np.log1p(np.exp(-z[0, 0])))
    none = np.logaddexp(0, z[1, [0, 2]]).sum()
    assert loss(1, 3) - loss(1, 1) == pytest.approx(-2 * np.log(1 - np.exp(-none)))


def test_a_rare_label_learnt_with_more_weight_says_too_much_until_it_is_brought_back() -> None:
    features, rows = rare(0, 4000)
    train, validation, test = (of_split(rows, split) for split in ("train", "validation", "test"))
    known = supervision.read(CARD, rows, train)
    heads = protocol.of_labels(features, known, train, validation, Protocol(balance="inverse"))
    before, after = (metrics.columns(head(features[test]), known.of(test)) for head in (heads.raw, heads.calibrated))
    rate = (before.truth[:, 0] == 1).mean()
    assert before.probabilities[:, 0].mean() > 3 * rate
    assert after.probabilities[:, 0].mean() == pytest.approx(rate, abs=0.015)
    assert balance.surplus(balance.inverse(known.of(train)), known)[0] > 2  # most of it is undone without calibration
    one, other = (metrics.average_precision(table)["per_label"]["a"] for table in (before, after))
    assert one == pytest.approx(other, abs=1e-6)


def test_labels_of_a_group_take_its_weight() -> None:
    rows = [Row(str(i), "train", (), (("a", "b"),) if i < 2 else ()) for i in range(10)]
    known = supervision.read(CARD, rows, np.arange(10))
    assert balance.surplus(balance.inverse(known), known) == pytest.approx([np.log(4), np.log(4), 0])


@pytest.mark.parametrize("how", EVERY)
def test_ten_images_with_a_label_that_one_of_them_has_make_a_head_without_nan(how: Protocol) -> None:
    chance = np.random.default_rng(0)
    features = chance.normal(0, 1, (14, 30)).astype(np.float32)
    labels = [("a",), *[("b",) if i % 2 else () for i in range(9)], ("b",), (), ("a",), ()]
    rows = [Row(str(i), "train" if i < 10 else "validation", tuple(told)) for i, told in enumerate(labels)]
    known = supervision.read(CARD, rows, np.arange(10))
    heads = protocol.of_labels(features, known, np.arange(10), np.arange(10, 14), how)
    for head in (heads.raw, heads.calibrated):
        assert np.isfinite(head.weight).all()
        assert np.isfinite(head.bias).all()
    assert not heads.calibrated.weight[2].any() or how.fit == "reference"


def test_one_train_image_and_one_validation_image_are_enough_for_numbers() -> None:
    features = np.random.default_rng(0).normal(0, 1, (2, 5)).astype(np.float32)
    rows = [Row("0", "train", ("a",)), Row("1", "validation", ("a",))]
    known = supervision.read(CARD, rows, np.array([0]))
    heads = protocol.of_labels(features, known, np.array([0]), np.array([1]), Protocol())
    assert np.isfinite(heads.calibrated(features)).all()


def test_labels_that_nobody_has_are_nothing_to_learn() -> None:
    rows = [Row(str(i), "train") for i in range(4)]
    known = supervision.read(CARD, rows, np.arange(4))
    with pytest.raises(ValueError, match="nothing to learn"):
        protocol.of_labels(np.zeros((4, 2), np.float32), known, np.arange(4), np.arange(4), Protocol())


def test_broken_features_are_refused() -> None:
    features, rows = rare(0, 200, 0.3)
    features[of_split(rows, "train")[0], 3] = np.nan
    train, validation = of_split(rows, "train"), of_split(rows, "validation")
    known = supervision.read(CARD, rows, train)
    for how in (Protocol("exact"), Protocol("reference")):
        with pytest.raises(ValueError, match="not finite"):
            protocol.of_labels(features, known, train, validation, how)


def store_of(path: Path, labels: list[tuple[str, ...]], splits: list[str]) -> Store:
    chance = np.random.default_rng(0)
    images = tuple(chance.integers(0, 256, (len(labels), 8, 8, 3), np.uint8))
    rows = tuple(Row(str(i), split, told) for i, (told, split) in enumerate(zip(labels, splits, strict=True)))
    write(path, Source(CARD, ["all"], lambda _: [Entry("all", images, rows)]))
    return Store.open(path)


def test_an_entry_of_a_small_store_has_every_figure_and_no_nan(tmp_path: Path) -> None:
    labels = [("a", "b"), ("b",), (), ("a",), ("b",), (), ("a", "b"), ()] * 2
    splits = [*["train"] * 10, *["validation"] * 3, *["test"] * 3]
    entry = evaluate.evaluate(ImageStatistics(), store_of(tmp_path / "store", labels, splits), tmp_path)
    assert (entry["fit"], entry["balance"], entry["n"]) == ("exact", "none", 3)
    assert entry["positives"] == {"a": 1, "b": 1}
    assert {"ece_before", "ece_after", "before", "after"} == entry["calibration"].keys()
    assert sum(part["n"] for part in entry["calibration"]["after"]) == 6
    numbers = [entry["macro"], *entry["macro_interval"], *entry["micro_interval"], entry["calibration"]["ece_after"]]
    assert np.isfinite(numbers).all()
    assert entry["macro_interval"][0] <= entry["macro"] <= entry["macro_interval"][1]


def test_a_test_split_without_any_learnt_label_is_named(tmp_path: Path) -> None:
    splits = [*["train"] * 4, "validation", "test"]
    store = store_of(tmp_path / "store", [("a", "b"), ("a",), (), ("b",), ("a", "b"), ("never",)], splits)
    with pytest.raises(ValueError, match="test split: no image has a label"):
        evaluate.evaluate(ImageStatistics(), store, tmp_path)
