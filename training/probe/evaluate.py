"""The table: several representations, each judged by the same probes on the test split of each store."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from training.probe import features, linear, metrics, neighbours, supervision
from training.probe.representations import Representation
from training.stores.store import Store

FIGURES = {
    "linear_accuracy": "linear accuracy",
    "knn_accuracy": "kNN accuracy",
    "macro": "macro AP",
    "micro": "micro AP",
}


def evaluate(representation: Representation, store: Store, cache: Path) -> dict[str, Any]:
    """One entry of evaluation.json: accuracy for a store with one label an image, else average precision.

    Heads learn from train and choose their penalty on validation; the numbers are of test alone.
    Raises ValueError for a store without labels or without one of the splits.
    """
    parts = {split: store.of_split(split) for split in ("train", "validation", "test")}
    if not store.card.labels or any(len(part) == 0 for part in parts.values()):
        raise ValueError(f"{store.path}: evaluation needs labels and the splits train, validation and test")
    found = features.cached(representation, store, cache)
    entry = {
        "representation": representation.name,
        "key": representation.key,
        "store": store.card.name,
        "split": "test",
        "n": len(parts["test"]),
    }
    if all(len(row.labels) == 1 and not row.any_of for row in store.rows):
        return entry | _accuracy(found, store, parts)
    known = supervision.read(store.card, store.rows, parts["train"])
    head = linear.fit(found, len(known.labels), linear.multi_label_loss(known), parts["train"], parts["validation"])
    return entry | metrics.average_precision(metrics.columns(head(found[parts["test"]]), known.of(parts["test"])))


def _accuracy(found: Any, store: Store, parts: dict[str, Any]) -> dict[str, float]:
    classes = np.asarray([store.card.labels.index(row.labels[0]) for row in store.rows], np.int64)
    head = linear.fit(
        found, len(store.card.labels), linear.single_label_loss(classes), parts["train"], parts["validation"]
    )
    test, train = parts["test"], parts["train"]
    linear_accuracy = float((head(found[test]).argmax(1) == classes[test]).mean())
    bank, queries = (torch.from_numpy(np.asarray(found[part])) for part in (train, test))
    knn = neighbours.accuracy(bank, torch.from_numpy(classes[train]), queries, torch.from_numpy(classes[test]))
    return {"linear_accuracy": linear_accuracy, "knn_accuracy": knn}


def table(entries: Sequence[dict[str, Any]]) -> str:
    """Entries as a Markdown table, a row a representation, a column a figure of a store."""
    wanted = [(e["store"], figure) for e in entries for figure in FIGURES if figure in e]
    wanted = list(dict.fromkeys(wanted))
    rows = [["representation", *(f"{store} {FIGURES[figure]}" for store, figure in wanted)]]
    for name in dict.fromkeys(e["representation"] for e in entries):
        own = {
            (e["store"], figure): e[figure]
            for e in entries
            if e["representation"] == name
            for figure in FIGURES
            if figure in e
        }
        rows.append([name, *(f"{own[key]:.3f}" if key in own else "" for key in wanted)])
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in rows
    ]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(lines)


def per_label_table(entry: dict[str, Any]) -> str:
    """Average precision of each label and group of one entry, best first."""
    known = {name: value for name, value in entry["per_label"].items() if value is not None}
    return "\n".join(f"  {known[name]:.3f}  {name}" for name in sorted(known, key=lambda name: -known[name]))
