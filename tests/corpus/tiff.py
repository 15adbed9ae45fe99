"""Writes TIFFs that need not be true: any tag, any type, count and offset; classic and Big, in both byte orders.

Layout: TIFF 6.0, section 2. Nothing here is shared with the reader that it is to test.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field

BYTE, ASCII, SHORT, LONG, RATIONAL, SBYTE, UNDEFINED, SSHORT, SLONG = range(1, 10)
FLOAT, DOUBLE, IFD, LONG8, SLONG8, IFD8 = 11, 12, 13, 16, 17, 18
_LETTERS = {
    BYTE: "B", ASCII: "B", SHORT: "H", LONG: "I", RATIONAL: "Q", SBYTE: "b", UNDEFINED: "B", SSHORT: "h", SLONG: "i",
    FLOAT: "f", DOUBLE: "d", IFD: "I", LONG8: "Q", SLONG8: "q", IFD8: "Q",
}  # fmt: skip

SUBFILE_TYPE, WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC = 254, 256, 257, 258, 259, 262
STRIP_OFFSETS, BANDS, ROWS_PER_STRIP, STRIP_BYTES, PLANAR = 273, 277, 278, 279, 284
TILE_WIDTH, TILE_HEIGHT, TILE_OFFSETS, TILE_BYTES, SAMPLE_FORMAT = 322, 323, 324, 325, 339
COLOUR_MAP, SUB_DIRECTORIES, TIE_POINTS, GEO_KEYS, GEO_TEXTS = 320, 330, 33922, 34735, 34737
PIXEL_SCALE, TRANSFORM, GDAL_METADATA, GDAL_NODATA = 33550, 34264, 42112, 42113


@dataclass(frozen=True)
class Tag:
    """Values of a type, which may claim another number of them and another place."""

    kind: int
    values: bytes | Sequence[float]
    count: int | None = None
    at: int | None = None

    def packed(self, order: str) -> bytes:
        if isinstance(self.values, bytes):
            return self.values
        return struct.pack(f"{order}{len(self.values)}{_LETTERS[self.kind]}", *self.values)


@dataclass(frozen=True)
class Page:
    """One directory with its strips or tiles."""

    tags: dict[int, Tag]
    blocks: Sequence[bytes] = ()
    once_more: Sequence[tuple[int, Tag]] = field(default=())  #: after the others, whatever their number
    claims: int | None = None  #: tags that the directory says it has
    then: int | None = None  #: place in the chain of the page that follows; by default the next one
    then_at: int | None = None  #: the offset that is claimed for it


def image(
    width: int = 16,
    height: int = 16,
    *,
    bands: int = 3,
    bits: Sequence[int] = (8, 8, 8),
    codec: int = 1,
    photometric: int = 2,
    rows: int | None = None,
    tile: tuple[int, int] | None = None,
    planar: int = 1,
    blocks: Sequence[bytes] | None = None,
    **tags: Tag,
) -> Page:
    """An image in one strip unless `rows` or `tile` say otherwise. `tags` are called t34735 and the like."""
    size = width * height * bands * max(bits) // 8
    blocks = [bytes([90]) * min(size, 4096)] if blocks is None else blocks
    found = {
        WIDTH: Tag(LONG, [width]),
        HEIGHT: Tag(LONG, [height]),
        BITS: Tag(SHORT, bits),
        COMPRESSION: Tag(SHORT, [codec]),
        PHOTOMETRIC: Tag(SHORT, [photometric]),
        BANDS: Tag(SHORT, [bands]),
        PLANAR: Tag(SHORT, [planar]),
    }
    if tile:
        found |= {TILE_WIDTH: Tag(LONG, [tile[0]]), TILE_HEIGHT: Tag(LONG, [tile[1]])}
    else:
        found[ROWS_PER_STRIP] = Tag(LONG, [height if rows is None else rows])
    return Page(found | {int(name[1:]): tag for name, tag in tags.items()}, blocks)


def tiff(*pages: Page, order: str = "<", big: bool = False) -> bytes:
    """The file. Blocks come first, then each directory after the values that do not fit into it."""
    offset, inline, counts = ("Q", 8, "QQ") if big else ("I", 4, "HI")
    out = bytearray(16 if big else 8)

    def put(data: bytes) -> int:
        out.extend(bytes(len(out) % 2))
        out.extend(data)
        return len(out) - len(data)

    starts, links = [], []
    for page in pages:
        tags = page.tags | _where(page, [put(block) for block in page.blocks], LONG8 if big else LONG)
        entries = b""
        for number, tag in [*sorted(tags.items()), *page.once_more]:
            raw = tag.packed(order)
            size = struct.calcsize(_LETTERS.get(tag.kind, "B"))
            count = len(raw) // size if tag.count is None else tag.count
            at = tag.at if tag.at is not None else put(raw) if len(raw) > inline else None
            place = raw.ljust(inline, b"\0") if at is None else struct.pack(order + offset, at)
            entries += struct.pack(f"{order}HH{counts[1]}", number, tag.kind, count) + place
        claimed = len(tags) + len(page.once_more) if page.claims is None else page.claims
        starts.append(put(struct.pack(order + counts[0], claimed) + entries))
        links.append(put(bytes(inline)))
    for number, (page, link) in enumerate(zip(pages, links, strict=True)):
        then = number + 1 if page.then is None else page.then
        following = starts[then] if then < len(pages) else 0
        struct.pack_into(order + offset, out, link, following if page.then_at is None else page.then_at)
    struct.pack_into(f"{order}2sH", out, 0, {"<": b"II", ">": b"MM"}[order], 43 if big else 42)
    if big:
        struct.pack_into(order + "HH", out, 4, 8, 0)
    struct.pack_into(order + offset, out, 8 if big else 4, starts[0] if starts else 0)
    return bytes(out)


def _where(page: Page, offsets: list[int], kind: int) -> dict[int, Tag]:
    """The tags that say where the blocks are, unless the page lies about it itself."""
    places, sizes = (TILE_OFFSETS, TILE_BYTES) if TILE_WIDTH in page.tags else (STRIP_OFFSETS, STRIP_BYTES)
    true = {places: Tag(kind, offsets), sizes: Tag(LONG, [len(block) for block in page.blocks])}
    return {tag: value for tag, value in true.items() if tag not in page.tags and page.blocks}


def altered(
    data: bytes, number: int, value: int | None = None, kind: int | None = None, count: int | None = None
) -> bytes:
    """A classic little-endian file of which one tag of the first directory says something else."""
    out = bytearray(data)
    at = _entry(data, number)
    old = struct.unpack_from("<HII", data, at + 2)
    new = [was if said is None else said for was, said in zip(old, (kind, count, value), strict=True)]
    struct.pack_into("<HII", out, at + 2, *new)
    return bytes(out)


def value_of(data: bytes, number: int) -> int:
    """What one tag of such a file says, where it has a single value."""
    at = _entry(data, number)
    kind, value = struct.unpack_from("<H4xI", data, at + 2)
    return int(value) % 2**16 if kind == SHORT else int(value)


def _entry(data: bytes, number: int) -> int:
    (start,) = struct.unpack_from("<I", data, 4)
    (entries,) = struct.unpack_from("<H", data, start)
    places = range(start + 2, start + 2 + 12 * entries, 12)
    return next(at for at in places if struct.unpack_from("<H", data, at)[0] == number)
