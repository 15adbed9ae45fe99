"""How good predictions are that were made elsewhere, such as by a batch transform: GeoParquet against known labels."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from training.probe import intervals, metrics, supervision
from training.probe.metrics import Columns
from training.probe.supervision import Supervision
from training.stores.store import Store

NAME_COLUMNS = ("id", "patch_id", "file")
SEPARATOR = "|"  # as in the CSV that `prepare geotiffs` reads


@dataclass(frozen=True)
class Known:
    """What is known of images, by their names."""

    name: str
    split: str
    positions: Mapping[str, int]  #: of an image's name without folder and suffix
    supervision: Supervision


def known(source: Path) -> Known:
    """The test split of a store, or the rows of a CSV with the columns id (or patch_id, or file) and labels.

    Labels are separated by |. Raises FileNotFoundError, ValueError naming what is missing.
    """
    if source.suffix == ".csv":
        return _of_csv(source)
    store = Store.open(source.parent if source.name == "index.parquet" else source)
    test = store.of_split("test")
    if not len(test) or not store.card.labels:
        raise ValueError(f"{store.path}: evaluation needs labels and a test split")
    told = supervision.read(store.card, store.rows, store.of_split("train")).of(test)
    return Known(store.card.name, "test", {_stem(store.rows[i].patch_id): n for n, i in enumerate(test)}, told)


def _of_csv(file: Path) -> Known:
    with file.open(newline="") as lines:
        rows = list(csv.DictReader(lines))
    column = next((name for name in NAME_COLUMNS if rows and name in rows[0]), None)
    if column is None or "labels" not in rows[0]:
        raise ValueError(f"{file} needs a column labels and one of {', '.join(NAME_COLUMNS)}, and rows")
    each = [{label.strip() for label in (row["labels"] or "").split(SEPARATOR) if label.strip()} for row in rows]
    labels = tuple(sorted(set().union(*each)))
    targets = np.asarray([[label in told for label in labels] for told in each], np.int8)
    nothing = np.zeros((len(rows), 0), np.int8)
    told = Supervision(labels, (), targets, nothing, (True,) * len(labels))
    return Known(file.stem, "all", {_stem(row[column]): n for n, row in enumerate(rows)}, told)


def evaluate(predictions: Path, told: Known) -> dict[str, Any]:
    """An entry as evaluation.json has them, with `unmatched` predictions and `unanswered` images.

    A name that has several rows is a scene: of each label its highest probability counts. Raises ValueError if no
    label, or no image, is common to both.
    """
    truth = _truth(told.supervision)
    answers, there, unmatched = _read(predictions, told.positions, truth)
    if not there.any():
        raise ValueError(f"{predictions}: none of its {unmatched} ids is the name of an image of {told.name}")
    names = tuple(name for name, column in answers.items() if not np.isnan(column[there]).any())
    if not names:
        raise ValueError(f"{predictions} and {told.name} have no label in common")
    columns = Columns(
        names,
        np.column_stack([answers[name][there] for name in names]),
        np.column_stack([truth[name][there] for name in names]),
    )
    columns.require_a_positive(f"{told.name}, {told.split} split")
    return {
        "representation": predictions.stem,
        "key": str(predictions),
        "store": told.name,
        "split": told.split,
        "n": int(there.sum()),
        **metrics.average_precision(columns),
        **intervals.of_average_precision(columns),
        "positives": columns.positives,
        "unmatched": unmatched,
        "unanswered": int((~there).sum()),
    }


def _truth(told: Supervision) -> dict[str, NDArray[np.int8]]:
    """Of labels that are known for certain of some image, and of groups, by name."""
    direct = [name for name, is_direct in zip(told.labels, told.direct, strict=True) if is_direct]
    truth = {name: told.targets[:, told.labels.index(name)] for name in direct}
    return truth | {name: told.any_of[:, g] for g, (name, _) in enumerate(told.groups)}


def _read(
    predictions: Path, positions: Mapping[str, int], truth: Mapping[str, Any]
) -> tuple[dict[str, NDArray[np.float32]], NDArray[np.bool_], int]:
    """Probabilities by name (NaN where not told), which images have any, and how many rows have no image."""
    answers: dict[str, NDArray[np.float32]] = {}
    there, unmatched = np.zeros(len(positions), np.bool_), 0
    file = pq.ParquetFile(predictions)
    wanted = [column for column in ("probabilities", "groups") if column in file.schema_arrow.names]
    if not wanted:
        raise ValueError(f"{predictions} holds no probabilities; transform with outputs=probabilities among others")
    for batch in file.iter_batches(columns=["id", *wanted]):
        found = [positions.get(_stem(name), -1) for name in batch["id"].to_pylist()]
        rows = np.flatnonzero(np.asarray(found) >= 0)
        at = np.asarray(found, np.int64)[rows]
        unmatched += len(found) - len(rows)
        there[at] = True
        for column in wanted:
            for field, values in zip(batch[column].type, batch[column].flatten(), strict=True):
                if field.name in truth:
                    highest = answers.setdefault(field.name, np.full(len(positions), np.nan, np.float32))
                    np.fmax.at(highest, at, values.to_numpy(zero_copy_only=False).astype(np.float32)[rows])
    return answers, there, unmatched


def _stem(name: str) -> str:
    """Of a name that may have a folder and the suffix of a GeoTIFF."""
    path = PurePosixPath(name)
    return path.stem if path.suffix.lower() in (".tif", ".tiff") else path.name
