from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from affine import Affine

from service.imagery.errors import ImageryError
from service.imagery.geotiff import read_band
from service.imagery.patches import ReadOptions, TileFile
from service.imagery.raster import Raster
from tests.imagery import geotiff
from training.stores import layouts
from training.stores.layouts import BandReader

OPTIONS = ReadOptions()


def band(seed: int, **options: Any) -> bytes:
    """One band of 20 × 20 random values, holes (0) among them."""
    values = np.random.default_rng(seed).integers(0, 4, (1, 20, 20)) * 500
    options.setdefault("transform", Affine(60, 0, 400_000 + 1200 * seed, 0, -60, 5_300_000 - seed))
    return geotiff(values.astype(options.pop("dtype", np.uint16)), **options)


def same(one: Raster, other: Raster) -> bool:
    def plain(raster: Raster) -> list[Any]:
        return [value.tolist() if isinstance(value, np.ndarray) else value for value in vars(raster).values()]

    return plain(one) == plain(other) and one.values.dtype == other.values.dtype


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Files that GDAL opened for a BandReader."""
    asked: list[bytes] = []

    def counted(file: TileFile, options: ReadOptions) -> Raster:
        asked.append(file.data)
        return read_band(file, options)

    monkeypatch.setattr(layouts, "read_band", counted)
    return asked


@pytest.mark.parametrize(
    "options",
    [{}, {"nodata": 0}, {"nodata": 500}, {"crs": "EPSG:32629"}],
    ids=str,
)
def test_files_of_one_layout_are_read_as_gdal_reads_them(options: dict[str, Any], opened: list[bytes]) -> None:
    read = BandReader()
    for seed in range(4):
        data = band(seed, **options)
        assert same(read(TileFile(data, "B01"), OPTIONS), read_band(TileFile(data, "B01"), OPTIONS))
    assert len(opened) == 1


@pytest.mark.parametrize(
    "options",
    [
        {"compress": "deflate"},
        {"tiled": True, "blockxsize": 16, "blockysize": 16},
        {"compress": "lzw", "predictor": 2},
        {"ENDIANNESS": "BIG"},
        {"BIGTIFF": "YES"},
        {"scales": (0.0001,)},  # written later, so that a dead directory with another place is left in the file
        {"dtype": np.float32},
        {"dtype": np.int16},
        {"crs": None, "transform": None},
        {"transform": Affine(7, 7, 400_000, 7, -7, 5_300_000)},
    ],
    ids=str,
)
def test_gdal_decides_of_all_other_files(options: dict[str, Any], opened: list[bytes]) -> None:
    read = BandReader()
    files = [band(seed, **options) for seed in range(3)]
    for data in files:
        assert same(read(TileFile(data, "B01"), OPTIONS), read_band(TileFile(data, "B01"), OPTIONS))
    assert opened == files


def test_a_file_that_differs_in_anything_else_is_opened(opened: list[bytes]) -> None:
    read = BandReader()
    first = band(0)
    read(TileFile(first, "B01"), OPTIONS)
    for other in (band(1, crs="EPSG:32634"), band(1, names=["B01"]), band(1)[:-1] + b"!" + band(1)[-1:]):
        assert same(read(TileFile(other, "B01"), OPTIONS), read_band(TileFile(other, "B01"), OPTIONS))
        assert opened[-1] == other


def test_a_broken_file_is_refused_after_a_whole_one_of_its_layout() -> None:
    read = BandReader()
    read(TileFile(band(0), "B01"), OPTIONS)
    with pytest.raises(ImageryError, match="ends before"):
        read(TileFile(band(1)[:-40], "B01"), OPTIONS)


def test_real_patches_are_read_as_gdal_reads_them(shared_data: Path, opened: list[bytes]) -> None:
    read, files = BandReader(), sorted((shared_data / "bigearthnet").glob("v[12]/**/*_B*.tif*"))
    for file in files:
        data = TileFile(file.read_bytes(), "B01")
        assert same(read(data, OPTIONS), read_band(data, OPTIONS))
    assert len(files) > 200
    assert len(opened) < len(files) / 3
