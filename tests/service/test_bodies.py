from __future__ import annotations

from service.bodies.form import Part, by_tile

BANDS = ("B04", "B03", "B02")


def shape(parts: list[Part], bands: tuple[str, ...] = BANDS) -> list[tuple[str, list[str | None]]]:
    return [(tile.id, [file.band for file in tile.files]) for tile in by_tile(parts, bands)]


def test_band_files_of_one_patch_are_one_tile() -> None:
    parts = [Part("file", f"S2A_1_2_{band}.tif", b"") for band in ("B02", "B03", "B8A")]
    assert shape(parts) == [("S2A_1_2", ["B02", "B03", "B8A"])]


def test_fields_named_like_bands_are_one_tile() -> None:
    parts = [Part(band, f"{i}.tif", b"") for i, band in enumerate(("B4", "green", "B02"))]
    assert shape(parts) == [("0", ["B04", "B03", "B02"])]


def test_band_files_of_two_patches_are_two_tiles() -> None:
    parts = [Part("f", f"{patch}_{band}.tif", b"") for band in ("B02", "B03") for patch in ("a", "b")]
    assert shape(parts) == [("a", ["B02", "B03"]), ("b", ["B02", "B03"])]


def test_other_files_are_tiles_of_their_own_even_under_the_same_name() -> None:
    parts = [Part("f", "x.tif", b""), Part("f", "folder/x.tif", b""), Part("f", "", b"")]
    assert shape(parts) == [("x", [None]), ("x", [None]), ("2", [None])]


def test_bands_of_the_model_are_known_too() -> None:
    assert shape([Part("thermal", "1.tif", b"")], ("thermal",)) == [("0", ["THERMAL"])]
