from __future__ import annotations

from io import BytesIO
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from affine import Affine
from PIL import Image
from rasterio.io import MemoryFile
from rasterio.warp import transform_geom

from service.imagery.errors import ImageryError
from service.imagery.patches import InputSpec, Patch, ReadOptions, TileFile
from service.imagery.reader import read_tile
from tests.imagery import PLACE, UTM_33N, geotiff, reflectance

RGB = InputSpec(("B04", "B03", "B02"), patch_px=120, gsd_m=10, divisor=2000)


def read(data: bytes, spec: InputSpec = RGB, **options: object) -> list[Patch]:
    return read_tile([TileFile(data)], spec, ReadOptions(**options))  # type: ignore[arg-type]


def refused(data: bytes, **options: object) -> str:
    with pytest.raises(ImageryError) as error:
        read(data, **options)
    return error.value.code


def codes(patch: Patch) -> list[str]:
    return [warning.code for warning in patch.facts.warnings]


def test_dn_become_pixels_as_documented() -> None:
    values = np.zeros((3, 120, 120), np.uint16)
    values[:, 0, 0] = 0, 1, 7
    values[:, 0, 1] = 8, 400, 1000
    values[:, 0, 2] = 1999, 2000, 65535
    (patch,) = read(geotiff(values, names=["B04", "B03", "B02"]))
    # truncated: 7 × 255 / 2000 = 0.89, 8 → 1.02, 400 → 51, 1000 → 127.5, 1999 → 254.87
    assert patch.pixels[0, :3].tolist() == [[0, 0, 0], [1, 51, 127], [254, 255, 255]]
    assert patch.pixels.dtype == np.uint8


def test_uint8_is_left_as_it_is() -> None:
    values = np.arange(3 * 120 * 120, dtype=np.uint32).reshape(3, 120, 120).astype(np.uint8)
    (patch,) = read(geotiff(values))
    assert np.array_equal(patch.pixels, values.transpose(1, 2, 0))
    assert patch.facts.radiometry.divisor is None


def test_an_offset_for_pixels_that_are_no_dn_is_a_contradiction() -> None:
    values = np.full((3, 120, 120), 90, np.uint8)
    (patch,) = read(geotiff(values), boa_offset=0)
    assert (patch.pixels == 90).all()
    assert refused(geotiff(values), boa_offset=-1000) == "bad_option"
    (scaled,) = read(geotiff(values), boa_offset=-1000, scale=20.0)
    assert (scaled.pixels == 800 * 255 // 2000).all()


def test_reflectance_from_0_to_1_is_scaled_and_other_floats_are_refused_unless_said() -> None:
    dn = reflectance()
    (expected,) = read(geotiff(dn))
    (patch,) = read(geotiff((dn / 10_000).astype(np.float64)))
    assert np.abs(patch.pixels.astype(int) - expected.pixels).max() <= 1
    assert patch.facts.radiometry.scale == 10_000
    assert refused(geotiff(dn.astype(np.float32))) == "scale_ambiguous"
    (said,) = read(geotiff(dn.astype(np.float32)), scale=1.0)
    assert np.array_equal(said.pixels, expected.pixels)


def test_scale_and_offset_tags_are_followed_and_echoed() -> None:
    dn = reflectance()
    (expected,) = read(geotiff(dn))
    stored = (dn.astype(np.int32) + 1000).astype(np.uint16)
    (patch,) = read(geotiff(stored, scales=[0.0001] * 3, offsets=[-0.1] * 3))
    assert np.array_equal(patch.pixels, expected.pixels)
    assert (patch.facts.radiometry.scale, patch.facts.radiometry.boa_offset) == (1, -1000)


def test_an_offset_tag_alone_counts_in_the_values_own_unit() -> None:
    dn = reflectance()
    (expected,) = read(geotiff(dn))
    reflectances = geotiff((dn / 10_000 + 0.1).astype(np.float64), offsets=[-0.1] * 3)
    (patch,) = read(reflectances)
    assert np.abs(patch.pixels.astype(int) - expected.pixels).max() <= 1
    assert patch.facts.radiometry.boa_offset == -1000
    (counted,) = read(geotiff(dn + np.uint16(1000), offsets=[-1000] * 3))
    assert np.array_equal(counted.pixels, expected.pixels)


def test_a_scale_tag_says_nothing_of_the_offset() -> None:
    stored = reflectance() + np.uint16(1000)
    assert "boa_offset_suspected" in codes(read(geotiff(stored, scales=[0.0001] * 3))[0])


@pytest.mark.parametrize("tags", [{"scales": [0.0] * 3}, {"offsets": [np.inf] * 3}, {"scales": [1, 1, 2]}])
def test_tags_that_mean_nothing_or_differ_are_refused(tags: dict[str, list[float]]) -> None:
    assert refused(geotiff(reflectance(), **tags)) == "scale_ambiguous"


def test_the_sentinel_2_offset_is_suspected_aloud_and_corrected_only_when_said() -> None:
    dn = reflectance()
    stored = geotiff(dn + np.uint16(1000))
    (left,) = read(stored)
    assert "boa_offset_suspected" in codes(left)
    (corrected,) = read(stored, boa_offset=-1000)
    assert np.array_equal(corrected.pixels, read(geotiff(dn))[0].pixels)
    assert "boa_offset_suspected" not in codes(corrected)
    assert "boa_offset_suspected" not in codes(read(stored, boa_offset=0)[0])


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


def test_band_files_make_one_tile_and_coarser_ones_are_resampled() -> None:
    values = reflectance()
    coarse = geotiff(values[2:, ::2, ::2], transform=Affine(20, 0, PLACE.c, 0, -20, PLACE.f))
    files = [TileFile(geotiff(values[:1]), "B04"), TileFile(coarse, "B02"), TileFile(geotiff(values[1:2]), "b3")]
    (patch,) = read_tile(files, RGB, ReadOptions())
    (expected,) = read(geotiff(values))
    assert np.array_equal(patch.pixels[..., :2], expected.pixels[..., :2])
    assert patch.pixels.shape == (120, 120, 3)
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
        assert 0.98 < patch.facts.valid_fraction < 1
        assert np.abs(patch.pixels[patch.valid].astype(int) - 127).max() <= 1


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


def test_nodata_is_told_and_filled_with_the_mean_of_the_rest() -> None:
    values = reflectance()
    values[:, :60] = 0
    (patch,) = read(geotiff(values, nodata=0))
    assert patch.facts.valid_fraction == 0.5
    assert not patch.valid[:60].any()
    assert (patch.pixels[:60] == patch.pixels[60:].reshape(-1, 3).mean(0).astype(np.uint8)).all()


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


def test_a_footprint_is_the_four_corners_in_longitude_and_latitude() -> None:
    (patch,) = read(geotiff(reflectance()))
    x, y = PLACE.c, PLACE.f
    corners = [[x, y], [x, y - 1200], [x + 1200, y - 1200], [x + 1200, y], [x, y]]
    expected = transform_geom(UTM_33N, "EPSG:4326", {"type": "Polygon", "coordinates": [corners]})
    assert patch.facts.footprint is not None
    assert patch.facts.footprint["type"] == "Polygon"
    assert np.allclose(patch.facts.footprint["coordinates"], expected["coordinates"], atol=1e-6)
    assert patch.facts.crs == UTM_33N


def test_a_south_up_footprint_still_turns_counter_clockwise() -> None:
    (patch,) = read(geotiff(reflectance(), transform=Affine(10, 0, PLACE.c, 0, 10, PLACE.f - 1200)))
    (upright,) = read(geotiff(reflectance()))
    assert patch.facts.footprint is not None
    assert upright.facts.footprint is not None
    ring, other = patch.facts.footprint["coordinates"][0], upright.facts.footprint["coordinates"][0]
    assert {*map(tuple, ring)} == {*map(tuple, other)}
    area = sum(a[0] * b[1] - b[0] * a[1] for a, b in pairwise(ring))
    assert area > 0


def test_without_georeference_there_is_a_warning_or_an_error_if_it_is_required() -> None:
    bare = geotiff(reflectance(), crs=None, transform=None)
    (patch,) = read(bare)
    assert patch.facts.footprint is None
    assert patch.facts.crs is None
    assert "no_georeference" in codes(patch)
    assert refused(bare, require_geo=True) == "no_georeference"


@pytest.mark.parametrize("crs", ['LOCAL_CS["site",UNIT["metre",1]]', "EPSG:5773"])
def test_a_system_without_a_place_on_a_map_is_no_georeference(crs: str) -> None:
    (patch,) = read(geotiff(reflectance(), crs=crs))
    assert patch.facts.footprint is None
    assert "no_georeference" in codes(patch)


def test_web_mercators_pixels_are_measured_on_the_ground() -> None:
    at_60_north = (1_500_000, 8_399_737)  # where a metre of the projection is half a metre on the ground
    for size, warned in ((20, False), (10, True)):
        transform = Affine(size, 0, at_60_north[0], 0, -size, at_60_north[1])
        (patch,) = read(geotiff(reflectance(), crs="EPSG:3857", transform=transform))
        assert ("gsd_mismatch" in codes(patch)) is warned


def test_pixels_of_another_size_on_the_ground_are_warned_of() -> None:
    (patch,) = read(geotiff(reflectance(), transform=Affine(60, 0, PLACE.c, 0, -60, PLACE.f)))
    assert "gsd_mismatch" in codes(patch)
    degrees = geotiff(reflectance(), crs="EPSG:4326", transform=Affine(1e-4, 0, 13.7, 0, -1e-4, 48.2))
    assert "gsd_mismatch" not in codes(read(degrees)[0])


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
    assert refused(whole, max_pixels=120 * 120 - 1) == "image_too_large"


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
