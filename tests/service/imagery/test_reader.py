from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from service.imagery.patches import InputSpec, ReadOptions, TileFile
from service.imagery.reader import read_tile
from service.imagery.tiff.limits import Limits
from tests.imagery import PLACE, RGB, geotiff, read, reflectance, refused


def test_nodata_is_told_and_filled_with_the_mirror_image_of_the_rest() -> None:
    values = reflectance()
    values[:, :60] = 0
    (patch,) = read(geotiff(values, nodata=0))
    assert patch.facts.valid_fraction == 0.5
    assert not patch.valid[:60].any()
    assert np.array_equal(patch.pixels[:60], patch.pixels[:59:-1])


def test_pixels_that_are_not_numbers_are_no_data() -> None:
    values = (reflectance() / 10_000).astype(np.float32)
    values[1, :30] = np.nan
    (patch,) = read(geotiff(values))
    assert patch.facts.valid_fraction == 0.75
    values[:] = np.nan
    assert refused(geotiff(values)) == "no_valid_pixels"


def test_alpha_masks_and_is_no_band() -> None:
    values = np.full((4, 120, 120), 90, np.uint8)
    values[3, :40] = 0
    (patch,) = read(geotiff(values, photometric="RGB", alpha="YES"))
    assert patch.facts.valid_fraction == pytest.approx(2 / 3)
    assert patch.pixels.shape == (120, 120, 3)


@pytest.mark.parametrize(
    "options",
    [
        {"compress": "deflate", "tiled": True, "blockxsize": 64, "blockysize": 64},
        {"compress": "zstd", "interleave": "band"},
        {"compress": "lzw", "predictor": 2},
        {"BIGTIFF": "YES"},
        {"ENDIANNESS": "BIG"},
    ],
)
def test_layouts_of_the_same_values_give_the_same_pixels(options: dict[str, object]) -> None:
    values = reflectance()
    (patch,) = read(geotiff(values, **options))
    assert np.array_equal(patch.pixels, read(geotiff(values))[0].pixels)


def test_a_scene_is_cut_into_windows_that_cover_it_and_empty_ones_are_left_out() -> None:
    values = reflectance(side=300)
    values[:, :120, :120] = 0
    patches = read(geotiff(values, nodata=0))
    windows = [patch.facts.window for patch in patches]
    assert (0, 0, 120, 120) not in windows
    assert windows[:2] == [(120, 0, 120, 120), (180, 0, 120, 120)]
    assert len(windows) == 8
    whole = read(geotiff(values[:, 180:, 180:]))[0]
    last = patches[-1]
    assert last.facts.window == (180, 180, 120, 120)
    assert np.array_equal(last.pixels, whole.pixels)
    assert last.facts.transform is not None
    assert last.facts.transform[2] == PLACE.c + 1800


def test_what_is_no_tiff_or_cut_short_or_unreadable_is_refused() -> None:
    whole = geotiff(reflectance())
    assert refused(b"") == "empty_body"
    assert refused(b"\x89PNG\r\n\x1a\n" + whole) == "not_a_tiff"
    for length in (4, 8, 100, len(whole) // 2, len(whole) - 1):
        assert refused(whole[:length]) == "truncated"
    deflated = bytearray(geotiff(reflectance(), compress="deflate"))
    deflated[-200:] = bytes(200)
    assert refused(bytes(deflated)) in ("corrupt", "truncated")
    assert refused(geotiff(reflectance().astype(np.complex64))) == "unsupported_dtype"
    assert refused(geotiff(reflectance(side=7))) == "too_small"
    assert refused(whole, limits=Limits(max_pixels=120 * 120 - 1)) == "image_too_large"


def test_a_model_with_twelve_bands_is_only_another_spec() -> None:
    names = ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B11", "B12")
    values = reflectance(bands=12)
    (patch,) = read(geotiff(values, names=names[::-1]), InputSpec(names, 120, 10, 10_000))
    assert patch.pixels.shape == (120, 120, 12)
    assert np.array_equal(patch.pixels[..., 0], (values[-1].astype(int) * 255 // 10_000).astype(np.uint8))


def test_real_bigearthnet_patches_are_read_as_computed_by_hand(shared_data: Path) -> None:
    # DN at row 60, column 60 as `gdallocationinfo FILE 60 60` prints them; 255 / 2000 of each, truncated
    expected = {
        "S2A_MSIL2A_20170613T101031_87_48": ([1079, 1153, 504], [137, 147, 64]),
        "S2A_MSIL2A_20170617T113321_36_85": ([512, 579, 374], [65, 73, 47]),
        "S2A_MSIL2A_20170617T113321_4_55": ([535, 802, 400], [68, 102, 51]),
    }
    for name, (dn, pixel) in expected.items():
        folder = shared_data / "bigearthnet" / "v1" / name
        files = [TileFile((folder / f"{name}_{band}.tif").read_bytes(), band) for band in RGB.bands]
        (patch,) = read_tile(files, RGB, ReadOptions())
        assert patch.pixels[60, 60].tolist() == pixel == [min(255, int(value * 255 / 2000)) for value in dn]
