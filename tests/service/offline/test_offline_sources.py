from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest

from service.offline.errors import OfflineError
from service.offline.sources import find

RGB = ("B04", "B03", "B02")


def make(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"12345")


def found(*said: Path | str) -> dict[str, tuple[str, list[tuple[str, str | None]]]]:
    """By source: its id, and names and bands of its files."""
    tiles = find(list(map(str, said)), RGB)
    return {tile.source: (tile.id, sorted((Path(file.place).name, file.band) for file in tile.files)) for tile in tiles}


def test_a_folder_is_searched_for_geotiffs_and_a_file_is_taken_as_it_is(tmp_path: Path) -> None:
    make(tmp_path, "in/a.tif", "in/deep/b.TIFF", "in/c.png", "d.bin")
    expected = {
        f"{tmp_path}/in/a.tif": ("a", [("a.tif", None)]),
        f"{tmp_path}/in/deep/b.TIFF": ("b", [("b.TIFF", None)]),
    }
    assert found(tmp_path / "in") == expected
    assert [*found(tmp_path / "d.bin")] == [f"{tmp_path}/d.bin"]
    assert [*found(tmp_path / "in/**/*.[tT]*", tmp_path / "in/a.tif")] == [*expected]  # each once


def test_a_glob_starts_where_the_command_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path, "in/a.tif", "in/b.tif", "other.tif")
    monkeypatch.chdir(tmp_path)
    assert [*found("in/*.tif")] == [f"{tmp_path}/in/a.tif", f"{tmp_path}/in/b.tif"]
    with pytest.raises(OfflineError, match="leads to no GeoTIFF"):
        find(["in/*.jp2"], RGB)
    with suppress(OfflineError):  # which tells of a glob that Python does not know before 3.13
        assert len(find(["in/**.tif"], RGB)) == 2


def test_band_files_are_one_tile_by_what_their_names_begin_with_or_by_their_folder(tmp_path: Path) -> None:
    bands = ("B02", "B03", "B04", "B8A")
    make(tmp_path, *(f"ben/S2A_1_2/S2A_1_2_{band}.tif" for band in bands), *(f"199U/{band}.tif" for band in bands))
    rgb = bands[:3]
    assert found(tmp_path) == {
        f"{tmp_path}/199U": ("199U", [(f"{band}.tif", band) for band in rgb]),
        f"{tmp_path}/ben/S2A_1_2/S2A_1_2": ("S2A_1_2", [(f"S2A_1_2_{band}.tif", band) for band in rgb]),
    }


def test_a_tile_without_a_band_that_is_read_is_kept_to_be_told_so(tmp_path: Path) -> None:
    make(tmp_path, "x_B8A.tif")
    assert found(tmp_path) == {f"{tmp_path}/x": ("x", [("x_B8A.tif", "B8A")])}
