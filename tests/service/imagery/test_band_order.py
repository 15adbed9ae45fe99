from __future__ import annotations

import json

import numpy as np
import pytest
from affine import Affine
from rasterio.io import MemoryFile

from service.imagery.band_order import ORDERS
from service.imagery.errors import ImageryError
from service.imagery.patches import InputSpec
from tests.imagery import PLACE, RGB, codes, geotiff, read, reflectance, refused


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


def test_three_bands_without_names_are_red_green_and_blue_in_whatever_order_the_model_reads() -> None:
    values = reflectance()
    (patch,) = read(geotiff(values), InputSpec(("B02", "B03", "B04"), 120, 10, 2000))
    (expected,) = read(geotiff(values))
    assert np.array_equal(patch.pixels, expected.pixels[..., ::-1])
    assert "band_order_assumed" in codes(patch)


def test_bands_are_found_by_the_files_metadata() -> None:
    values = reflectance(bands=4)
    (expected,) = read(geotiff(values[[2, 1, 0]], names=RGB.bands))
    names = ["blue", "green", "red", "nir"]
    items = [{"common_name": name, "name": f"B{i}"} for i, name in enumerate(names)]
    for data in (
        geotiff(values, band_tags=items),
        geotiff(values, tags={"eo:bands": json.dumps(items)}),
        geotiff(values, band_tags=[{"band_name": name} for name in ("B02", "B03", "B04", "B08")]),
    ):
        (patch,) = read(data)
        assert np.array_equal(patch.pixels, expected.pixels)
        assert codes(patch) == []


def test_what_names_a_band_first_is_its_description_then_its_tag_then_its_colour() -> None:
    values = np.stack([np.full((120, 120), value, np.uint8) for value in (50, 90, 130)])
    items = [{"common_name": name} for name in ("blue", "red", "green")]
    with MemoryFile(geotiff(values, band_tags=items)) as file, file.open() as dataset:
        assert [colour.name for colour in dataset.colorinterp] == ["red", "green", "blue"]
    assert read(geotiff(values, band_tags=items))[0].pixels[0, 0].tolist() == [90, 130, 50]
    assert read(geotiff(values, names=["B03", "B02", "B04"]))[0].pixels[0, 0].tolist() == [130, 50, 90]


def test_a_file_whose_tags_name_other_bands_is_refused() -> None:
    data = geotiff(reflectance(), band_tags=[{"common_name": name} for name in ("nir", "red", "green")])
    assert refused(data) == "band_mapping_required"


def test_an_image_of_other_colours_is_not_taken_for_the_models_bands() -> None:
    data = geotiff(np.full((3, 120, 120), 90, np.uint8), photometric="RGB")
    infrared = InputSpec(("B08", "B04", "B03"), 120, 10, 2000)
    with pytest.raises(ImageryError) as error:
        read(data, infrared)
    assert error.value.code == "band_mapping_required"
    assert codes(read(data, infrared, bands=("cir",))[0]) == []


@pytest.mark.parametrize("name", ["SR_B{}", "LC08_L2SP_190027_20200613_SR_B{}", "B1{}0", "TOA B{}"])
def test_another_sensors_band_numbers_are_not_guessed_at(name: str) -> None:
    assert refused(geotiff(reflectance(), names=[name.format(i) for i in (4, 3, 2)])) == "band_mapping_required"


@pytest.mark.parametrize(("metres", "warned"), [(10, False), (20, False), (30, True)])
def test_band_numbers_on_landsats_pixels_are_warned_of(metres: int, warned: bool) -> None:
    place = Affine(metres, 0, PLACE.c, 0, -metres, PLACE.f)
    for names, is_numbered in ((["B4", "B3", "B2"], True), (["red", "green", "blue"], False)):
        (patch,) = read(geotiff(reflectance(), names=names, transform=place))
        assert ("band_numbers_assumed" in codes(patch)) is (warned and is_numbered)


def test_numbers_that_may_only_count_the_bands_are_warned_of() -> None:
    for names, warned in ((["b1", "b2", "b3", "b4"], True), (["B4", "B3", "B2", "B8"], False)):
        (patch,) = read(geotiff(reflectance(bands=4), names=names))
        assert ("band_numbers_assumed" in codes(patch)) is warned


def test_a_usual_order_can_be_said_by_its_name() -> None:
    values = reflectance(bands=13)
    twelve = InputSpec(ORDERS["sentinel-2-l2a"], 120, 10, 2000)
    for name, order in ORDERS.items():
        said = values[: len(order)]
        spec = twelve if set(twelve.bands) <= set(order) else RGB
        if set(spec.bands) <= set(order):
            (patch,) = read(geotiff(said), spec, bands=(name,))
            (expected,) = read(geotiff(said), spec, bands=order)
            assert np.array_equal(patch.pixels, expected.pixels)
            assert codes(patch) == []
    assert len(ORDERS["sentinel-2-l1c"]) == len(ORDERS["eurosat"]) == 13
    assert len(ORDERS["sentinel-2-l2a"]) == 12


def test_a_refusal_suggests_the_orders_that_fit() -> None:
    with pytest.raises(ImageryError, match="bands=sentinel-2-l1c and bands=eurosat"):
        read(geotiff(reflectance(bands=13)))
    with pytest.raises(ImageryError, match="bands=rgbnir and bands=naip and bands=bgrnir"):
        read(geotiff(reflectance(bands=4)))


def test_what_a_file_calls_its_bands_is_quoted_in_short() -> None:
    with pytest.raises(ImageryError) as error:
        read(geotiff(reflectance(), names=["x" * 5000, "y" * 5000, "z" * 5000]))
    assert len(error.value.detail) < 300


@pytest.mark.parametrize("names", [["B08", "B04", "B03"], ["nir", "red", "green"]])
@pytest.mark.parametrize("photometric", ["RGB", "MINISBLACK"])
def test_bands_that_are_said_to_be_others_are_not_taken_for_the_models(names: list[str], photometric: str) -> None:
    assert refused(geotiff(reflectance(), names=names, photometric=photometric)) == "band_mapping_required"


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize(
    "names",
    [
        ("one", "two", "three"),
        ("sr_blue", "sr_green", "sr_red"),
        ("SR_B2", "SR_B3", "SR_B4"),
        ("Near Infrared", "Red band", "Green band"),
        ("NDVI", "NDWI", "NBR"),
        ("VV", "VH", "VV/VH"),
        ("Band 4", "Band 3", "Band 2"),
        ("R", "G", "NDVI"),
        ("NDVI", "", ""),
    ],
)
def test_bands_of_unknown_names_are_taken_for_no_colours_whatever_gdal_makes_of_8_bits(
    dtype: type, names: tuple[str, ...]
) -> None:
    values = (reflectance() // 10).astype(dtype)
    with pytest.raises(ImageryError, match=names[0]) as error:
        read(geotiff(values, names=names))
    assert error.value.code == "band_mapping_required"
    by_tag = geotiff(values, band_tags=[{"name": name} if name else {} for name in names])
    assert refused(by_tag) == "band_mapping_required"


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_names_that_only_count_the_bands_are_none(dtype: type) -> None:
    values = (reflectance() // 10).astype(dtype)
    (expected,) = read(geotiff(values))
    for names in (("Band 1", "Band 2", "Band 3"), ("band_0", "band_1", "band_2"), ("1", "2", "3"), ("", "Layer 2", "")):
        (patch,) = read(geotiff(values, names=names))
        assert np.array_equal(patch.pixels, expected.pixels)
        assert codes(patch) == codes(expected)


@pytest.mark.parametrize("names", [("b", "G", "R"), ("vis-blue", "vis-green", "vis-red"), ("N", "B", "G", "R")])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_letters_name_the_bands_where_each_has_one(names: tuple[str, ...], dtype: type) -> None:
    values = (reflectance(bands=len(names)) // 10).astype(dtype)
    (patch,) = read(geotiff(values, names=names))
    (expected,) = read(geotiff(values[:-4:-1], names=RGB.bands))
    assert np.array_equal(patch.pixels, expected.pixels)
    assert codes(patch) == codes(expected)


@pytest.mark.parametrize(
    ("names", "is_placed", "warned"),
    [
        (["B1", "B2", "B3", "B4", "B5", "B7"], True, True),
        (["B1", "B2", "B3", "B4", "B5", "B7"], False, True),
        (["B2", "B3", "B4", "B5", "B6", "B7"], False, True),
        (["B2", "B3", "B4", "B8"], False, False),
        (["B4", "B3", "B2"], False, False),
        ([*ORDERS["sentinel-2-l2a"]], False, False),
        (["nir", "red", "green", "blue"], False, False),
    ],
)
def test_band_numbers_that_may_be_another_sensors_are_warned_of(
    names: list[str], is_placed: bool, warned: bool
) -> None:
    place = {} if is_placed else {"crs": None, "transform": None}
    (patch,) = read(geotiff(reflectance(bands=len(names)), names=names, **place))
    assert ("band_numbers_assumed" in codes(patch)) is warned


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
