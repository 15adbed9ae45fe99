"""Maps, read back by GDAL and looked at by rio-cogeo."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from rasterio.io import DatasetReader, MemoryFile
from rio_cogeo.cogeo import cog_validate

from service.formats import cog
from service.imagery.errors import ImageryError
from service.imagery.windows import cut
from tests.imagery import PLACE, UTM_33N

LEGEND = {"field": "#ffffa8", "town": "#e6004d", "lake": "#80f2e6", "Water (any)": "#b3f2f2"}
TRANSFORMS = {
    "north up": PLACE,
    "south up": Affine(10, 0, 404400, 0, 10, 5342400),
    "rotated": Affine.translation(404400, 5342400) @ Affine.rotation(30) @ Affine.scale(10, -10),
    "degrees": Affine(0.0001, 0, 13.7, 0, -0.00007, 48.3),
}


def record(window: tuple[int, int, int, int], transform: Affine = PLACE, **more: Any) -> dict[str, Any]:
    here = transform @ Affine.translation(*window[:2])
    told = {"field": window[0] / 1000, "town": window[1] / 1000, "lake": None}
    return {"window": window, "crs": UTM_33N, "transform": here[:6], "probabilities": told, "groups": {}, **more}


def written(records: list[dict[str, Any]], grid: cog.Grid, names: list[str] | None = None) -> bytes:
    file = io.BytesIO()
    cog.write(file, records, names or ["field", "town", "lake"], grid)
    return file.getvalue()


@contextmanager
def opened(data: bytes) -> Iterator[DatasetReader]:
    with MemoryFile(data) as file, file.open() as dataset:
        yield dataset


@pytest.mark.parametrize("transform", TRANSFORMS.values(), ids=TRANSFORMS)
def test_every_cell_lies_where_its_window_lies_in_the_source_to_the_pixel(transform: Affine) -> None:
    width, height = 480, 360
    records = [record(window, transform) for window in cut(width, height, 120)]
    grid = cog.Grid.of(records[5], width, height)
    with opened(written(records, grid)) as map_:
        assert (map_.crs.to_epsg(), map_.shape) == (32633, (3, 4))
        for one in records:
            column, row, *size = one["window"]
            y, x = grid.place(one["window"])
            for corner in [(0, 0), (1, 0), (0, 1), (1, 1)]:
                of_source = ~transform @ (map_.transform @ (x + corner[0], y + corner[1]))
                assert of_source == pytest.approx((column + corner[0] * size[0], row + corner[1] * size[1]), abs=1e-4)
            assert map_.read()[:, y, x].tolist() == [round(column / 4), round(row / 4), 255]


def test_windows_at_the_edge_are_shifted_inwards_and_their_cells_are_not() -> None:
    width, height = 250, 130
    grid = cog.Grid.of(record((130, 0, 120, 120)), width, height)
    assert (grid.columns, grid.rows) == (3, 2)
    places = [grid.place(window) for window in cut(width, height, 120)]
    assert places == [(row, column) for row in range(2) for column in range(3)]
    assert grid.transform @ (2, 1) == PLACE @ (240, 120)


@pytest.mark.parametrize(("width", "stride"), [(480, 60), (500, 50), (479, 100), (120, 60)])
def test_a_cell_is_the_middle_of_its_window_where_windows_overlap(width: int, stride: int) -> None:
    cut_so = cut(width, 300, 120, stride)
    grid = cog.Grid.of(record(cut_so[-1]), width, 300, stride)
    assert sorted({grid.place(window) for window in cut_so}) == [
        (row, column) for row in range(grid.rows) for column in range(grid.columns)
    ]
    size = 120 if width == 120 else stride
    for column, row, *_ in cut_so:
        if column % stride == 0 and row % stride == 0:
            y, x = grid.place((column, row, 120, 120))
            middle = ~PLACE @ (grid.transform @ (x + 0.5, y + 0.5))
            assert middle == pytest.approx((column + 60, row + 60), abs=1e-4)
            side = (grid.transform @ (x + 1, y))[0] - (grid.transform @ (x, y))[0]
            assert side == pytest.approx(10 * size)


def test_a_single_patch_is_one_cell_and_a_narrow_scene_has_narrow_cells() -> None:
    one = cog.Grid.of(record((0, 0, 150, 90)), 150, 90)
    assert (one.columns, one.rows, one.transform) == (1, 1, PLACE @ Affine.scale(150, 90))
    narrow = cog.Grid.of(record((0, 0, 50, 120)), 50, 400, 60)
    assert (narrow.columns, narrow.rows, narrow.step) == (1, 6, (50, 60))


def test_what_is_not_known_is_no_data_and_readers_get_probabilities() -> None:
    records = [record((0, 0, 120, 120), probabilities={"field": 0.3, "town": 1.0}, groups={"Water (any)": 0.5})]
    grid = cog.Grid.of(records[0], 360, 120)
    with opened(written(records, grid, list(LEGEND))) as map_:
        assert map_.descriptions == tuple(LEGEND)
        assert map_.nodata == 255
        values = map_.read(masked=True)[:, 0].astype(float) * np.reshape(map_.scales, (-1, 1))
        assert values[:, 0].tolist() == [pytest.approx(0.3), pytest.approx(1.0), None, pytest.approx(0.5)]
        assert values[:, 1:].mask.all()


def test_classes_are_the_likeliest_that_the_model_can_tell_in_their_colours() -> None:
    records = [
        record((0, 0, 120, 120), probabilities={"field": 0.3, "town": 0.4, "lake": None}, groups={"Water (any)": 0.2}),
        record(
            (120, 0, 120, 120), probabilities={"field": 0.3, "town": 0.4, "lake": None}, groups={"Water (any)": 0.9}
        ),
        record((240, 0, 120, 120), probabilities={"field": None, "town": None, "lake": None}),
    ]
    file = io.BytesIO()
    cog.write_classes(file, records, LEGEND, cog.Grid.of(records[0], 480, 120))
    with opened(file.getvalue()) as map_:
        assert map_.read(1).tolist() == [[1, 3, 255, 255]]
        table = map_.colormap(1)
        assert [table[i] for i in range(4)] == [
            (255, 255, 168, 255), (230, 0, 77, 255), (128, 242, 230, 255), (179, 242, 242, 255),
        ]  # fmt: skip
        classes = json.loads(map_.tags()["classes"])
        assert classes[1] == {"value": 1, "name": "town", "color_hint": "E6004D"}


def test_labels_may_be_more_than_a_byte_counts() -> None:
    names = [f"label {i}" for i in range(300)]
    one = record((0, 0, 120, 120), probabilities={"label 299": 0.5})
    file = io.BytesIO()
    cog.write_classes(file, [one], dict.fromkeys(names, "#123456"), cog.Grid.of(one, 240, 120))
    with opened(file.getvalue()) as map_:
        assert (map_.read(1).tolist(), map_.nodata) == ([[299, 65535]], 65535)


@pytest.mark.parametrize("labels", [1, 3, 4])
@pytest.mark.parametrize("side", [3, 600])
def test_rio_cogeo_finds_it_valid_without_a_warning(tmp_path: Path, labels: int, side: int) -> None:
    """Three bands of bytes could be taken for colours, the fourth for alpha; larger ones need overviews."""
    path, names = tmp_path / "map.tif", list(LEGEND)[:labels]
    told = {"field": 0.5, "town": 0.25, "lake": None}
    records = [record((120 * i, 120 * i, 120, 120), probabilities=told) for i in range(side)]
    grid = cog.Grid.of(records[0], 120 * side, 120 * side)
    cog.write(path, records, names, grid)
    assert cog_validate(path, strict=True) == (True, [], [])
    with rasterio.open(path) as map_:
        assert "alpha" not in [colour.name for colour in map_.colorinterp]
        assert (map_.overviews(1) != []) == (side > 512)
    cog.write_classes(path, records, LEGEND, grid)
    assert cog_validate(path, strict=True) == (True, [], [])
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("unknown", ["crs", "transform"])
def test_no_map_without_a_place_on_one(unknown: str) -> None:
    with pytest.raises(ImageryError) as error:
        cog.Grid.of({**record((0, 0, 120, 120)), unknown: None}, 120, 120)
    assert error.value.code == "no_georeference"
