from __future__ import annotations

import pytest

from service.imagery.bands import band_at_the_end, canonical, is_band


@pytest.mark.parametrize(
    ("name", "band"),
    [("B4", "B04"), ("b04", "B04"), (" Red ", "B04"), ("B8A", "B8A"), ("b8a", "B8A"), ("B12", "B12"), ("vv", "VV")],
)
def test_spellings_of_a_band_become_one(name: str, band: str) -> None:
    assert canonical(name) == band


@pytest.mark.parametrize(
    ("file", "found"),
    [
        ("S2A_MSIL2A_20170613T101031_87_48_B04.tif", ("S2A_MSIL2A_20170613T101031_87_48", "B04")),
        ("field-b8a.TIFF", ("field", "B8A")),
        ("B02.tif", ("", "B02")),
        ("S2A_MSIL2A_20170613T101031_87_48.tif", None),
        ("AB04.tif", None),
        ("patch_B13.tif", None),
        ("patch_B04.png", None),
    ],
)
def test_a_band_is_read_off_the_end_of_a_file_name(file: str, found: tuple[str, str] | None) -> None:
    assert band_at_the_end(file) == found


def test_sentinel_2_bands_and_those_of_the_model_are_bands() -> None:
    assert is_band("B01", ["B04"])
    assert is_band("nir", [])
    assert is_band("thermal", ["thermal"])
    assert not is_band("file", ["thermal"])
