from __future__ import annotations

import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from rasterio.errors import RasterioError
from rasterio.io import MemoryFile

from service.errors import STATUS
from service.imagery.errors import ImageryError
from service.imagery.tiff import directories, header
from service.imagery.tiff.header import Header
from service.imagery.tiff.limits import Limits
from tests.corpus.mutated import INTERESTING, seeds
from tests.corpus.tiff import ASCII, LONG, SHORT, Page, Tag, image, tiff
from tests.imagery import geotiff

LIMITS = Limits()
SEEDS = seeds()
steady = settings(deadline=None, max_examples=200, derandomize=True, suppress_health_check=[HealthCheck.too_slow])


def told(data: bytes, limits: Limits = LIMITS) -> Header | str:
    """What the walk says of bytes: a header, or the code of the table under which it refuses them."""
    try:
        return header.read(data, limits)
    except ImageryError as error:
        assert error.code in STATUS
        assert error.limits.keys() <= vars(limits).keys()
        assert all(getattr(limits, name) == value for name, value in error.limits.items())
        return error.code


def test_a_header_has_the_numbers_of_its_first_image() -> None:
    page = image(100, 60, bands=2, bits=(16, 16), photometric=1, tile=(32, 16), planar=2, blocks=[b"x"] * 32)
    assert header.read(tiff(page, image()), LIMITS) == Header(
        width=100, height=60, bands=2, bits=16, photometric=1, block_bytes=32 * 16 * 2, blocks=32, images=2,
        gdal_metadata=b"",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("page", "limits", "code"),
    [
        (image(100, 100), {"max_pixels": 9_999}, "image_too_large"),
        (image(100, 100), {"max_block_bytes": 29_999}, "block_too_large"),
        (image(100, 100), {"max_decoded_bytes": 29_999}, "image_too_large"),
        (image(100, 100, tile=(1, 1)), {"max_blocks": 9_999}, "image_too_large"),
        (image(bits=(8, 8, 16)), {}, "unsupported_dtype"),
        (image(bits=(0,)), {}, "unsupported_dtype"),
        (image(bits=(65,)), {}, "unsupported_dtype"),
        (image(bands=1, bits=(16,), photometric=3), {}, "unsupported_dtype"),  # a palette of 65,536 colours
        (image(codec=4), {}, "unsupported_codec"),
        (image(t32997=Tag(SHORT, [2])), {}, "unsupported_dtype"),
        (image(0, 10), {}, "corrupt"),
        (image(blocks=()), {}, "corrupt"),
        (image(t279=Tag(SHORT, [60_000])), {}, "truncated"),
        (image(t324=Tag(SHORT, [8])), {}, "corrupt"),  # tiles and strips: two tables of places
        (image(t325=Tag(SHORT, [8])), {}, "corrupt"),
    ],
)
def test_an_image_that_asks_for_too_much_or_makes_none_is_refused(
    page: Page, limits: dict[str, int], code: str
) -> None:
    assert told(tiff(page), Limits(**limits)) == code


def test_an_overview_may_have_any_codec_and_a_mask_may_not() -> None:
    assert isinstance(told(tiff(image(), image(8, 8, codec=4, t254=Tag(SHORT, [1])))), Header)
    assert told(tiff(image(), image(codec=4, t254=Tag(SHORT, [4])))) == "unsupported_codec"


def test_strips_without_sizes_are_taken_where_these_are_known_without_decoding() -> None:
    places = Tag(LONG, [8, 8])
    assert isinstance(told(tiff(image(16, 16, rows=8, blocks=(), t273=places))), Header)
    assert told(tiff(image(16, 16, rows=8, blocks=(), codec=8, t273=places))) == "corrupt"


def test_a_directory_of_texts_after_the_image_is_nobodys_image() -> None:
    about = told(tiff(image(), Page({305: Tag(ASCII, b"a writer\0")})))
    assert isinstance(about, Header) and about.images == 1


def test_every_directory_is_held_to_the_limits() -> None:
    assert told(tiff(image(), image(100_000, 100_000, t254=Tag(SHORT, [1])))) == "image_too_large"
    strips = image(1, 6_000, rows=1, blocks=[b"abc"] * 6_000)
    assert isinstance(told(tiff(strips)), Header)
    assert told(tiff(strips, strips), Limits(max_blocks=11_999)) == "image_too_large"


def test_strips_that_overlap_far_too_often_are_refused_and_those_of_equal_tiles_are_not() -> None:
    large = bytes(1_000_000)
    many = {"t273": Tag(SHORT, [8] * 100), "t279": Tag(4, [len(large)] * 100)}
    assert told(tiff(image(16, 100, rows=1, blocks=[large], codec=8, **many))) == "corrupt"
    few = {"t273": Tag(SHORT, [8] * 30), "t279": Tag(4, [len(large)] * 30)}
    assert isinstance(told(tiff(image(16, 30, rows=1, blocks=[large], codec=8, **few))), Header)


@steady
@given(st.binary(max_size=400))
def test_any_bytes_are_a_header_or_a_refusal(data: bytes) -> None:
    told(data)
    for magic in (b"II*\0", b"MM\0*", b"II+\0\x08\0\0\0", b"MM\0+\0\x08\0\0"):
        told(magic + data)


numbers = st.sampled_from(INTERESTING) | st.integers(0, 2**32 - 1)
tag_numbers = st.sampled_from([*image().tags, 254, 273, 279, 322, 323, 324, 325, 339, 32997, 32998, 42112])
plausible = st.builds(
    Tag, st.sampled_from([SHORT, LONG]), st.lists(st.sampled_from([0, 1, 2, 3, 5, 8, 16, 32]), min_size=1, max_size=4)
)
made_up = plausible | st.builds(
    Tag,
    st.sampled_from([*range(20), 255]),
    st.binary(max_size=24),
    count=st.none() | numbers,
    at=st.none() | numbers,
)
pages = st.builds(
    lambda tags, more, then: Page(image().tags | tags, [b"x" * 768], once_more=more, then=then),
    st.dictionaries(tag_numbers, made_up, max_size=4),
    st.lists(st.tuples(tag_numbers, made_up), max_size=1),
    st.none() | st.integers(0, 3),
)


@steady
@given(st.lists(pages, max_size=3), st.sampled_from("<>"), st.booleans())
def test_any_tags_are_a_header_or_a_refusal_and_what_is_taken_gdal_sees_likewise(
    made: list[Page], order: str, big: bool
) -> None:
    data = tiff(*made, order=order, big=big)
    about = told(data)
    if isinstance(about, Header):
        assert about.pixels <= LIMITS.max_pixels and about.decoded_bytes <= LIMITS.max_decoded_bytes
        agrees_with_gdal(data, about)


def agrees_with_gdal(data: bytes, about: Header) -> None:
    """Unless it refuses to open the file at all."""
    with MemoryFile(data) as file:
        try:
            dataset = file.open(driver="GTiff")
        except (RasterioError, UnicodeDecodeError):
            return
        with dataset:
            assert dataset.shape == (about.height, about.width)
            assert dataset.count in (about.bands, 4)


@steady
@given(st.sampled_from(sorted(SEEDS)), st.data())
def test_a_good_file_with_a_few_numbers_exchanged_is_a_header_or_a_refusal(name: str, chance: st.DataObject) -> None:
    data = bytearray(SEEDS[name])
    for _ in range(chance.draw(st.integers(1, 4))):
        at = chance.draw(st.integers(0, min(len(data), 512) - 8))
        form = chance.draw(st.sampled_from(["<B", "<H", ">H", "<I", ">I"]))
        struct.pack_into(form, data, at, chance.draw(numbers) % 256 ** struct.calcsize(form))
    told(bytes(data[: chance.draw(st.integers(0, len(data)) | st.just(len(data)))]))


@steady
@given(st.lists(pages, max_size=3), st.binary(max_size=200))
def test_the_walk_reads_no_more_than_its_limits_allow_it(made: list[Page], more: bytes) -> None:
    reads = 0

    class Counting(directories._Walk):
        def read(self, form: str, at: int) -> tuple[int, ...]:
            nonlocal reads
            reads += 1
            return super().read(form, at)

    few = Limits(max_directories=4, max_entries=50)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(directories, "_Walk", Counting)
        told(tiff(*made) + more, few)
    assert reads <= 3 * few.max_entries + 3 * few.max_directories + 2


LOSSLESS = st.sampled_from(
    [{}, *({"compress": name} for name in ("lzw", "deflate", "zstd", "packbits", "lzma", "lerc"))]
)
COLOURS = st.sampled_from([{"compress": "jpeg"}, {"compress": "jpeg", "photometric": "YCbCr"}, {"compress": "webp"}])
shapes = st.integers(1, 90), st.integers(1, 90)
values = st.builds(
    np.ones, st.tuples(st.integers(1, 5), *shapes), st.sampled_from(["uint8", "uint16", "int16", "uint32", "float64"])
)
colours = st.builds(np.ones, st.tuples(st.just(3), *shapes), st.just("uint8"))
layouts = st.fixed_dictionaries(
    {"BIGTIFF": st.sampled_from(["YES", "NO"]), "ENDIANNESS": st.sampled_from(["LITTLE", "BIG"])},
    optional={"blockysize": st.sampled_from([8, 16]), "tiled": st.just(True)},
)
planes = st.fixed_dictionaries({"interleave": st.sampled_from(["pixel", "band"])})


@steady
@given(st.tuples(values, LOSSLESS, layouts, planes) | st.tuples(colours, COLOURS, layouts))
def test_the_header_of_a_file_that_gdal_writes_is_what_gdal_reads(
    made: tuple[NDArray[Any], *tuple[dict[str, Any], ...]],
) -> None:
    values, *options = made
    said = {name: value for some in options for name, value in some.items()}
    tiled = {"blockxsize": 32, "blockysize": 16} if "tiled" in said else {}
    data = geotiff(values, **said | tiled)
    about = header.read(data, LIMITS)
    with MemoryFile(data).open(driver="GTiff") as dataset:
        assert (about.height, about.width) == dataset.shape
        assert about.bands == dataset.count
        assert about.bits == 8 * np.dtype(dataset.dtypes[0]).itemsize
        rows, columns = dataset.block_shapes[0]
        is_planar = said.get("interleave") == "band" and dataset.count > 1
        assert about.block_bytes == rows * columns * (1 if is_planar else dataset.count) * about.bits // 8
        across, down = -(-dataset.width // columns), -(-dataset.height // rows)
        assert about.blocks == across * down * (dataset.count if is_planar else 1)
    assert about.images == 1
