from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from service.imagery.patches import InputSpec
from tests.imagery import geotiff, reflectance
from training.stores import geotiffs, store
from training.stores.store import Store

SPEC = InputSpec(("B04", "B03", "B02"), patch_px=60, gsd_m=10, divisor=2000)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "in" / "north").mkdir(parents=True)
    (tmp_path / "in" / "a.tif").write_bytes(geotiff(reflectance(side=60)))
    (tmp_path / "in" / "north" / "b.TIFF").write_bytes(geotiff(reflectance(side=80)))
    (tmp_path / "in" / "scene.tif").write_bytes(geotiff(reflectance(side=120)))
    (tmp_path / "in" / "notes.txt").write_text("no image")
    return tmp_path


def test_a_folder_becomes_patches_of_one_size_and_scenes_are_cut(folder: Path) -> None:
    (folder / "in" / "broken.tif").write_bytes(b"II*\0")
    rejected = store.write(folder / "out", geotiffs.read(folder / "in", "mine", SPEC))
    assert [entry.name for entry in rejected] == ["broken.tif"]
    made = Store.open(folder / "out")
    assert made.images.shape == (6, 60, 60, 3)
    assert [row.patch_id for row in made.rows] == [
        "a",
        "north/b",
        "scene_0_0",
        "scene_60_0",
        "scene_0_60",
        "scene_60_60",
    ]
    assert [row.source for row in made.rows[:3]] == ["a.tif", "north/b.TIFF", "scene.tif"]
    assert {row.split for row in made.rows} == {None}
    expected = np.minimum(reflectance(side=60).astype(int) * 255 // 2000, 255).transpose(1, 2, 0)
    assert np.array_equal(made.images[0], expected)


def test_labels_are_free_names_from_a_csv(folder: Path) -> None:
    (folder / "labels.csv").write_text("file,labels,split\na.tif,solar|roof,train\nscene.tif,,test\n")
    store.write(folder / "out", geotiffs.read(folder / "in", "mine", SPEC, folder / "labels.csv"))
    made = Store.open(folder / "out")
    assert made.card.labels == ("roof", "solar")
    assert (made.rows[0].labels, made.rows[0].split) == (("solar", "roof"), "train")
    assert (made.rows[1].labels, made.rows[1].split) == ((), None)
    assert (made.rows[2].labels, made.rows[2].split) == ((), "test")


def test_without_a_split_column_all_windows_of_a_file_fall_into_one_split(folder: Path) -> None:
    (folder / "labels.csv").write_text("file,labels\nscene.tif,roof\n")
    store.write(folder / "out", geotiffs.read(folder / "in", "mine", SPEC, folder / "labels.csv"))
    splits = {row.split for row in Store.open(folder / "out").rows if row.source == "scene.tif"}
    assert len(splits) == 1
    assert splits <= set(store.SPLITS)


def test_other_options_make_another_store(folder: Path) -> None:
    store.write(folder / "out", geotiffs.read(folder / "in", "mine", SPEC))
    with pytest.raises(ValueError, match="other options"):
        store.write(folder / "out", geotiffs.read(folder / "in", "mine", SPEC, boa_offset=-1000))
    (folder / "labels.csv").write_text("file,labels,split\na.tif,roof,train\n")
    store.write(folder / "labelled", geotiffs.read(folder / "in", "mine", SPEC, folder / "labels.csv"))
    (folder / "labels.csv").write_text("file,labels,split\na.tif,roof,test\n")
    with pytest.raises(ValueError, match="other options"):
        store.write(folder / "labelled", geotiffs.read(folder / "in", "mine", SPEC, folder / "labels.csv"))


def test_files_of_one_name_in_two_folders_are_two_patches(folder: Path) -> None:
    (folder / "in" / "north" / "a.tif").write_bytes(geotiff(reflectance(side=60)))
    store.write(folder / "out", geotiffs.read(folder / "in", "mine", SPEC))
    ids = [row.patch_id for row in Store.open(folder / "out").rows]
    assert len(set(ids)) == len(ids) == 7
    assert "north/a" in ids


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("name,labels\na.tif,roof\n", "columns file and labels"),
        ("file,labels,split\na.tif,roof,dev\n", "split 'dev'"),
        ("file,labels\nz.tif,roof\n", "z.tif"),
    ],
)
def test_a_csv_that_does_not_fit_is_refused(folder: Path, content: str, said: str) -> None:
    (folder / "labels.csv").write_text(content)
    with pytest.raises(ValueError, match=said):
        geotiffs.read(folder / "in", "mine", SPEC, folder / "labels.csv")


def test_bands_of_files_that_do_not_name_them_can_be_said(folder: Path) -> None:
    (folder / "in" / "a.tif").write_bytes(geotiff(reflectance(side=60, bands=4)))
    bands = ("B02", "B03", "B04", "B08")
    rejected = store.write(folder / "out", geotiffs.read(folder / "in", "mine", SPEC, file_bands=bands))
    assert [entry.name for entry in rejected] == ["north/b.TIFF", "scene.tif"]
    expected = np.minimum(reflectance(side=60, bands=4).astype(int) * 255 // 2000, 255)[[2, 1, 0]]
    assert np.array_equal(Store.open(folder / "out").images[0], expected.transpose(1, 2, 0))
