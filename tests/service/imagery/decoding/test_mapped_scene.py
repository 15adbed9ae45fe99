"""A scene too large to send is mapped by the processes, and windows of it are decoded."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from affine import Affine

from service.imagery.decoding.fork_server import PoolBroken
from service.imagery.errors import ImageryError
from service.imagery.patches import ReadOptions, TileFile
from service.imagery.reader import read_tile
from service.imagery.resize import resize
from tests.imagery import PLACE, RGB, geotiff, reflectance
from tests.service.imagery.decoding.conftest import GOOD, SIDE, Running, running
from tests.service.imagery.decoding.test_sandbox import limits_of

VALUES = reflectance(4000)


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A pool with a scene of 96 MB, whose processes have 400 MiB and as much as it takes."""
    file = tmp_path_factory.mktemp("scene") / "scene.tif"
    file.write_bytes(geotiff(VALUES, tiled=True))
    with running(2, memory_mb=400, scene=[(file, None)]) as made:
        file.unlink()  # what is mapped stays
        yield made


def test_windows_of_a_scene_are_the_patches_of_files_with_their_pixels(scene: Running) -> None:
    windows = [(column, row, 120, 120) for column in (0, 1961, 3880) for row in (0, 1003, 3880)]

    async def decode() -> list[object]:
        return await asyncio.gather(*(scene.pool.decode_window(window, ReadOptions()) for window in windows))

    for window, tile in zip(windows, scene.run(decode()), strict=True):
        column, row, width, height = window
        values = VALUES[:, row : row + height, column : column + width]
        alone = geotiff(values, transform=PLACE @ Affine.translation(column, row))
        (patch,) = read_tile([TileFile(alone)], RGB, ReadOptions())
        (facts,) = tile.facts
        assert np.array_equal(tile.images, [resize(patch.pixels, SIDE)])
        assert facts.window == window
        assert (facts.footprint, facts.warnings) == (patch.facts.footprint, patch.facts.warnings)


def test_the_processes_open_no_more_than_others_and_have_memory_for_the_scene_on_top(scene: Running) -> None:
    size = len(geotiff(VALUES, tiled=True))
    for process in scene.processes:
        assert limits_of(process)["Max open files"] == ("0", "0")
        assert limits_of(process)["Max address space"] == (str(400 * 2**20 + size),) * 2


def test_a_window_outside_the_scene_is_refused_and_tiles_can_be_sent_too(scene: Running) -> None:
    with pytest.raises(ImageryError) as error:
        scene.run(scene.pool.decode_window((3900, 0, 120, 120), ReadOptions()))
    assert error.value.code == "bad_option"
    assert len(scene.decode(GOOD).facts) == 1


def test_a_scene_that_is_not_there_stops_the_start(tmp_path: Path) -> None:
    with pytest.raises(PoolBroken), running(1, scene=[(tmp_path / "nothing.tif", None)]):
        pass
