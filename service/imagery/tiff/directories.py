"""The directories of a TIFF: where they lie, their tags, and the values of those that say what an image needs.

Layout: TIFF 6.0, section 2; BigTIFF as libtiff defines it.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from service.imagery.errors import ImageryError
from service.imagery.tiff.limits import Limits

SUBFILE_TYPE, WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC = 254, 256, 257, 258, 259, 262
STRIP_OFFSETS, BANDS, ROWS_PER_STRIP, STRIP_BYTES, PLANAR = 273, 277, 278, 279, 284
TILE_WIDTH, TILE_HEIGHT, TILE_OFFSETS, TILE_BYTES, SAMPLE_FORMAT = 322, 323, 324, 325, 339
DEPTH, TILE_DEPTH, GDAL_METADATA = 32997, 32998, 42112
GEO_KEYS = {34735, 34736, 34737}  # their directory, numbers and texts: OGC 19-008r4, annex B
_SINGLE = {
    SUBFILE_TYPE, WIDTH, HEIGHT, COMPRESSION, PHOTOMETRIC, BANDS, ROWS_PER_STRIP, PLANAR, TILE_WIDTH, TILE_HEIGHT,
    DEPTH, TILE_DEPTH,
}  # fmt: skip
_ONE_A_BAND = {BITS, SAMPLE_FORMAT}
TABLES = frozenset({STRIP_OFFSETS, STRIP_BYTES, TILE_OFFSETS, TILE_BYTES})  #: of places and sizes
# Texts about the image: description, maker, model, software, date, artist, host, copyright. Some writers add a second.
_TEXTS = {270, 271, 272, 305, 306, 315, 316, 33432}
_WHOLE_NUMBERS = _SINGLE | _ONE_A_BAND | TABLES
# What GDAL reads in full when it opens a file: keys, colours, geotransform, tie points, metadata, nodata, RPCs.
_METADATA = GEO_KEYS | {320, 33550, 33922, 34264, GDAL_METADATA, 42113, 50844}

# Bytes of a value, by its type; types 16 to 18 are BigTIFF's.
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
_INTEGERS = {1: "B", 3: "H", 4: "I", 13: "I", 16: "Q"}

GeoKeys = tuple[tuple[str, int, int, bytes], ...]  #: byte order, tag, type and value of each of GEO_KEYS


@dataclass
class Directory:
    """One image of a file, or an overview or mask of one."""

    values: dict[int, Sequence[int]] = field(default_factory=dict)  #: by tag; integers only
    gdal_metadata: bytes = b""  #: XML
    geo_keys: GeoKeys = ()

    def one(self, tag: int, default: int) -> int:
        """The first value of a tag."""
        values = self.values.get(tag)
        return values[0] if values else default


def walk(data: bytes | memoryview, limits: Limits) -> Iterator[Directory]:
    """Every directory in the order of the chain.

    Raises ImageryError: not_a_tiff; truncated for what points past the end; corrupt for a loop, a tag given twice,
    tags that share their values' bytes or hold what they cannot mean; image_too_large for more than the limits allow.
    """
    order = {b"II": "<", b"MM": ">"}.get(bytes(data[:2]), "")
    magic = int.from_bytes(data[2:4], "little" if order == "<" else "big")
    if not order or magic not in (42, 43):
        raise ImageryError("not_a_tiff", "The tile does not begin like a TIFF; send a GeoTIFF.")
    layout = _BIG if magic == 43 else _CLASSIC
    try:
        yield from _Walk(data, order, layout, limits).directories()
    except struct.error:  # struct's word for reading past the end
        raise truncated() from None


@dataclass(frozen=True)
class _Layout:
    """Where the two kinds of TIFF differ, in struct's letters and bytes."""

    first: int  # place of the first directory's offset
    offset: str
    inline: int  # values up to this size stand in the entry itself
    count: str
    count_size: int
    entry: str
    entry_size: int


_CLASSIC = _Layout(first=4, offset="I", inline=4, count="H", count_size=2, entry="HHI", entry_size=12)
_BIG = _Layout(first=8, offset="Q", inline=8, count="Q", count_size=8, entry="HHQ", entry_size=20)


@dataclass
class _Walk:
    data: bytes | memoryview
    order: str
    layout: _Layout
    limits: Limits
    value_bytes: int = 0  # so far, of all directories; those within the entries aside
    metadata_bytes: int = 0  # so far, of all directories
    places: int = 0  # of strips and tiles, and their sizes, so far, of all directories

    def read(self, form: str, at: int) -> tuple[int, ...]:
        """Numbers at a place in the file. Raises struct.error past its end."""
        if at > len(self.data):  # where struct would want an integer of the machine's width
            raise struct.error
        return struct.unpack_from(self.order + form, self.data, at)

    def directories(self) -> Iterator[Directory]:
        layout, limits = self.layout, self.limits
        if layout is _BIG and self.read("HH", 4) != (8, 0):
            raise corrupt("its offsets are not 8 bytes wide, as a BigTIFF's must be")
        (at,) = self.read(layout.offset, layout.first)
        seen: set[int] = set()
        entries = 0
        while at:
            if at in seen:
                raise corrupt("its directories form a loop")
            seen.add(at)
            refuse_over(len(seen), limits, "max_directories", "{} directories (pages, overviews and masks)")
            (count,) = self.read(layout.count, at)
            entries += count
            refuse_over(entries, limits, "max_entries", "{} tags")
            first = at + layout.count_size
            end = first + count * layout.entry_size
            yield self.directory(range(first, end, layout.entry_size))
            (at,) = self.read(layout.offset, end)

    def directory(self, places: range) -> Directory:
        directory, seen = Directory(), set()
        for at in places:
            tag, kind, count = self.read(self.layout.entry, at)
            if tag in seen and tag not in _TEXTS:
                raise corrupt(f"tag {tag} is there twice")
            seen.add(tag)
            size = count * _SIZES.get(kind, 1)
            value_at = at + self.layout.entry_size - self.layout.inline
            if size > self.layout.inline:
                (value_at,) = self.read(self.layout.offset, value_at)
                self.value_bytes += size
            if value_at + size > len(self.data):
                raise truncated()
            if self.value_bytes > len(self.data):  # libtiff copies the values of every tag: 300 of 8 MB each took 2 GB
                raise corrupt("its tags share their values' bytes")
            if tag in _METADATA:
                self.metadata_bytes += size
                refuse_over(self.metadata_bytes, self.limits, "max_metadata_bytes", "{} bytes of metadata")
                if tag == GDAL_METADATA:
                    directory.gdal_metadata = bytes(self.data[value_at : value_at + size])
                elif tag in GEO_KEYS:
                    value = bytes(self.data[value_at : value_at + size])
                    directory.geo_keys += ((self.order, tag, kind, value),)
            elif tag in _WHOLE_NUMBERS:
                directory.values[tag] = self.whole_numbers(tag, kind, count, value_at)
        return directory

    def whole_numbers(self, tag: int, kind: int, count: int, at: int) -> tuple[int, ...]:
        """The values of a tag that says what an image needs; of one that has a single value, this one."""
        if tag in _ONE_A_BAND:
            refuse_over(count, self.limits, "max_bands", "{} bands")
        elif tag in TABLES:
            self.places += count
            refuse_over(-(-self.places // 2), self.limits, "max_blocks", "{} strips or tiles")
        if kind not in _INTEGERS or not count:  # libtiff reads signed ones, too: none may be read otherwise than here
            raise corrupt(f"tag {tag} has {count} values of type {kind}")
        return self.read(f"{1 if tag in _SINGLE else count}{_INTEGERS[kind]}", at)


def refuse_over(value: int, limits: Limits, name: str, what: str, code: str = "image_too_large") -> None:
    """Raises ImageryError if a file has more of something than the limit of this name."""
    limit = getattr(limits, name)
    if value > limit:
        raise ImageryError(code, f"The file has {what.format(value)}; at most {limit} can be read.", {name: limit})


def corrupt(why: str) -> ImageryError:
    """A TIFF that contradicts itself."""
    return ImageryError("corrupt", f"The file cannot be read as an image: {why}.")


def truncated() -> ImageryError:
    """A TIFF that points past its own end."""
    return ImageryError("truncated", "The file ends before its image data does; send it again, whole.")
