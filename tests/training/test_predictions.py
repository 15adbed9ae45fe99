from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from service.formats import geoparquet
from training.predictions import evaluate, known
from training.run import main
from training.stores.store import Store

MODEL = {"name": "tiny", "version": "1", "sha256": "a"}


def save(file: Path, labels: tuple[str, ...], records: list[dict[str, Any]], groups: tuple[str, ...] = ()) -> Path:
    with geoparquet.Writer(file, geoparquet.schema(None, labels, groups)) as writer:
        writer.append(records, MODEL)
    return file


def test_predictions_of_a_stores_test_split_are_scored_as_its_labels_say(mosaics: Path, tmp_path: Path) -> None:
    store = Store.open(mosaics)
    rows = [store.rows[i] for i in store.of_split("test")]
    perfect = [{"id": row.patch_id, "probabilities": {name: float(name in row.labels) for name in store.card.labels},
                "groups": {group["name"]: float(bool(set(group["members"]) & {*row.labels, *sum(row.any_of, ())}))
                           for group in store.card.groups}} for row in rows]  # fmt: skip
    names = tuple(group["name"] for group in store.card.groups)
    file = save(tmp_path / "p.parquet", store.card.labels, [*perfect[1:], {"id": "elsewhere"}], names)
    entry = evaluate(file, known(mosaics))
    assert (entry["macro"], entry["micro"]) == pytest.approx((1, 1))
    assert (entry["n"], entry["unmatched"], entry["unanswered"]) == (len(rows) - 1, 1, 1)
    assert set(names) <= set(entry["per_label"])
    assert evaluate(file, known(mosaics / "index.parquet")) == entry


def test_predictions_are_joined_with_a_csv_and_of_a_scene_the_highest_counts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told = tmp_path / "labels.csv"
    told.write_text("file,labels\nx/a.tif,field\nx/b.tif,field|town\nc,town\nd,\n")
    probabilities = {"a": 0.9, "b": 0.2, "c": 0.4, "d": 0.1}
    records = [{"id": name, "probabilities": {"field": p, "town": None}} for name, p in probabilities.items()]
    records.append({"id": "b", "probabilities": {"field": 0.8, "town": None}})
    file = save(tmp_path / "p.parquet", ("field", "town"), records)
    entry = evaluate(file, known(told))
    assert entry["per_label"] == {"field": 1.0}
    assert main(["evaluate", "--predictions", str(file), str(told)]) == 0
    said = capsys.readouterr().out
    assert "macro AP" in said and "0 images have none" in said


def test_predictions_without_anything_in_common_are_refused(tmp_path: Path) -> None:
    told = tmp_path / "labels.csv"
    told.write_text("id,labels\na,field\n")
    record = {"id": "z", "probabilities": {"sea": 0.5}}
    with pytest.raises(ValueError, match="none of its 1 ids"):
        evaluate(save(tmp_path / "p.parquet", ("sea",), [record]), known(told))
    with pytest.raises(ValueError, match="no label in common"):
        evaluate(save(tmp_path / "p.parquet", ("sea",), [record | {"id": "a"}]), known(told))
    told.write_text("name,labels\n")
    with pytest.raises(ValueError, match="needs a column labels"):
        known(told)


def test_scores_are_those_of_the_metric(tmp_path: Path) -> None:
    chance = np.random.default_rng(0)
    p, is_field = chance.random(50), chance.random(50) < 0.5
    told = tmp_path / "labels.csv"
    told.write_text("id,labels\n" + "".join(f"{i},{'field' if is_field[i] else ''}\n" for i in range(50)))
    records = [{"id": str(i), "probabilities": {"field": float(p[i])}} for i in range(50)]
    entry = evaluate(save(tmp_path / "p.parquet", ("field",), records), known(told))
    order = np.argsort(-p)
    hits = is_field[order]
    expected = (hits.cumsum() / np.arange(1, 51))[hits].mean()
    assert entry["macro"] == pytest.approx(expected)
    low, high = entry["per_label_interval"]["field"]
    assert low < expected < high
