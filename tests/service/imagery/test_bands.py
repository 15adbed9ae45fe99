from __future__ import annotations

from io import BytesIO

import numpy as np
import pytest
from PIL import Image
from rasterio.io import MemoryFile

from service.imagery.bands import band_at_the_end, canonical, is_band
from service.imagery.errors import ImageryError
from service.imagery.patches import ReadOptions, TileFile
from service.imagery.reader import read_tile
from tests.imagery import PLACE, RGB, UTM_33N, codes, geotiff, read, reflectance, refused


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


@pytest.mark.parametrize("names", [["B02", "B03", "B04"], ["blue", "green", "red"], ["B2", "b3", "B04"]])
def test_named_bands_are_put_in_the_models_order(names: list[str]) -> None:
    values = reflectance()
    (patch,) = read(geotiff(values, names=names))
    (expected,) = read(geotiff(values[::-1]))
    assert np.array_equal(patch.pixels, expected.pixels)
    assert "band_order_assumed" not in codes(patch)


def test_three_bands_without_names_are_taken_in_order_with_a_warning() -> None:
    (patch,) = read(geotiff(reflectance()))
    assert "band_order_assumed" in codes(patch)


@pytest.mark.parametrize("names", [["B08", "B04", "B03"], ["nir", "red", "green"]])
@pytest.mark.parametrize("photometric", ["RGB", "MINISBLACK"])
def test_bands_that_are_said_to_be_others_are_not_taken_for_the_models(names: list[str], photometric: str) -> None:
    assert refused(geotiff(reflectance(), names=names, photometric=photometric)) == "band_mapping_required"


def test_bands_of_unknown_names_are_taken_in_order_with_a_warning_that_quotes_them() -> None:
    (patch,) = read(geotiff(reflectance(), names=["one", "two", "three"]))
    assert [w.message for w in patch.facts.warnings] == [
        "The file calls its bands one, two, three; taken as B04, B03, B02 in this order."
    ]


def test_a_band_name_that_is_no_utf_8_is_no_name() -> None:
    data = geotiff(reflectance(), names=["XXX", "", ""]).replace(b"XXX", b"\xe4\xf6\xfc")
    assert codes(read(data)[0]) == ["band_order_assumed"]


def test_a_palette_is_read_as_the_colours_it_stands_for() -> None:
    indices = np.kron([[0, 1], [2, 3]], np.ones((60, 60), int)).astype(np.uint8)[None]
    with MemoryFile() as file:
        with file.open(
            driver="GTiff", width=120, height=120, count=1, dtype="uint8", crs=UTM_33N, transform=PLACE
        ) as dataset:
            dataset.write(indices)
            dataset.write_colormap(1, {0: (9, 8, 7), 1: (200, 100, 50), 2: (0, 0, 0), 3: (1, 2, 3)})
        data = bytes(file.read())
    (patch,) = read(data)
    assert patch.pixels[0, [0, 119]].tolist() == [[9, 8, 7], [200, 100, 50]]
    assert patch.facts.radiometry.divisor is None
    assert codes(patch) == []
    with pytest.raises(ImageryError) as error:
        read_tile([TileFile(data, band) for band in RGB.bands], RGB, ReadOptions())
    assert error.value.code == "unsupported_dtype"


def test_of_several_images_in_a_file_the_first_is_read_with_a_warning() -> None:
    pages = BytesIO()
    first, second = (Image.fromarray(np.full((120, 120, 3), grey, np.uint8)) for grey in (50, 90))
    first.save(pages, "TIFF", save_all=True, append_images=[second])
    (patch,) = read(pages.getvalue())
    assert (patch.pixels == 50).all()
    assert "first_image_only" in codes(patch)


def test_what_the_caller_says_of_bands_counts_and_what_the_model_does_not_use_is_dropped() -> None:
    values = reflectance(bands=4)
    (patch,) = read(geotiff(values), bands=("B02", "B03", "B04", "B08"))
    (expected,) = read(geotiff(values[[2, 1, 0]]))
    assert np.array_equal(patch.pixels, expected.pixels)


def test_bands_that_cannot_be_told_are_refused() -> None:
    assert refused(geotiff(reflectance(bands=1))) == "band_count"
    assert refused(geotiff(reflectance(bands=2))) == "band_count"
    assert refused(geotiff(reflectance(bands=4))) == "band_mapping_required"
    assert refused(geotiff(reflectance(bands=13))) == "band_mapping_required"
    assert refused(geotiff(reflectance(), names=["B04", "B04", "B02"])) == "duplicate_bands"
    assert refused(geotiff(reflectance()), bands=("B04", "B03")) == "band_count"
    assert refused(geotiff(reflectance()), bands=("B04", "B03", "B01")) == "band_mapping_required"
