"""TIFFs whose structure is broken: cut, looping, pointing past the end, contradicting themselves."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from tests.corpus.cases import OK, Case
from tests.corpus.tiff import (
    BANDS,
    BITS,
    BYTE,
    COMPRESSION,
    DOUBLE,
    FLOAT,
    GDAL_METADATA,
    HEIGHT,
    LONG,
    LONG8,
    PHOTOMETRIC,
    PLANAR,
    ROWS_PER_STRIP,
    SAMPLE_FORMAT,
    SHORT,
    SLONG,
    SSHORT,
    STRIP_BYTES,
    STRIP_OFFSETS,
    SUB_DIRECTORIES,
    TILE_HEIGHT,
    TILE_WIDTH,
    UNDEFINED,
    WIDTH,
    Page,
    Tag,
    image,
    tiff,
)  # fmt: skip

FAR = 2**31
GOOD = image()
ASKED = {
    WIDTH: "width", HEIGHT: "height", BITS: "bits", COMPRESSION: "compression", BANDS: "bands", PLANAR: "planar",
    ROWS_PER_STRIP: "rows of a strip", STRIP_OFFSETS: "strip offsets", STRIP_BYTES: "strip sizes",
}  # fmt: skip


def with_tags(tags: dict[int, Tag], page: Page = GOOD) -> Page:
    return replace(page, tags=page.tags | tags)


def without(tag: int) -> Page:
    return replace(GOOD, tags={number: value for number, value in GOOD.tags.items() if number != tag})


def cases() -> Iterator[Case]:
    yield from _cut()
    yield from _past_the_end()
    yield from _chains()
    yield from _tags()
    yield from _blocks()


def _cut() -> Iterator[Case]:
    for what, data in {
        "classic": tiff(GOOD, GOOD), "Big": tiff(GOOD, big=True), "big-endian": tiff(GOOD, order=">"),
    }.items():  # fmt: skip
        for length in sorted({4, 6, 8, 12, 16, *range(17, len(data), 61), len(data) - 1}):
            # Of two pages the first is whole before the second is cut; no cut leaves a file that is whole.
            yield Case("cut", f"{what}, {length} of {len(data)} bytes", data[:length], ("truncated",))


def _past_the_end() -> Iterator[Case]:
    kind = "offset past the end"
    for big in (False, True):
        which = "Big" if big else "classic"
        for far in (FAR, 2**32 - 1, *((2**63, 2**64 - 1) if big else ())):
            for what, page in {
                "the next directory": replace(GOOD, then_at=far),
                "values of a tag": with_tags({BITS: Tag(SHORT, b"", count=500, at=far)}),
                "a text": with_tags({270: Tag(BYTE, b"", count=500, at=far)}),
                "a strip": with_tags({STRIP_OFFSETS: Tag(LONG8 if big else LONG, [far])}),
            }.items():
                yield Case(kind, f"{which}: {what} at {far}", tiff(page, big=big), ("truncated",))
    yield Case(kind, "a strip of 2 GB", tiff(with_tags({STRIP_BYTES: Tag(LONG, [FAR])})), ("truncated",))
    header = tiff(GOOD)
    yield Case(kind, "the first directory", header[:4] + b"\xf0\xff\xff\xff" + header[8:], ("truncated",))


def _chains() -> Iterator[Case]:
    kind = "directories"
    yield Case(kind, "none", b"II*\0" + bytes(100), ("corrupt",))
    yield Case(kind, "one that is its own next", tiff(replace(GOOD, then=0)), ("corrupt",))
    yield Case(kind, "a loop of three", tiff(GOOD, GOOD, replace(GOOD, then=0)), ("corrupt",))
    yield Case(kind, "a loop that leaves out the first", tiff(GOOD, GOOD, replace(GOOD, then=1)), ("corrupt",))
    yield Case(kind, "65", tiff(*[GOOD] * 65), ("image_too_large",))
    yield Case(kind, "20,000", tiff(*[GOOD] * 20_000), ("image_too_large",))
    yield Case(kind, "20,000 that are empty", tiff(GOOD, *[Page({})] * 20_000), ("corrupt", "image_too_large"))
    yield Case(kind, "an empty one", tiff(Page({})), ("corrupt",))
    yield Case(kind, "each inside the one before", _nested(), ("corrupt", "truncated", "image_too_large"))
    yield Case(kind, "claiming 65,535 tags", tiff(replace(GOOD, claims=65_535)), ("image_too_large",))
    yield Case(kind, "claiming 2^63 tags", tiff(replace(GOOD, claims=2**63), big=True), ("image_too_large",))
    yield Case(kind, "claiming no tags", tiff(replace(GOOD, claims=0)), ("corrupt", "truncated"))
    itself = Tag(LONG, [8 + 768])  # where `tiff` puts the first directory's values
    yield Case(kind, "a sub-directory that is a strip", tiff(with_tags({SUB_DIRECTORIES: itself})), (OK,))
    many = Tag(LONG, [8] * 10_000)
    yield Case(kind, "10,000 sub-directories", tiff(with_tags({SUB_DIRECTORIES: many})), (OK,))
    wide = bytearray(tiff(GOOD, big=True))
    wide[4] = 16
    yield Case(kind, "a BigTIFF of 16-byte offsets", bytes(wide), ("corrupt",))


def _nested() -> bytes:
    """Directories that begin two bytes after one another: 40 of them in 100 bytes."""
    return b"II*\0\x08\0\0\0" + b"\x01\0" * 40 + b"\x0a\0\0\0" * 40


def _tags() -> Iterator[Case]:
    kind = "tags"
    for tag, what in ASKED.items():
        where = tag in (STRIP_OFFSETS, STRIP_BYTES)
        yield Case(kind, f"{what} twice", tiff(replace(GOOD, once_more=[(tag, Tag(LONG, [1]))])), ("corrupt",))
        for letter in (SSHORT, SLONG, FLOAT, DOUBLE, UNDEFINED, 0, 99, 65535):
            spoilt = with_tags({tag: Tag(letter, bytes(4), count=1)})
            yield Case(kind, f"{what} of type {letter}", tiff(spoilt), ("corrupt", "truncated"))
        yield Case(kind, f"{what}, no value", tiff(with_tags({tag: Tag(SHORT, b"", count=0)})), ("corrupt",))
        most = with_tags({tag: Tag(LONG, b"", count=2**32 - 1, at=8)})
        yield Case(kind, f"{what}, 2^32 - 1 values", tiff(most), ("truncated",))
        over = with_tags({tag: Tag(LONG8, b"", count=2**61, at=8)})
        yield Case(kind, f"{what}, 2^61 values of 8 bytes", tiff(over, big=True), ("truncated",))
        if not where and tag not in (COMPRESSION, PLANAR, ROWS_PER_STRIP, BANDS, BITS):
            yield Case(kind, f"no {what}", tiff(without(tag)), ("corrupt",))
    for tag in (WIDTH, HEIGHT, BANDS, BITS, ROWS_PER_STRIP):
        refused = ("unsupported_dtype",) if tag == BITS else ("corrupt",)
        yield Case(kind, f"{ASKED[tag]} is 0", tiff(with_tags({tag: Tag(LONG, [0])})), refused)
    yield Case(kind, "tile width is 0", tiff(image(tile=(0, 16))), ("corrupt",))
    yield Case(kind, "tile height is 0", tiff(image(tile=(16, 0))), ("corrupt",))
    yield Case(kind, "tile width alone", tiff(with_tags({TILE_WIDTH: Tag(LONG, [16])})), ("corrupt",))
    yield Case(kind, "tile height alone", tiff(with_tags({TILE_HEIGHT: Tag(LONG, [16])})), ("corrupt",))
    yield Case(kind, "planar is 7", tiff(with_tags({PLANAR: Tag(SHORT, [7])})), ("corrupt",))
    yield Case(kind, "photometric is 999", tiff(with_tags({PHOTOMETRIC: Tag(SHORT, [999])})), (OK, "corrupt"))
    yield Case(kind, "more extra samples than bands", tiff(with_tags({338: Tag(SHORT, [0] * 500)})), (OK, "corrupt"))
    yield Case(kind, "sample format 99", tiff(with_tags({SAMPLE_FORMAT: Tag(SHORT, [99] * 3)})), (OK, "corrupt"))
    shared = {50_000 + i: Tag(UNDEFINED, b"", count=60_000, at=8) for i in range(300)}
    padded = image(200, 200, blocks=[bytes([90]) * 120_000])
    yield Case(kind, "300 that share 60 kB", tiff(with_tags(shared, padded)), ("corrupt",))
    metadata = Tag(BYTE, b"", count=2**31, at=8)
    yield Case(kind, "2 GB of GDAL metadata", tiff(with_tags({GDAL_METADATA: metadata})), ("truncated",))


def _blocks() -> Iterator[Case]:
    kind = "strips and tiles"
    yield Case(kind, "none", tiff(replace(GOOD, blocks=())), ("corrupt",))
    yield Case(kind, "fewer than rows ask for", tiff(image(16, 64, rows=16)), ("corrupt",))
    yield Case(kind, "fewer than planes ask for", tiff(image(planar=2)), ("corrupt",))
    one = Tag(LONG, [768])
    yield Case(
        kind, "more places than sizes", tiff(image(16, 32, rows=16, blocks=[bytes(768)] * 2, t279=one)), ("corrupt",)
    )
    empty = image(t273=Tag(LONG, [0]), t279=Tag(LONG, [0]))
    yield Case(kind, "empty, as sparse files have them", tiff(empty), (OK, "corrupt"))
    short = image(64, 64, blocks=[bytes([90]) * 100])
    yield Case(kind, "shorter than its pixels", tiff(short), (OK, "corrupt"))
    large = bytes([90]) * 1_000_000
    rows = 20_000
    overlapping = image(
        16, rows, rows=1, blocks=[large], t273=Tag(LONG, [8] * rows), t279=Tag(LONG, [len(large)] * rows), codec=32773
    )
    yield Case(kind, "20,000 strips in the same 1 MB", tiff(overlapping), ("corrupt",))
