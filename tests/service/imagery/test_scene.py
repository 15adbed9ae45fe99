from __future__ import annotations

from dataclasses import replace
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
from affine import Affine

from service.imagery.errors import ImageryError
from service.imagery.patches import Patch, ReadOptions, TileFile
from service.imagery.reader import read_tile
from service.imagery.scene import read_window
from service.imagery.tiff.kept import Kept
from service.imagery.tiff.mapped import _Reading, mapped
from tests.imagery import PLACE, RGB, geotiff, reflectance

SCENE = reflectance(600)
SCENE[:, 100:130, 200:330] = 0


def save(folder: Path, **options: object) -> list[TileFile]:
    (folder / "scene.tif").write_bytes(geotiff(SCENE, nodata=0, **options))
    return [TileFile(mapped(folder / "scene.tif"))]


def cropped(column: int, row: int, width: int, height: int, **options: object) -> list[Patch]:
    """Of a file with this part of the scene alone."""
    values = SCENE[:, row : row + height, column : column + width]
    place = PLACE @ Affine.translation(column, row)
    return read_tile([TileFile(geotiff(values, nodata=0, transform=place, **options))], RGB, ReadOptions())


@pytest.mark.parametrize("layout", [{}, {"tiled": True, "compress": "deflate"}, {"interleave": "band"}])
@pytest.mark.parametrize("window", [(0, 0, 120, 120), (210, 95, 120, 120), (480, 480, 120, 120), (0, 120, 600, 120)])
def test_a_window_gives_the_patches_of_a_file_with_its_pixels_alone(
    tmp_path: Path, layout: dict[str, object], window: tuple[int, int, int, int]
) -> None:
    patches = read_window(save(tmp_path, **layout), RGB, ReadOptions(window=window))
    expected = cropped(*window)
    assert len(patches) == len(expected) == window[2] // 120
    for one, other in zip(patches, expected, strict=True):
        assert np.array_equal(one.pixels, other.pixels) and np.array_equal(one.valid, other.valid)
        assert (one.facts.footprint, one.facts.transform) == (other.facts.footprint, other.facts.transform)
        assert one.facts.warnings == other.facts.warnings
        x, y, width, height = other.facts.window
        assert one.facts.window == (x + window[0], y + window[1], width, height)


def test_rows_of_windows_are_the_patches_of_the_whole(tmp_path: Path) -> None:
    scene = save(tmp_path)
    rows = [read_window(scene, RGB, ReadOptions(window=(0, row, 600, 120))) for row in range(0, 600, 120)]
    whole = read_tile([TileFile(bytes(scene[0].data))], RGB, ReadOptions())
    for one, other in zip([patch for row in rows for patch in row], whole, strict=True):
        assert np.array_equal(one.pixels, other.pixels)
        assert one.facts == other.facts


@pytest.mark.parametrize("layout", [{"tiled": True, "compress": "deflate"}, {"interleave": "band"}])
def test_a_file_that_is_kept_open_gives_the_same_and_blocks_that_windows_share_are_read_once(
    tmp_path: Path, layout: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    (once,) = save(tmp_path, **layout)
    rows = [ReadOptions(window=(0, row, 600, 120)) for row in range(0, 600, 120)]
    expected = [read_window([once], RGB, row) for row in rows]
    reads, kept = list[int](), replace(once, kept=Kept())
    really = _Reading.readinto

    def counting(self: _Reading, buffer: memoryview) -> int:
        reads.append(self.tell())
        return really(self, buffer)

    monkeypatch.setattr(_Reading, "readinto", counting)
    found = [read_window([kept], RGB, row) for row in rows]
    for one, other in zip(chain(*found), chain(*expected), strict=True):
        assert np.array_equal(one.pixels, other.pixels) and one.facts == other.facts
    assert reads
    reads.clear()
    read_window([kept], RGB, ReadOptions(window=(0, 60, 600, 500)))
    assert not reads


@pytest.mark.parametrize("window", [(-1, 0, 120, 120), (0, 481, 120, 120), (481, 0, 120, 120)])
def test_a_window_outside_the_scene_is_refused(tmp_path: Path, window: tuple[int, int, int, int]) -> None:
    with pytest.raises(ImageryError) as error:
        read_window(save(tmp_path), RGB, ReadOptions(window=window))
    assert error.value.code == "bad_option"


def test_a_scene_without_a_place_has_none_in_its_windows(tmp_path: Path) -> None:
    scene = save(tmp_path, transform=None)
    (patch,) = read_window(scene, RGB, ReadOptions(window=(120, 120, 120, 120)))
    assert (patch.facts.footprint, patch.facts.transform) == (None, None)


def test_nothing_beside_a_mapped_file_is_read(tmp_path: Path) -> None:
    scene = save(tmp_path)
    (tmp_path / "scene.tif.msk").write_bytes(geotiff(np.zeros((1, 600, 600), np.uint8)))
    (patch,) = read_window(scene, RGB, ReadOptions(window=(0, 0, 120, 120)))
    assert patch.facts.valid_fraction == 1
