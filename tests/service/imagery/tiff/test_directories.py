from __future__ import annotations

import pytest

from service.imagery.errors import ImageryError
from service.imagery.tiff import directories as tags
from service.imagery.tiff.directories import Directory, walk
from service.imagery.tiff.limits import Limits
from tests.corpus.tiff import (
    ASCII,
    BITS,
    BYTE,
    GDAL_METADATA,
    HEIGHT,
    LONG,
    LONG8,
    SHORT,
    SLONG,
    STRIP_OFFSETS,
    WIDTH,
    Page,
    Tag,
    image,
    tiff,
)  # fmt: skip


def directories(data: bytes, **limits: int) -> list[Directory]:
    return list(walk(data, Limits(**limits)))


def refused(data: bytes, **limits: int) -> tuple[str, dict[str, int]]:
    with pytest.raises(ImageryError) as error:
        directories(data, **limits)
    return error.value.code, error.value.limits


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("big", [False, True])
def test_both_kinds_of_tiff_in_both_byte_orders_say_the_same(order: str, big: bool) -> None:
    first, second = directories(tiff(image(16, 9), image(300, 70_000), order=order, big=big))
    assert (first.one(tags.WIDTH, 0), first.one(tags.HEIGHT, 0)) == (16, 9)
    assert (second.one(tags.WIDTH, 0), second.one(tags.HEIGHT, 0)) == (300, 70_000)
    assert first.values[tags.BITS] == (8, 8, 8)
    assert first.values[tags.STRIP_BYTES] == (16 * 9 * 3,)


@pytest.mark.parametrize("kind", [BYTE, SHORT, LONG, LONG8])
def test_a_number_may_have_any_type_without_a_sign(kind: int) -> None:
    (directory,) = directories(tiff(image(t256=Tag(kind, [200])), big=True))
    assert directory.one(tags.WIDTH, 0) == 200


def test_a_number_with_a_sign_is_refused_since_libtiff_would_read_it() -> None:
    assert refused(tiff(image(t322=Tag(SLONG, [40_000]), t323=Tag(SLONG, [40_000])))) == ("corrupt", {})


def test_values_are_read_where_they_stand_within_the_entry_or_elsewhere() -> None:
    (directory,) = directories(tiff(image(16, 16, rows=4, blocks=[bytes(192)] * 4)))
    assert len(directory.values[tags.STRIP_OFFSETS]) == 4
    (directory,) = directories(tiff(image(bands=1, bits=(8,), t258=Tag(SHORT, [8, 8]))))
    assert directory.values[tags.BITS] == (8, 8)


def test_a_tag_is_asked_for_once_by_its_default_where_it_is_absent() -> None:
    assert Directory().one(tags.PLANAR, 1) == 1


def test_gdals_metadata_come_as_they_are() -> None:
    (directory,) = directories(tiff(image(t42112=Tag(ASCII, b"<GDALMetadata/>\0"))))
    assert directory.gdal_metadata == b"<GDALMetadata/>\0"


@pytest.mark.parametrize(
    ("data", "limits"),
    [
        (tiff(*[image()] * 5), {"max_directories": 4}),
        (tiff(image(), image()), {"max_entries": 19}),
        (tiff(image(bands=4, bits=(8,) * 4)), {"max_bands": 3}),
        (tiff(image(16, 16, rows=1, blocks=[bytes(48)] * 16)), {"max_blocks": 15}),
        (tiff(*[image(16, 16, rows=1, blocks=[bytes(48)] * 16)] * 2), {"max_blocks": 31}),
        (tiff(image(t42112=Tag(ASCII, b"a" * 101))), {"max_metadata_bytes": 100}),
        (tiff(*[image(t42112=Tag(ASCII, b"a" * 60))] * 2), {"max_metadata_bytes": 100}),
    ],
)
def test_what_is_over_a_limit_is_refused_with_it_and_what_reaches_it_is_not(
    data: bytes, limits: dict[str, int]
) -> None:
    assert refused(data, **limits) == ("image_too_large", limits)
    ((name, limit),) = limits.items()
    assert directories(data, **{name: limit + 20})


@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize("tag", [WIDTH, HEIGHT, BITS, STRIP_OFFSETS, GDAL_METADATA, 270, 65_000])
def test_values_past_the_end_are_refused_whatever_their_tag(tag: int, big: bool) -> None:
    far = 2**63 if big else 2**32 - 1
    assert refused(tiff(image(**{f"t{tag}": Tag(ASCII, b"", count=20, at=far)}), big=big))[0] == "truncated"
    assert refused(tiff(image(**{f"t{tag}": Tag(99, b"", count=far, at=8)}), big=big))[0] == "truncated"


def test_tags_that_share_their_values_are_refused_before_anybody_copies_them() -> None:
    shared = {f"t{50_000 + i}": Tag(ASCII, b"", count=900, at=8) for i in range(5)}
    assert refused(tiff(image(**shared)))[0] == "corrupt"
    assert directories(tiff(image(**dict([shared.popitem()]))))


def test_a_text_may_be_there_twice_and_nothing_else() -> None:
    text = Tag(ASCII, b"a description\0")
    assert directories(tiff(Page({**image().tags, 270: text}, image().blocks, once_more=[(270, text)])))
    assert refused(tiff(Page(image().tags, image().blocks, once_more=[(WIDTH, Tag(SHORT, [16]))])))[0] == "corrupt"


def test_a_loop_of_directories_is_refused() -> None:
    assert refused(tiff(image(), Page(image().tags, then=0)))[0] == "corrupt"


def test_a_bigtiff_of_other_offsets_is_refused() -> None:
    data = bytearray(tiff(image(), big=True))
    data[4] = 4
    assert refused(bytes(data))[0] == "corrupt"
