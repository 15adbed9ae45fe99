"""Classes of your own from a few labels: a linear classifier on frozen embeddings.

    python -m service embed TILES --out embeddings.parquet
    python examples/few_labels.py embeddings.parquet labels.csv classes.csv

labels.csv has the columns id and label: a few tiles of each class, by the ids that embeddings.parquet has (a file's
name without its ending). classes.csv gets every patch's class, its score (about 1 for a clear case, about 0 for any
other class), and where its middle lies. Nothing is trained but 192 weights a class, which takes milliseconds.
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray


def classify(
    embeddings: NDArray[np.float32], labelled: NDArray[np.intp], labels: list[str]
) -> tuple[list[str], NDArray]:
    """Class and score of each of N × dim embeddings, of which those at `labelled` have `labels`: ridge regression."""
    x = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
    x = x - x.mean(axis=0)
    names, number = np.unique(labels, return_inverse=True)
    known, targets = x[labelled], np.eye(len(names))[number]
    similarity = known @ known.T
    penalty = 0.1 * np.trace(similarity) / len(known)
    weights = known.T @ np.linalg.solve(similarity + penalty * np.eye(len(known)), targets - targets.mean(axis=0))
    scores = x @ weights + targets.mean(axis=0)
    return names[scores.argmax(axis=1)].tolist(), scores.max(axis=1)


def main(embeddings: str, labels: str, classes: str) -> None:
    """Reads, classifies, writes."""
    columns = pq.read_table(embeddings, columns=["id", "bbox", "embedding", "error"])
    rows = [row for row in columns.to_pylist() if row["error"] is None]
    with Path(labels).open(newline="") as file:
        label_of = {row["id"]: row["label"] for row in csv.DictReader(file)}
    labelled = np.array([i for i, row in enumerate(rows) if row["id"] in label_of])
    if not labelled.size:
        sys.exit(f"None of the ids in {labels} is in {embeddings}.")
    found, scores = classify(
        np.array([row["embedding"] for row in rows], np.float32),
        labelled,
        [label_of[rows[i]["id"]] for i in labelled],
    )
    with Path(classes).open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "class", "score", "longitude", "latitude"])
        for row, name, score in zip(rows, found, scores, strict=True):
            box = row["bbox"] or dict.fromkeys(("xmin", "xmax", "ymin", "ymax"), np.nan)
            middle = [(box[f"{axis}min"] + box[f"{axis}max"]) / 2 for axis in "xy"]
            writer.writerow([row["id"], name, f"{score:.3f}", *(f"{degrees:.5f}" for degrees in middle)])


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    main(*sys.argv[1:])
