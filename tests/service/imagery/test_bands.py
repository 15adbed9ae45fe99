from __future__ import annotations

import pytest

from service.imagery.bands import band_at_the_end, canonical, is_band

LANDSAT = "LC08_L2SP_190027_20200613_SR_B4"


@pytest.mark.parametrize(
    ("name", "band"),
    [
        *(
            ("B4", "B04"),
            ("b04", "B04"),
            (" Red ", "B04"),
            ("B8A", "B8A"),
            ("b8a", "B8A"),
            ("B12", "B12"),
            ("vv", "VV"),
        ),
        *(("nir08", "B8A"), ("rededge075", "B06"), ("swir22", "B12"), ("rededge", "REDEDGE")),
        *(("B4, central wavelength 665 nm", "B04"), ("T33UUP_20200613T101031_B8A_20m", "B8A")),
        *(("S2A_MSIL2A_20170613T101031_87_48_B04", "B04"), ("SR_B4", "SR_B4"), (LANDSAT, LANDSAT)),
    ],
)
def test_spellings_of_a_band_become_one(name: str, band: str) -> None:
    assert canonical(name) == band


@pytest.mark.parametrize(
    ("file", "found"),
    [
        ("S2A_MSIL2A_20170613T101031_87_48_B04.tif", ("S2A_MSIL2A_20170613T101031_87_48", "B04")),
        ("field-b8a.TIFF", ("field", "B8A")),
        ("B02.tif", ("", "B02")),
        ("T33UUP_20200613T101031_B05_20m.tif", ("T33UUP_20200613T101031", "B05")),
        ("LE07_L1TP_190027_20200613_B4.TIF", None),
        ("from/LC08_L2SP_190027_20200613_SR_B5.TIF", None),
        ("HLS.L30.T33UUP.2020165T095031.v2.0.B05.tif", None),
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
