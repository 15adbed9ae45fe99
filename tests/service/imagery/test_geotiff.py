from __future__ import annotations

from io import BytesIO

import numpy as np
import pytest
from PIL import Image
from rasterio.io import MemoryFile

from service.imagery.errors import ImageryError
from service.imagery.patches import InputSpec, ReadOptions, TileFile
from service.imagery.reader import read_tile
from tests.corpus.tiff import SHORT, Tag, image, tiff
from tests.imagery import PLACE, RGB, UTM_33N, codes, geotiff, read, reflectance, refused

RED = InputSpec(("B04",), 120, 10, 2000)


def test_all_bands_but_alpha_may_be_named_and_what_is_named_a_band_masks_nothing() -> None:
    values = np.full((4, 120, 120), 90, np.uint8)
    values[3, :40] = 0
    data = geotiff(values, photometric="RGB", alpha="YES")
    for said, share in (("rgb", 2 / 3), ("red,green,blue,alpha", 2 / 3), ("naip", 1)):
        (patch,) = read(data, bands=tuple(said.split(",")))
        assert patch.facts.valid_fraction == pytest.approx(share)


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
