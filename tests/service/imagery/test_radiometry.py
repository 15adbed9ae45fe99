from __future__ import annotations

import numpy as np
import pytest

from service.imagery.patches import InputSpec
from service.imagery.radiometry import stretch
from tests.imagery import codes, geotiff, read, reflectance, refused


def test_dn_become_pixels_as_documented() -> None:
    values = np.zeros((3, 120, 120), np.uint16)
    values[:, 0, 0] = 0, 1, 7
    values[:, 0, 1] = 8, 400, 1000
    values[:, 0, 2] = 1999, 2000, 65535
    (patch,) = read(geotiff(values, names=["B04", "B03", "B02"]))
    # truncated: 7 × 255 / 2000 = 0.89, 8 → 1.02, 400 → 51, 1000 → 127.5, 1999 → 254.87
    assert patch.pixels[0, :3].tolist() == [[0, 0, 0], [1, 51, 127], [254, 255, 255]]
    assert patch.pixels.dtype == np.uint8


@pytest.mark.parametrize("dtype", ["i1", "u1", "<i2", "<u2", ">i2", ">u2"])
@pytest.mark.parametrize(("scale", "offset", "divisor"), [(1, 0, 2000), (1, -1000, 3558.5), (-0.37, 800, 2000)])
def test_numbers_that_are_looked_up_become_the_pixels_that_they_become_as_floats(
    dtype: str, scale: float, offset: int, divisor: float
) -> None:
    every = np.arange(2**16).astype("u2").astype(dtype).reshape(1, 256, 256)  # what is wider is not looked up
    worked_out = stretch(every.astype(np.float64), scale, offset, divisor)
    assert np.array_equal(stretch(every, scale, offset, divisor), worked_out)
    assert np.array_equal(stretch(every.swapaxes(1, 2), scale, offset, divisor), worked_out.swapaxes(1, 2))


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


def test_an_offset_tag_that_is_nothing_in_the_values_own_unit_does_not_pass_for_one() -> None:
    stored = reflectance() + np.uint16(1000)
    in_reflectance = geotiff(stored, offsets=[-0.1] * 3)
    assert refused(in_reflectance) == "scale_ambiguous"
    (said,) = read(in_reflectance, boa_offset=-1000)
    assert np.array_equal(said.pixels, read(geotiff(reflectance()))[0].pixels)
    assert "boa_offset_suspected" in codes(read(geotiff(stored, scales=[0.0001] * 3, offsets=[1e-5] * 3))[0])


def test_valid_pixels_are_looked_at_however_they_lie() -> None:
    values = np.full((3, 1002, 1002), np.nan, np.float32)
    values[:, 1::2, 1::2] = 255
    assert refused(geotiff(values)) == "scale_ambiguous"


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


def test_numbers_of_32_bits_and_halves_of_a_float_are_read() -> None:
    dn = reflectance()
    (expected,) = read(geotiff(dn))
    for dtype in (np.int16, np.uint32, np.int32):
        assert np.array_equal(read(geotiff(dn.astype(dtype)))[0].pixels, expected.pixels)
    (halves,) = read(geotiff((dn / 10_000).astype(np.float32), NBITS=16))
    assert np.abs(halves.pixels.astype(int) - expected.pixels).max() <= 1
    for dtype in (np.int8, np.int64, np.uint64, np.complex64):
        assert refused(geotiff((dn // 20).astype(dtype))) == "unsupported_dtype"


@pytest.mark.parametrize("bits", [1, 2, 4, 7])
def test_a_drawing_of_few_bits_is_no_imagery(bits: int) -> None:
    assert refused(geotiff(np.ones((3, 120, 120), np.uint8), NBITS=bits)) == "unsupported_dtype"


def test_tags_that_do_not_lead_to_reflectance_are_refused_unless_the_scale_is_said() -> None:
    dn = reflectance()
    percent = geotiff(dn, scales=[0.01] * 3)
    assert refused(percent) == "scale_ambiguous"
    assert np.array_equal(read(percent, scale=1.0)[0].pixels, read(geotiff(dn))[0].pixels)
    assert refused(geotiff(dn, scales=[1e-300] * 3, offsets=[1e300] * 3)) == "scale_ambiguous"
    assert refused(geotiff(np.full((3, 120, 120), 9, np.uint8), offsets=[4] * 3)) == "scale_ambiguous"


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_pixels_as_bright_as_can_be_are_warned_of_if_most_are(dtype: type) -> None:
    values = np.full((3, 120, 120), np.iinfo(dtype).max, dtype)
    assert "saturated" in codes(read(geotiff(values))[0])
    values[:, :, 59:] = 90
    assert "saturated" not in codes(read(geotiff(values))[0])
    assert "saturated" in codes(read(geotiff(values, nodata=90))[0])  # of the pixels that hold data


def test_8_bit_pixels_in_wider_numbers_are_suspected_aloud() -> None:
    photo = reflectance() // 10
    assert "eight_bits_suspected" in codes(read(geotiff(photo))[0])
    assert "eight_bits_suspected" not in codes(read(geotiff(photo.astype(np.uint8)))[0])
    for said in ({"scales": [0.001] * 3}, {"scales": [0.0001] * 3}):
        assert "eight_bits_suspected" not in codes(read(geotiff(photo, **said))[0])
    assert "eight_bits_suspected" not in codes(read(geotiff((photo / 10_000).astype(np.float32)))[0])
    photo[:, :60] = 65535
    assert "eight_bits_suspected" not in codes(read(geotiff(photo))[0])
    assert "eight_bits_suspected" in codes(read(geotiff(photo, nodata=65535))[0])


def test_pixels_without_data_count_in_no_statistic() -> None:
    stored = reflectance() + np.uint16(1000)
    stored[:, :60] = 0
    assert "boa_offset_suspected" not in codes(read(geotiff(stored))[0])
    assert "boa_offset_suspected" in codes(read(geotiff(stored, nodata=0))[0])


def test_the_offset_is_looked_for_where_ground_is_dark() -> None:
    stored = reflectance() + np.uint16(1000)
    names = ["VV", "VH", "B08"]
    (patch,) = read(geotiff(stored, names=names), InputSpec(tuple(names), 120, 10, 10_000))
    assert "boa_offset_suspected" not in codes(patch)
