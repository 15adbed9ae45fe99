from __future__ import annotations

import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.imagery import eurosat_like
from training.stores import eurosat, store
from training.stores.nomenclature import BIGEARTHNET_19, FOREST, WATER
from training.stores.store import Store


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return eurosat_like(tmp_path_factory.mktemp("eurosat"))


def test_splits_are_those_of_the_published_rule() -> None:
    # worked out by hand with sha1sum: the last decimal digit of the digest
    expected = {"Forest_1.jpg": "validation", "River_1.jpg": "train", "SeaLake_1.jpg": "test"}
    assert {name: eurosat.split_of(name) for name in expected} == expected
    assert eurosat.split_of("Forest/Forest_1.webp") == expected["Forest_1.jpg"]


def test_tiles_keep_their_pixels_and_class(folder: Path, tmp_path: Path) -> None:
    assert store.write(tmp_path, eurosat.tiles(folder)) == []
    made = Store.open(tmp_path)
    assert made.images.shape == (120, 64, 64, 3)
    at = next(i for i, row in enumerate(made.rows) if row.patch_id == "River_10")
    assert np.array_equal(made.images[at], np.asarray(Image.open(folder / "River" / "River_10.jpg")))
    assert made.rows[at].labels == ("River",)
    ids = [row.patch_id for row in made.rows if row.labels == ("River",)]
    assert ids == [f"River_{i}" for i in range(1, 13)]  # by number, not by letter


def test_a_tar_gives_the_same_store_as_its_folder(folder: Path, tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "tiles.tar.xz", "w:xz") as archive:
        archive.add(folder, "EuroSAT_RGB")
    store.write(tmp_path / "of_tar", eurosat.tiles(tmp_path / "tiles.tar.xz"))
    store.write(tmp_path / "of_folder", eurosat.tiles(folder))
    for name in ("images.npy", "index.parquet"):
        assert (tmp_path / "of_tar" / name).read_bytes() == (tmp_path / "of_folder" / name).read_bytes()


def test_a_tar_that_breaks_off_is_named(folder: Path, tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "whole.tar.gz", "w:gz") as archive:
        archive.add(folder, "EuroSAT_RGB")
    broken = tmp_path / "broken.tar.gz"
    broken.write_bytes((tmp_path / "whole.tar.gz").read_bytes()[:20_000])
    with pytest.raises(ValueError, match=r"broken\.tar\.gz: the tar is broken off"):
        eurosat.tiles(broken)


def test_at_the_surface_there_is_less_haze_the_more_so_the_bluer() -> None:
    grey = np.full((1, 1, 3), 93, np.uint8)  # DN 1003 in every band, above the atmosphere
    # Haze of 700 DN at 490 nm, so by λ⁻⁴ 410 at 560 nm and 206 at 665 nm. A transmittance of 0.9 leaves 886, 659 and
    # 337 DN, of which 2000 become 255: 112.9, 83.99 and 42.9, truncated.
    assert eurosat.to_surface(grey)[0, 0].tolist() == [112, 83, 42]
    assert eurosat.to_surface(np.zeros((1, 1, 3), np.uint8)).max() == 0


def test_a_surface_store_says_so(folder: Path, tmp_path: Path) -> None:
    store.write(tmp_path / "toa", eurosat.mosaics(folder))
    store.write(tmp_path / "surface", eurosat.mosaics(folder, surface=True))
    toa, surface = Store.open(tmp_path / "toa"), Store.open(tmp_path / "surface")
    assert (surface.card.name, surface.card.stretch) == ("eurosat-mosaics-surface", {"divisor": 2000})
    assert surface.rows == toa.rows
    assert np.array_equal(surface.images[3], eurosat.to_surface(toa.images[3]))


def test_mosaics_are_made_of_crops_of_one_split_and_labelled_with_all_they_show(folder: Path, tmp_path: Path) -> None:
    store.write(tmp_path, eurosat.mosaics(folder))
    made = Store.open(tmp_path)
    assert made.images.shape[1:] == (120, 120, 3)
    assert made.card.labels == BIGEARTHNET_19
    pixels = {name: np.asarray(Image.open(folder / name)) for name in (made.rows[7].source or "").split()}
    for cell, name in enumerate((made.rows[7].source or "").split()):
        row, column = divmod(cell, 2)
        crop = made.images[7][row * 60 : row * 60 + 60, column * 60 : column * 60 + 60]
        tile = pixels[name]
        assert any(np.array_equal(tile[y : y + 60, x : x + 60], crop) for y in range(5) for x in range(5))
    for row in made.rows:
        members = (row.source or "").split()
        assert {eurosat.split_of(name) for name in members} == {row.split}
        classes = {eurosat.class_of(name) for name in members}
        assert ("Urban fabric" in row.labels) == ("Residential" in classes)
        assert ("Inland waters" in row.labels) == ("River" in classes)
        assert (FOREST in row.any_of) == ("Forest" in classes)
        assert (WATER in row.any_of) == ("SeaLake" in classes)
        assert not {"Marine waters", "Mixed forest", "Agro-forestry areas"} & set(row.labels)
    assert {len({eurosat.class_of(name) for name in (row.source or "").split()}) for row in made.rows} == {1, 2, 3, 4}


def test_an_unreadable_tile_is_listed_with_its_reason(tmp_path: Path) -> None:
    spoilt = eurosat_like(tmp_path / "spoilt", each=2)
    (spoilt / "River" / "River_1.jpg").write_bytes(b"no image")
    Image.new("RGB", (32, 32)).save(spoilt / "River" / "River_2.jpg")
    rejected = store.write(tmp_path / "store", eurosat.tiles(spoilt))
    assert [entry.name for entry in rejected] == ["River/River_1.jpg", "River/River_2.jpg"]
    assert "32 × 32" in (rejected[1].reason or "")


def test_a_folder_without_tiles_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no EuroSAT tiles"):
        eurosat.tiles(tmp_path)


def test_the_real_eurosat_has_its_known_sizes_and_splits(shared_data: Path) -> None:
    names = eurosat.tiles(shared_data / "eurosat" / "EuroSAT_RGB.tar.xz").names
    assert len(names) == 27_000
    splits = [eurosat.split_of(name) for name in names]
    assert [splits.count(split) for split in store.SPLITS] == [16_234, 5_370, 5_396]
