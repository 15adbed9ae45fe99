"""`python -m service similar`, on files as `embed` and the service write them."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from service.answers.records import compand
from service.commands.similar import main
from service.formats import geoparquet
from tests.conftest import ROOT

MODEL = {"name": "m", "version": "1", "sha256": "0"}
COUNT, DIM = 1000, 16


def embedded(path: Path, dtype: str = "float32", model: dict[str, str] = MODEL, seed: int = 0) -> Path:
    """Scenes of a hundred windows with random embeddings, of which the third is a tile that was refused."""
    vectors = np.random.default_rng(seed).normal(size=(COUNT, DIM)).astype(np.float32)
    records: list[dict[str, Any]] = []
    for i, vector in enumerate(vectors):
        x, y = 10 + i % 10 / 100, 50 - i // 10 / 100
        ring = [[x, y], [x + 0.01, y], [x + 0.01, y + 0.01], [x, y + 0.01], [x, y]]
        record: dict[str, Any] = {
            "id": f"scene {i // 100}",
            "window": [120 * (i % 10), 120 * (i // 10), 120, 120],
            "footprint": {"type": "Polygon", "coordinates": [ring]},
            "embedding": vector,
            "probabilities": {"field": 0.5},
            "labels": ["field"] if i % 2 else [],
        }
        if dtype == "int8":
            codes, scale = compand(vector)
            record |= {"embedding": codes, "embedding_scale": scale}
        records.append(record)
    records.insert(2, {"id": "bad", "error": {"code": "truncated", "detail": "…"}})
    with geoparquet.Writer(path, geoparquet.schema(DIM, ["field"], (), dtype)) as writer:
        for start in range(0, len(records), 300):  # several row groups
            writer.append(records[start : start + 300], model)
            writer._flush()
    return path


def brute_force(path: Path, row: int, k: int) -> tuple[list[int], list[float]]:
    """Rows and cosines, by all of them sorted."""
    rows = pq.read_table(path)["embedding"].to_pylist()
    vectors = np.array([[np.nan if x is None else x for x in vector] for vector in rows])
    if rows[0][0] == int(rows[0][0]):
        vectors *= abs(vectors)
    cosines = vectors @ vectors[row] / np.linalg.norm(vectors, axis=1) / np.linalg.norm(vectors[row])
    order = [int(i) for i in np.argsort(-cosines, kind="stable") if i != row and not np.isnan(cosines[i])][:k]
    return order, cosines[order].tolist()


@pytest.mark.parametrize("dtype", ["float32", "float16", "int8"])
def test_the_nearest_are_those_of_brute_force_with_all_that_is_known_of_them(tmp_path: Path, dtype: str) -> None:
    path, to = embedded(tmp_path / "all.parquet", dtype), tmp_path / "near.parquet"
    chosen = ["--id", "scene 4", "--window", "840,5040,120,120"]  # row 427, and one refused before it
    assert main([str(path), *chosen, "--k", "12", "--to", str(to)]) == 0
    order, cosines = brute_force(path, 428, 12)
    found, every = pq.read_table(to), pq.read_table(path)
    assert found["cosine"].to_pylist() == pytest.approx(cosines, abs=1e-9)
    assert found.drop_columns("cosine").to_pylist() == every.take(order).to_pylist()
    assert geopandas.read_parquet(to).crs.to_string() == "OGC:CRS84"


def test_a_terminal_and_a_spreadsheet_show_the_same_table(tmp_path: Path) -> None:
    path, to = embedded(tmp_path / "all.parquet"), tmp_path / "near.csv"
    command = [sys.executable, "-m", "service", "similar", path, "--id", "scene 0", "--window", "0,0,120,120"]
    done = subprocess.run([*command, "--k", "3", "--to", to], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    shown = [line.split("  ") for line in done.stdout.splitlines()]
    with to.open() as file:
        head, *rows = csv.reader(file)
    assert [cell.strip() for cell in shown[0] if cell] == head
    assert len(rows) == len(shown) - 1 == 3
    order, _ = brute_force(path, 0, 3)
    for line, row, place in zip(done.stdout.splitlines()[1:], rows, order, strict=True):
        i = place - 1  # one was refused before it
        column, line_of_windows = i % 10, i // 10
        window = f"{120 * column},{120 * line_of_windows},120,120"
        middle = [f"{10.005 + column / 100:.5g}", f"{50.005 - line_of_windows / 100:.5g}"]
        assert row[1:5] == [f"scene {i // 100}", window, *map(str, map(float, middle))]
        assert row[5] == ("field" if i % 2 else "")
        assert line.startswith(f"{float(row[0]):.6f}  {row[1]}")


WITHOUT_PANDAS = """
import importlib.machinery as machinery, sys
find = machinery.PathFinder.find_spec
machinery.PathFinder.find_spec = classmethod(lambda cls, name, *more: None if name == "pandas" else find(name, *more))
from service.commands.similar import main
for path in sys.argv[1:]:
    for to in (path + ".parquet", path + ".geojson"):
        assert main([path, "--id", "scene 0", "--window", "0,0,120,120", "--to", to]) == 0
"""


def test_it_needs_no_pandas_which_the_container_has_not(tmp_path: Path) -> None:
    paths = [embedded(tmp_path / dtype, dtype) for dtype in ("float32", "float16", "int8")]
    done = subprocess.run([sys.executable, "-c", WITHOUT_PANDAS, *paths], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_geojson_has_the_footprints_and_no_embeddings(tmp_path: Path) -> None:
    path, to = embedded(tmp_path / "all.parquet"), tmp_path / "near.geojson"
    assert main([str(path), "--id", "scene 9", "--window", "0,10800,120,120", "--to", str(to)]) == 0
    collection = json.loads(to.read_text())
    assert (len(collection["features"]), collection["model"]) == (10, MODEL)
    cosines = [feature["properties"]["cosine"] for feature in collection["features"]]
    assert cosines == sorted(cosines, reverse=True)
    assert "embedding" not in collection["features"][0]["properties"]
    assert len(geopandas.read_file(to)) == 10


def test_a_patch_of_another_file_is_looked_for_in_this_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = embedded(tmp_path / "all.parquet")
    other = embedded(tmp_path / "other.parquet")
    chosen = ["--id", "scene 3", "--window", "0,3600,120,120", "--k", "1"]
    assert main([str(path), *chosen, "--like", str(other)]) == 0
    assert capsys.readouterr().out.splitlines()[1].startswith("1.000000  scene 3  0,3600,120,120")
    assert main([str(path), *chosen]) == 0
    assert "0,3600,120,120" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("chosen", "why"),
    [
        (["--id", "nothing"], "no patch called nothing"),
        (["--id", "scene 1", "--window", "1,2,3,4"], "no patch called scene 1 at 1,2,3,4"),
        (["--id", "scene 1"], "100 patches are called scene 1: say which with --window, as 0,1200,120,120 or"),
        (["--id", "bad"], "The patch has no embedding"),
        (["--id", "scene 1", "--window", "0,1200,120,120", "--like", "other.parquet"], "are of different models"),
        (["--id", "scene 1", "--window", "0,1200,120,120", "--like", "small.parquet"], "differ in type"),
        (["--id", "scene 1", "--like", "bare.parquet"], "has no column embedding"),
        (["--id", "scene 1", "--like", "no.parquet"], "no Parquet file"),
        (["--id", "scene 1", "--like", "list.parquet"], "differ in length"),
        (["--id", "scene 1", "--like", "nowhere.parquet"], "nowhere.parquet"),
    ],
)
def test_what_cannot_be_done_is_said(
    tmp_path: Path,
    chosen: list[str],
    why: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    embedded(Path("all.parquet"))
    embedded(Path("other.parquet"), model=MODEL | {"sha256": "1"})
    embedded(Path("small.parquet"), "int8")
    with geoparquet.Writer(Path("bare.parquet"), geoparquet.schema(None, (), ())) as writer:
        writer.append([{"id": "a"}], MODEL)
    Path("no.parquet").write_text("no")
    rows = pq.read_table("all.parquet")
    lists = rows["embedding"].cast(pa.list_(pa.float32()))
    pq.write_table(rows.drop_columns("embedding").append_column("embedding", lists), "list.parquet")
    assert main(["all.parquet", *chosen]) == 1
    said = capsys.readouterr()
    assert why in said.err
    assert said.out == ""


def test_a_patch_alone_has_no_neighbours(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "one.parquet"
    pq.write_table(pq.read_table(embedded(tmp_path / "all.parquet")).slice(0, 1), path)
    assert main([str(path), "--id", "scene 0"]) == 1
    assert "no other patch" in capsys.readouterr().err


@pytest.mark.parametrize("wrong", [["--k", "0"], ["--window", "1,2"], ["--to", "near.xlsx"], []])
def test_a_wrong_command_line_is_2(wrong: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["all.parquet", *(["--id", "a"] if wrong else []), *wrong])
    assert ended.value.code == 2


def test_tiles_that_are_called_the_same_are_told_apart_by_their_sources(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    records = [
        {"id": "scene", "source": f"/{folder}/scene.tif", "window": (0, 0, 120, 120), "embedding": np.ones(DIM)}
        for folder in "ab"
    ]
    with geoparquet.Writer(tmp_path / "all.parquet", geoparquet.schema(DIM, (), ())) as writer:
        writer.append(records, MODEL)
    assert main([str(tmp_path / "all.parquet"), "--id", "scene", "--window", "0,0,120,120"]) == 1
    assert "--id /a/scene.tif or /b/scene.tif" in capsys.readouterr().err
    assert main([str(tmp_path / "all.parquet"), "--id", "/b/scene.tif"]) == 0
    assert "1.000000  scene" in capsys.readouterr().out


def test_embeddings_are_not_written_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = embedded(tmp_path / "all.parquet")
    before = path.read_bytes()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stopped:
        main([str(path), "--id", "scene 0", "--window", "0,0,120,120", "--to", "all.parquet"])
    assert (stopped.value.code, path.read_bytes()) == (2, before)
