from __future__ import annotations

from io import BytesIO

import numpy as np
import pytest
from affine import Affine
from PIL import Image

from service.imagery.errors import ImageryError
from service.imagery.patches import InputSpec, ReadOptions, TileFile
from service.imagery.reader import read_tile
from tests.imagery import PLACE, RGB, codes, geotiff, read, reflectance


def test_band_files_make_one_tile_and_coarser_ones_are_resampled() -> None:
    values = reflectance()
    coarse = geotiff(values[2:, ::2, ::2], transform=Affine(20, 0, PLACE.c, 0, -20, PLACE.f))
    files = [TileFile(geotiff(values[:1]), "B04"), TileFile(coarse, "B02"), TileFile(geotiff(values[1:2]), "b3")]
    (patch,) = read_tile(files, RGB, ReadOptions())
    (expected,) = read(geotiff(values))
    assert np.array_equal(patch.pixels[..., :2], expected.pixels[..., :2])
    assert patch.pixels.shape == (120, 120, 3)
    assert "bands_resampled" in codes(patch)
    assert "bands_resampled" not in codes(expected)
    same, smoother = expected.pixels[..., 2].ravel(), patch.pixels[..., 2].ravel()
    assert np.corrcoef(same, smoother)[0, 1] > 0.97


def test_a_hole_in_a_coarser_band_spoils_no_valid_pixel() -> None:
    fine = np.full((1, 120, 120), 1000, np.uint16)
    coarse = np.full((1, 60, 60), 1000, np.uint16)
    coarse[0, 20:25, 20:25] = 65535
    twice = Affine(20, 0, PLACE.c, 0, -20, PLACE.f)
    floats = np.where(coarse == 65535, np.nan, coarse / 10_000).astype(np.float32)
    for whole, holed in ((fine, coarse), ((fine / 10_000).astype(np.float32), floats)):
        files = [TileFile(geotiff(whole), "B04"), TileFile(geotiff(whole), "B03")]
        files.append(TileFile(geotiff(holed, transform=twice, nodata=None if holed is floats else 65535), "B02"))
        (patch,) = read_tile(files, RGB, ReadOptions())
        assert not patch.valid[40:50, 40:50].any()
        assert 0.97 < patch.facts.valid_fraction < 1
        assert np.abs(patch.pixels[patch.valid].astype(int) - 127).max() <= 1


@pytest.mark.parametrize("step", [2, 3, 6])
def test_what_lies_in_a_hole_of_a_coarser_band_moves_no_valid_pixel(step: int) -> None:
    fine = geotiff(reflectance(bands=1))
    coarse = np.random.default_rng(0).integers(1, 2000, (1, 120 // step, 120 // step)).astype(np.uint16)
    is_hole = np.random.default_rng(1).random(coarse.shape) < 0.01
    is_hole[:, 10, 10] = True
    patches = []
    for in_holes in (coarse, np.uint16(0)):
        values = np.where(is_hole, in_holes, coarse)
        data = geotiff(values, transform=Affine(10 * step, 0, PLACE.c, 0, -10 * step, PLACE.f), nodata=0)
        patches += read_tile([TileFile(fine, "B04"), TileFile(fine, "B03"), TileFile(data, "B02")], RGB, ReadOptions())
    whole, holed = patches
    assert whole.valid.all()
    assert 0.1 < holed.valid.mean() < 1
    assert np.array_equal(whole.pixels[holed.valid], holed.pixels[holed.valid])


def test_band_files_of_different_types_are_refused() -> None:
    values = reflectance()
    files = [TileFile(geotiff(values[i : i + 1].astype(dtype)), band) for i, (band, dtype) in enumerate(
        [("B04", np.uint8), ("B03", np.uint16), ("B02", np.uint16)]
    )]  # fmt: skip
    with pytest.raises(ImageryError) as error:
        read_tile(files, RGB, ReadOptions())
    assert error.value.code == "scale_ambiguous"


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"B03": None}, "band_count"),
        ({"B03": geotiff(reflectance(bands=2))}, "band_count"),
        ({"B03": geotiff(reflectance(bands=1), transform=PLACE @ Affine.translation(5, 0))}, "bands_misaligned"),
        ({"B03": geotiff(reflectance(bands=1), crs="EPSG:32632")}, "bands_misaligned"),
    ],
)
def test_band_files_that_do_not_belong_together_are_refused(change: dict[str, bytes | None], code: str) -> None:
    files = {band: geotiff(reflectance(bands=1)) for band in RGB.bands} | change
    with pytest.raises(ImageryError) as error:
        read_tile([TileFile(data, band) for band, data in files.items() if data], RGB, ReadOptions())
    assert error.value.code == code


def test_a_form_of_three_resolutions_has_the_pixels_of_the_finest() -> None:
    values = reflectance()
    spec = InputSpec(("B02", "B05", "B01"), 120, 10, 2000)
    files = [
        TileFile(
            geotiff(values[:1, ::step, ::step], transform=Affine(10 * step, 0, PLACE.c, 0, -10 * step, PLACE.f)), band
        )
        for band, step in (("B01", 6), ("B02", 1), ("B05", 2))
    ]
    (patch,) = read_tile(files, spec, ReadOptions())
    assert patch.pixels.shape == (120, 120, 3)
    assert np.array_equal(patch.pixels[..., 0], read(geotiff(values))[0].pixels[..., 0])
    assert patch.valid.all()
    (caution,) = [warning for warning in patch.facts.warnings if warning.code == "bands_resampled"]
    assert caution.message.startswith("2 of 3 bands")


def test_what_is_odd_about_any_band_file_is_said() -> None:
    pages = BytesIO()
    first, second = (Image.fromarray(np.full((120, 120), grey, np.uint16)) for grey in (500, 900))
    first.save(pages, "TIFF", save_all=True, append_images=[second])
    plain = geotiff(reflectance(bands=1), crs=None, transform=None)
    files = [TileFile(plain, "B04"), TileFile(plain, "B03"), TileFile(pages.getvalue(), "B02")]
    assert codes(read_tile(files, RGB, ReadOptions())[0]).count("first_image_only") == 1
