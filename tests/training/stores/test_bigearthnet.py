from __future__ import annotations

import bz2
import csv
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from affine import Affine

from service.imagery.patches import InputSpec, ReadOptions, TileFile
from service.imagery.reader import read_tile
from tests.conftest import ROOT
from tests.imagery import PLACE, RGB, geotiff, reflectance
from tests.waiting import wait_until
from training.stores import bigearthnet, bigearthnet_lists, store
from training.stores.bigearthnet_lists import Facts
from training.stores.bigearthnet_patches import PatchFolder, PatchReader
from training.stores.nomenclature import BIGEARTHNET_19, to_bigearthnet_19
from training.stores.store import Store

GRIDS = {"B02": 1, "B03": 1, "B04": 1, "B08": 1, "B05": 2, "B01": 6}


def make_patch(folder: Path, name: str, labels: list[str] | None, suffix: str = ".tif", seed: int = 0) -> np.ndarray:
    """A patch in the published layout; returns its B04, B03, B02."""
    values = reflectance(bands=len(GRIDS), seed=seed)
    (folder / name).mkdir(parents=True)
    for i, (band, step) in enumerate(GRIDS.items()):
        place = PLACE @ Affine.scale(step)
        (folder / name / f"{name}_{band}{suffix}").write_bytes(
            geotiff(values[i : i + 1, ::step, ::step], transform=place)
        )
    if labels is not None:
        known = {"labels": labels, "acquisition_date": "2017-06-13 10:10:31"}
        (folder / name / f"{name}_labels_metadata.json").write_text(json.dumps(known))
    return values[[2, 1, 0]]


def write_list(file: Path, names: list[str]) -> None:
    text = "".join(f"{name}\n" for name in names).encode()
    file.write_bytes(bz2.compress(text) if file.suffix == ".bz2" else text)


NAMES = [f"S2A_MSIL2A_20170613T101031_0_{i}" for i in range(6)]


@pytest.fixture
def v1(tmp_path: Path) -> Path:
    for i, name in enumerate(NAMES):
        make_patch(tmp_path / "ben", name, ["Pastures", "Sea and ocean", "Airports"], seed=i)
    lists = tmp_path / "lists"
    lists.mkdir()
    write_list(lists / "train.csv.bz2", [NAMES[0], NAMES[4]])
    write_list(lists / "val.csv", [NAMES[1]])
    write_list(lists / "test.csv.bz2", [NAMES[2], "S2A_MSIL2A_20170613T101031_9_9"])
    write_list(lists / "patches_with_seasonal_snow.csv.bz2", [NAMES[3]])
    write_list(lists / "patches_with_cloud_and_shadow.csv.bz2", [NAMES[4]])
    write_list(lists / "patches_with_no_19_class_targets.csv.bz2", [NAMES[5]])
    return tmp_path


def test_v1_with_the_published_lists_is_the_recommended_set(v1: Path) -> None:
    store.write(v1 / "store", bigearthnet.read(v1 / "ben", 1, v1 / "lists"))
    made = Store.open(v1 / "store")
    assert [(row.patch_id, row.split) for row in made.rows] == [
        (NAMES[0], "train"),
        (NAMES[1], "validation"),
        (NAMES[2], "test"),
    ]
    row = made.rows[0]
    assert row.labels == ("Pastures", "Marine waters")
    assert (row.snow, row.cloud_or_shadow, row.season) == (False, False, "Summer")
    assert row.acquisition_date == "2017-06-13T10:10:31"
    corners = np.frombuffer(row.geometry or b"", "<f8", offset=13).reshape(5, 2)  # after order, type and two counts
    assert np.allclose(corners[0], (13.71, 48.22), atol=0.01)
    assert np.array_equal(corners[0], corners[4])
    expected = np.minimum(reflectance(bands=len(GRIDS), seed=0)[[2, 1, 0]].astype(int) * 255 // 2000, 255)
    assert np.array_equal(made.images[0], expected.transpose(1, 2, 0))


def test_flagged_patches_are_kept_when_asked_for(v1: Path) -> None:
    source = bigearthnet.read(v1 / "ben", 1, v1 / "lists", keep_flagged=True)
    assert list(source.names) == NAMES
    store.write(v1 / "store", source)
    rows = {row.patch_id: row for row in Store.open(v1 / "store").rows}
    assert rows[NAMES[3]].snow is True
    assert rows[NAMES[3]].split is None
    assert rows[NAMES[4]].cloud_or_shadow is True


def test_other_bands_may_be_chosen_and_coarse_ones_are_resampled(v1: Path) -> None:
    store.write(v1 / "store", bigearthnet.read(v1 / "ben", 1, bands=("B08", "B05", "B01")))
    made = Store.open(v1 / "store")
    assert made.images.shape == (6, 120, 120, 3)
    assert made.card.bands == ("B08", "B05", "B01")
    assert {row.split for row in made.rows} == {None}
    assert made.card.stretch == {"divisor": 5000}


def test_a_patch_with_a_broken_band_is_listed_and_the_others_are_read(v1: Path) -> None:
    (v1 / "ben" / NAMES[1] / f"{NAMES[1]}_B03.tif").write_bytes(b"II*\0")
    (v1 / "ben" / NAMES[2] / f"{NAMES[2]}_B04.tif").unlink()
    rejected = store.write(v1 / "store", bigearthnet.read(v1 / "ben", 1, v1 / "lists"))
    assert [entry.name for entry in rejected] == [NAMES[1], NAMES[2]]
    assert "ends before" in (rejected[0].reason or "")
    assert [row.patch_id for row in Store.open(v1 / "store").rows] == [NAMES[0]]


def test_a_patch_of_v1_without_labels_is_broken_rather_than_empty(v1: Path) -> None:
    (v1 / "ben" / NAMES[1] / f"{NAMES[1]}_labels_metadata.json").unlink()
    rejected = store.write(v1 / "store", bigearthnet.read(v1 / "ben", 1, v1 / "lists"))
    assert [entry.name for entry in rejected] == [NAMES[1]]
    assert "labels" in (rejected[0].reason or "")


def test_a_store_is_not_continued_with_other_splits(v1: Path) -> None:
    store.write(v1 / "store", bigearthnet.read(v1 / "ben", 1, v1 / "lists"))
    write_list(v1 / "lists" / "val.csv", [NAMES[2]])
    write_list(v1 / "lists" / "test.csv.bz2", [NAMES[1]])
    with pytest.raises(ValueError, match="other options"):
        store.write(v1 / "store", bigearthnet.read(v1 / "ben", 1, v1 / "lists"))


def test_v2_takes_labels_splits_and_flags_from_its_metadata(tmp_path: Path) -> None:
    tile = "S2A_MSIL2A_20170613T101031_N9999_R022_T33UUP"
    names = [f"{tile}_26_57", f"{tile}_75_43", f"{tile}_89_18"]
    for name, suffix in zip(names, (".tif", ".tiff", ".tif"), strict=True):
        make_patch(tmp_path / "BigEarthNet-S2" / tile, name, None, suffix)
    make_patch(tmp_path / "BigEarthNet-S2" / tile, f"{tile}_1_1", None, ".tif")
    table = pa.table(
        {
            "patch_id": names,  # of four patches: the fourth is not recommended, so nobody names it
            "labels": [["Arable land", "Pastures"], ["Marine waters"], ["Pastures"]],
            "split": ["train", "validation", "test"],
            "country": ["Austria"] * 3,
            "contains_seasonal_snow": [False, False, True],
            "contains_cloud_or_shadow": [False, False, False],
        }
    )
    pq.write_table(table, tmp_path / "metadata.parquet")
    store.write(tmp_path / "store", bigearthnet.read(tmp_path, 2, tmp_path / "metadata.parquet"))
    rows = Store.open(tmp_path / "store").rows
    assert [(row.patch_id, row.split, row.labels, row.country) for row in rows] == [
        (names[0], "train", ("Arable land", "Pastures"), "Austria"),
        (names[1], "validation", ("Marine waters",), "Austria"),
    ]


def test_a_table_of_the_gdf_builder_is_understood(v1: Path) -> None:
    table = pa.table(
        {
            "name": NAMES[:3],
            "labels": [["Pastures"], ["Sea and ocean"], ["Airports"]],
            "new_labels": [["Pastures"], ["Marine waters"], None],
            "original_split": ["train", "validation", "test"],
            "snow": [False, False, False],
            "cloud_or_shadow": [False, True, False],
            "country": ["Ireland", "Ireland", "Ireland"],
            "season": ["Summer", "Summer", "Summer"],
        }
    )
    pq.write_table(table, v1 / "final_ben_s2.parquet")
    metadata = bigearthnet_lists.read(v1 / "final_ben_s2.parquet")
    assert [metadata.is_recommended(name) for name in NAMES[:3]] == [True, False, False]
    assert metadata.facts[NAMES[0]].split == "train"
    assert metadata.facts[NAMES[0]].labels == ("Pastures",)


def test_a_folder_without_lists_or_patches_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no lists"):
        bigearthnet_lists.read(tmp_path)
    with pytest.raises(FileNotFoundError, match="no BigEarthNet patches"):
        bigearthnet.read(tmp_path, 1)


def test_names_of_corine_become_the_19_in_their_published_order_and_once() -> None:
    corine = ["Sea and ocean", "Olive groves", "Vineyards", "Airports", "Discontinuous urban fabric"]
    assert to_bigearthnet_19(corine) == ["Urban fabric", "Permanent crops", "Marine waters"]
    assert to_bigearthnet_19(BIGEARTHNET_19) == list(BIGEARTHNET_19)
    with pytest.raises(KeyError):
        to_bigearthnet_19(["Sea"])


def test_the_mapping_is_the_published_one(shared_data: Path) -> None:
    published = json.loads((shared_data / "bigearthnet" / "label_mapping_and_band_stats.json").read_text())
    assert published["labels_19_order"] == list(BIGEARTHNET_19)
    assert len(published["clc43_to_ben19"]) == 43
    for corine, label in published["clc43_to_ben19"].items():
        assert to_bigearthnet_19([corine]) == ([label] if label else [])


def test_real_patches_have_their_published_labels_and_splits(shared_data: Path, tmp_path: Path) -> None:
    ben = shared_data / "bigearthnet"
    assert store.write(tmp_path, bigearthnet.read(ben / "v1", 1, ben / "v1-official-splits")) == []
    rows = {row.patch_id: row for row in Store.open(tmp_path).rows}
    with (ben / "labels.csv").open() as file:
        published = {line["patch"]: line for line in csv.DictReader(file) if line["where"] == "v1"}
    recommended = {name: line for name, line in published.items() if not line["flags"]}
    assert len(published) == 14
    assert set(rows) == set(recommended)
    assert len(rows) == 13
    splits = {"train": "train", "val": "validation", "test": "test"}
    for name, line in recommended.items():
        assert rows[name].split == splits[line["official_v1_split"]]
        assert set(rows[name].labels) == set(line["labels_19"].split("|"))


def test_all_bands_of_real_patches_are_read_as_the_service_reads_them(shared_data: Path, tmp_path: Path) -> None:
    bands = ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B11", "B12")
    ben = shared_data / "bigearthnet" / "v1"
    assert store.write(tmp_path, bigearthnet.read(ben, 1, bands=bands, divisor=4000)) == []
    made = Store.open(tmp_path)
    spec = InputSpec(bands, 120, 10, 4000)
    for image, row in zip(made.images, made.rows, strict=True):
        files = [ben / row.patch_id / f"{row.patch_id}_{band}.tif" for band in bands]
        tile = [TileFile(file.read_bytes(), band) for file, band in zip(files, bands, strict=True)]
        (patch,) = read_tile(tile, spec, ReadOptions())
        assert np.array_equal(image, patch.pixels)
        assert patch.facts.valid_fraction == 1
    assert made.images.std((0, 1, 2)).min() > 5


def test_real_v2_patches_are_read_without_labels(shared_data: Path, tmp_path: Path) -> None:
    store.write(tmp_path, bigearthnet.read(shared_data / "bigearthnet" / "v2", 2))
    made = Store.open(tmp_path)
    assert made.images.shape == (3, 120, 120, 3)
    assert made.card.labels == ()
    assert made.images.std() > 5


def test_preparation_killed_with_minus_9_goes_on_and_ends_as_an_unbroken_one(v1: Path) -> None:
    for i in range(6, 300):
        name, like = f"S2A_MSIL2A_20170613T101031_0_{i}", NAMES[i % 6]
        (v1 / "ben" / name).mkdir()
        for file in (v1 / "ben" / like).iterdir():
            (v1 / "ben" / name / file.name.replace(like, name)).write_bytes(file.read_bytes())
    command = [sys.executable, str(ROOT / "training/run.py"), "prepare", "bigearthnet-v1", str(v1 / "ben"), "--out"]
    subprocess.run([*command, str(v1 / "unbroken")], check=True)

    # A pipe in place of a late band holds its reader there until it is killed.
    last = Store.open(v1 / "unbroken").rows[-1].patch_id
    held = v1 / "ben" / last / f"{last}_B03.tif"
    content = held.read_bytes()
    held.unlink()
    os.mkfifo(held)
    killed = subprocess.Popen([*command, str(v1 / "killed")])
    progress = v1 / "killed" / "progress.jsonl"
    wait_until(lambda: progress.exists() and progress.read_text().count("\n") >= store.CHECKPOINT_EVERY)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    held.unlink()
    held.write_bytes(content)

    again = subprocess.run([*command, str(v1 / "killed")], check=True, capture_output=True, text=True)
    assert f"{store.CHECKPOINT_EVERY}/300" in again.stderr
    for name in ("images.npy", "index.parquet"):
        assert (v1 / "killed" / name).read_bytes() == (v1 / "unbroken" / name).read_bytes()


def test_patches_read_in_the_decode_processes_of_the_service_are_the_same(v1: Path) -> None:
    patches = [PatchFolder(v1 / "ben" / name, Facts()) for name in NAMES[:3]]
    (v1 / "ben" / NAMES[1] / f"{NAMES[1]}_B03.tif").write_bytes(b"II*\0")
    reader = PatchReader(RGB, 1)
    alone, together = list(reader.one_by_one(patches)), reader(patches)
    assert [entry.reason for entry in alone] == [entry.reason for entry in together]
    assert [entry.reason is None for entry in alone] == [True, False, True]
    assert [entry.rows for entry in alone] == [entry.rows for entry in together]
    assert np.array_equal(alone[0].images, together[0].images)
