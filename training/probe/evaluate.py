"""The table: several representations, each judged by the same probes on the test split of each store."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from training.probe import calibration, features, intervals, metrics, neighbours, protocol, supervision
from training.probe.metrics import Columns
from training.probe.protocol import Positions, Protocol
from training.probe.representations import Representation
from training.stores.store import Store

FIGURES = {
    "linear_accuracy": "linear accuracy",
    "knn_accuracy": "kNN accuracy",
    "macro": "macro AP",
    "micro": "micro AP",
}


@dataclass(frozen=True)
class Answers:
    """What the heads of a representation say of the test split of a store with any number of labels an image."""

    raw: Columns  #: of the head as it was fitted
    calibrated: Columns


def evaluate(representation: Representation, store: Store, cache: Path, how: Protocol | None = None) -> dict[str, Any]:
    """One entry of evaluation.json: accuracy for a store with one label an image, else average precision.

    Heads learn from train, choose their penalty and are calibrated on validation; the numbers, their 95 %
    bootstrap intervals and the calibration error are of test alone. Raises ValueError for a store without
    labels or without one of the splits, or with none of the labels of train in test.
    """
    how = how or Protocol()
    parts, found = _parts(store), features.cached(representation, store, cache)
    entry = {
        "representation": representation.name,
        "key": representation.key,
        "store": store.card.name,
        "split": "test",
        "n": len(parts["test"]),
        "fit": how.fit,
        "balance": how.balance,
    }
    if supervision.one_label_each(store.rows):
        return entry | _accuracy(found, store, parts, how)
    told = _answers(found, store, parts, how)
    told.raw.require_a_positive(f"{store.path}, test split")
    return entry | {
        **metrics.average_precision(told.calibrated),
        **intervals.of_average_precision(told.calibrated),
        "positives": told.calibrated.positives,
        "calibration": calibration.measured(told.raw, told.calibrated),
    }


def answers(representation: Representation, store: Store, cache: Path, how: Protocol | None = None) -> Answers:
    """The test split as `evaluate` scores it, for `intervals.of_macro_difference` between two representations.

    Raises ValueError as `evaluate` does.
    """
    parts = _parts(store)
    return _answers(features.cached(representation, store, cache), store, parts, how or Protocol())


def _parts(store: Store) -> dict[str, Positions]:
    parts = {split: store.of_split(split) for split in ("train", "validation", "test")}
    if not store.card.labels or any(len(part) == 0 for part in parts.values()):
        raise ValueError(f"{store.path}: evaluation needs labels and the splits train, validation and test")
    return parts


def _answers(found: NDArray[np.float32], store: Store, parts: dict[str, Positions], how: Protocol) -> Answers:
    known, test = supervision.read(store.card, store.rows, parts["train"]), parts["test"]
    heads = protocol.of_labels(found, known, parts["train"], parts["validation"], how)
    asked, tested = found[test], known.of(test)
    return Answers(metrics.columns(heads.raw(asked), tested), metrics.columns(heads.calibrated(asked), tested))


def _accuracy(found: NDArray[np.float32], store: Store, parts: dict[str, Positions], how: Protocol) -> dict[str, Any]:
    classes = np.asarray([store.card.labels.index(row.labels[0]) for row in store.rows], np.int64)
    head = protocol.of_classes(found, classes, len(store.card.labels), parts["train"], parts["validation"], how)
    test, train = parts["test"], parts["train"]
    bank, queries = (torch.from_numpy(np.asarray(found[part])) for part in (train, test))
    nearest = neighbours.right(bank, torch.from_numpy(classes[train]), queries, torch.from_numpy(classes[test]))
    figures: dict[str, Any] = {}
    for name, right in (
        ("linear_accuracy", head(found[test]).argmax(1) == classes[test]),
        ("knn_accuracy", nearest.numpy()),
    ):
        figures |= {name: float(right.mean()), f"{name}_interval": intervals.of_mean(right.astype(np.float64))}
    return figures


def table(entries: Sequence[dict[str, Any]]) -> str:
    """Entries as a Markdown table, a row a representation, a column a figure of a store, with its interval."""
    wanted = [(e["store"], figure) for e in entries for figure in FIGURES if figure in e]
    wanted = list(dict.fromkeys(wanted))
    rows = [["representation", *(f"{store} {FIGURES[figure]}" for store, figure in wanted)]]
    for key, name in {entry["key"]: entry["representation"] for entry in entries}.items():
        own = {
            (e["store"], figure): with_interval(e[figure], e.get(f"{figure}_interval"))
            for e in entries
            if e["key"] == key
            for figure in FIGURES
            if figure in e
        }
        rows.append([name, *(own.get(column, "") for column in wanted)])
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in rows
    ]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(lines)


def with_interval(value: float, interval: Sequence[float] | None) -> str:
    """A figure as people read it, such as 0.810 (0.801–0.819)."""
    return f"{value:.3f}" + (f" ({interval[0]:.3f}–{interval[1]:.3f})" if interval else "")


def per_label_table(entry: dict[str, Any]) -> str:
    """Average precision of each label and group of one entry, best first, then what calibration did, if any did."""
    known = {name: value for name, value in entry["per_label"].items() if value is not None}
    lines = [
        f"  {with_interval(known[name], entry['per_label_interval'][name])}  {name}"
        for name in sorted(known, key=lambda name: -known[name])
    ]
    if error := entry.get("calibration"):
        lines.append(f"  expected calibration error {error['ece_before']:.3f} before, {error['ece_after']:.3f} after")
    return "\n".join(lines)
