from __future__ import annotations

import json
from io import BytesIO

import numpy as np
import pytest
from affine import Affine
from PIL import Image
from rasterio.io import MemoryFile

from service.imagery.band_order import ORDERS
from service.imagery.bands import band_at_the_end, canonical, is_band
from service.imagery.errors import ImageryError
from service.imagery.patches import InputSpec, ReadOptions, TileFile
from service.imagery.reader import read_tile
from tests.corpus.tiff import SHORT, Tag, image, tiff
from tests.imagery import PLACE, RGB, UTM_33N, codes, geotiff, read, reflectance, refused

RED = InputSpec(("B04",), 120, 10, 2000)
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


def test_all_bands_but_alpha_may_be_named_and_what_is_named_a_band_masks_nothing() -> None:
    values = np.full((4, 120, 120), 90, np.uint8)
    values[3, :40] = 0
    data = geotiff(values, photometric="RGB", alpha="YES")
    for said, share in (("rgb", 2 / 3), ("red,green,blue,alpha", 2 / 3), ("naip", 1)):
        (patch,) = read(data, bands=tuple(said.split(",")))
        assert patch.facts.valid_fraction == pytest.approx(share)


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


@pytest.mark.filterwarnings("ignore::rasterio.errors.NodataShadowWarning")
@pytest.mark.parametrize("names", [("ndvi", "B04", "B03", "B02"), ("B08", "red", "green", "blue")])
def test_a_fourth_band_of_8_bits_that_has_a_name_masks_nothing(names: tuple[str, ...]) -> None:
    values = (reflectance(bands=4) // 10).astype(np.uint8)
    values[3, :40] = 0
    for order in ([0, 1, 2, 3], [1, 2, 3, 0]):
        (patch,) = read(geotiff(values[order], names=[names[i] for i in order]))
        assert np.array_equal(patch.pixels, values[1:].transpose(1, 2, 0))
        assert patch.valid.all()
        (holed,) = read(geotiff(values[order], names=[names[i] for i in order], nodata=0))
        assert not holed.valid[:40].any()
        assert holed.valid[40:].all()


@pytest.mark.parametrize("name", ["", "alpha", "A", "Band 4", "dataMask"])
def test_a_fourth_band_of_8_bits_that_is_called_a_mask_is_one(name: str) -> None:
    values = np.full((4, 120, 120), 90, np.uint8)
    values[3, :40] = 0
    rest = [f"Band {i}" for i in (1, 2, 3)] if name == "Band 4" else ["red", "green", "blue"]
    (patch,) = read(geotiff(values, names=[*rest, name]))
    assert patch.facts.valid_fraction == pytest.approx(2 / 3)
    (said,) = read(geotiff(values, names=["red", "green", "blue", "nir"]), bands=("red", "green", "blue", "alpha"))
    assert said.facts.valid_fraction == pytest.approx(2 / 3)


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


def test_of_a_file_with_a_page_for_each_band_it_is_said_that_the_first_is_all_that_is_read() -> None:
    pages = BytesIO()
    first, *others = (Image.fromarray(np.full((120, 120), grey, np.uint16)) for grey in (500, 900, 400))
    first.save(pages, "TIFF", save_all=True, append_images=others)
    with pytest.raises(ImageryError, match="first of its 3 images") as error:
        read(pages.getvalue())
    assert error.value.code == "band_count"


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


@pytest.mark.parametrize("photometric", [0, 3, 4, 8, 9, 10, 32803, 32844, 32845])
@pytest.mark.parametrize("bits", [8, 16])
def test_samples_that_are_neither_bands_nor_colours_are_refused(photometric: int, bits: int) -> None:
    colours = {"t320": Tag(SHORT, [7] * (3 << bits))} if photometric == 3 else {}
    page = image(bits=(bits,) * 3, photometric=photometric, **colours)
    assert refused(tiff(page)) == "unsupported_dtype"
    if photometric != 3:
        with pytest.raises(ImageryError) as error:
            read_tile(
                [TileFile(tiff(image(bands=1, bits=(bits,), photometric=photometric)), "B04")], RED, ReadOptions()
            )
        assert error.value.code == "unsupported_dtype"


@pytest.mark.parametrize("bits", [1, 4, 8])
@pytest.mark.parametrize("photometric", ["MINISWHITE", "MINISBLACK"])
def test_a_drawing_of_few_bits_is_not_taken_for_a_palette(bits: int, photometric: str) -> None:
    drawing = geotiff(np.ones((1, 120, 120), np.uint8), NBITS=bits, photometric=photometric)
    expected = "band_count" if (bits, photometric) == (8, "MINISBLACK") else "unsupported_dtype"
    assert refused(drawing) == expected


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
