"""What a TIFF's directories say of its image, and whether that is within the limits: before GDAL sees a byte.

Terms: TIFF 6.0, sections 8 and 15; GDAL's GTiff driver for what the codecs are called.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from operator import add

from service.imagery.errors import ImageryError
from service.imagery.tiff import directories as tags
from service.imagery.tiff.directories import Directory, GeoKeys, corrupt, refuse_over, truncated
from service.imagery.tiff.limits import Limits

CODECS = {
    1: "none", 5: "LZW", 7: "JPEG", 8: "Deflate", 32773: "PackBits", 32946: "Deflate", 34887: "LERC", 34925: "LZMA",
    50000: "ZSTD", 50001: "WebP",
}  # fmt: skip
MOST_BITS = 64  # of a sample
IS_OVERVIEW, IS_MASK = 1, 4  # bits of the tag NewSubfileType
PALETTE, INDEX_BITS = 3, 8
ALL_ROWS = 2**32 - 1  # RowsPerStrip by default
SHARED_BYTES = 64_000_000  # of strips or tiles, encoded, where they overlap: some writers store equal tiles once


@dataclass(frozen=True)
class Header:
    """The first image of a TIFF as its directory describes it."""

    width: int  #: pixels
    height: int  #: pixels
    bands: int  #: samples of a pixel
    bits: int  #: of a sample, 1–64
    photometric: int  #: 1 is grey, 2 RGB, 3 a palette, 5 CMYK, 6 YCbCr
    block_bytes: int  #: of a strip or tile, decoded
    blocks: int  #: strips or tiles
    images: int  #: pages of the file that are neither overview nor mask
    gdal_metadata: bytes  #: XML of GDAL's own tag; empty without it
    geo_keys: GeoKeys = ()  #: as the file has them: what names its reference system

    @property
    def pixels(self) -> int:
        """width × height."""
        return self.width * self.height

    @property
    def decoded_bytes(self) -> int:
        """Of all strips or tiles, their padding included."""
        return self.blocks * self.block_bytes


def read(data: bytes | memoryview, limits: Limits) -> Header:
    """The header of a TIFF that is all there and asks for nothing over the limits; about 0.1 ms for a patch.

    Classic TIFF and BigTIFF, in both byte orders. Every directory is looked at, since a reader may follow them all.
    Raises ImageryError: empty_body, not_a_tiff; truncated for what points past the end; corrupt for what makes no
    image; unsupported_codec, unsupported_dtype; image_too_large, block_too_large with the limit.
    """
    if not data:
        raise ImageryError("empty_body", "The tile is empty; send the bytes of a GeoTIFF.")
    pages = list(tags.walk(data, limits))
    if not pages:
        raise corrupt("it has no directory")
    pages = [page for page in pages if page is pages[0] or _has_an_image(page)]
    headers = [_header(page, len(data), limits) for page in pages]
    refuse_over(sum(header.blocks for header in headers), limits, "max_blocks", "{} strips or tiles")
    kinds = [page.one(tags.SUBFILE_TYPE, 0) & (IS_OVERVIEW | IS_MASK) for page in pages]
    for page, kind in zip(pages, kinds, strict=True):
        if page is pages[0] or kind & IS_MASK:
            _refuse_codec(page)
    if headers[0].photometric == PALETTE and headers[0].bits > INDEX_BITS:  # GDAL takes 25 ms to list 65,536 colours
        raise ImageryError("unsupported_dtype", "A palette of more than 256 colours cannot be read; send its colours.")
    return replace(headers[0], images=max(1, kinds.count(0)))


def _has_an_image(page: Directory) -> bool:
    """False for a directory of texts alone, as some writers append one."""
    return not page.values.keys().isdisjoint({tags.WIDTH, tags.HEIGHT, *tags.TABLES})


def _header(page: Directory, file_size: int, limits: Limits) -> Header:
    width, height, bands = page.one(tags.WIDTH, 0), page.one(tags.HEIGHT, 0), page.one(tags.BANDS, 1)
    if not (width and height and bands):
        raise corrupt(f"it has {width} × {height} pixels of {bands} bands")
    if page.one(tags.DEPTH, 1) != 1 or page.one(tags.TILE_DEPTH, 1) != 1:
        raise ImageryError("unsupported_dtype", "The file holds a volume; send one image of it.")
    refuse_over(width * height, limits, "max_pixels", f"{width} × {height} = {{}} pixels")
    refuse_over(bands, limits, "max_bands", "{} bands")
    bits = _bits(page)
    is_tiled = not page.values.keys().isdisjoint((tags.TILE_WIDTH, tags.TILE_HEIGHT))
    if is_tiled:
        block_width, block_height = page.one(tags.TILE_WIDTH, 0), page.one(tags.TILE_HEIGHT, 0)
    else:
        block_width, block_height = width, min(page.one(tags.ROWS_PER_STRIP, ALL_ROWS), height)
    if not (block_width and block_height):
        raise corrupt(f"its strips or tiles are {block_width} × {block_height} pixels")
    is_planar = page.one(tags.PLANAR, 1) == 2
    samples = 1 if is_planar else bands
    header = Header(
        width=width,
        height=height,
        bands=bands,
        bits=bits,
        photometric=page.one(tags.PHOTOMETRIC, 1),
        block_bytes=-(-block_width * samples * bits // 8) * block_height,
        blocks=-(-width // block_width) * -(-height // block_height) * (bands if is_planar else 1),
        images=1,
        gdal_metadata=page.gdal_metadata,
        geo_keys=page.geo_keys,
    )
    refuse_over(header.block_bytes, limits, "max_block_bytes", "{} bytes in a strip or tile", "block_too_large")
    refuse_over(header.decoded_bytes, limits, "max_decoded_bytes", "{} bytes, decoded")
    refuse_over(header.blocks, limits, "max_blocks", "{} strips or tiles")
    _check_blocks(page, header.blocks, file_size)
    return header


def _bits(page: Directory) -> int:
    widths = set(page.values.get(tags.BITS, (1,)))
    if len(widths) > 1 or not 1 <= min(widths) <= MOST_BITS:
        raise ImageryError(
            "unsupported_dtype",
            f"The file has samples of {', '.join(map(str, sorted(widths)[:8]))} bits; send bands of one type.",
        )
    return widths.pop()


def _check_blocks(page: Directory, blocks: int, file_size: int) -> None:
    offsets = _table(page, tags.TILE_OFFSETS, tags.STRIP_OFFSETS)
    sizes = _table(page, tags.TILE_BYTES, tags.STRIP_BYTES)
    if not sizes and (blocks == 1 or page.one(tags.COMPRESSION, 1) == 1):  # libtiff can tell what they must be
        sizes = [0] * len(offsets)
    if min(len(offsets), len(sizes)) < blocks:
        raise corrupt(f"it has {blocks} strips or tiles and says of {min(len(offsets), len(sizes))} where they are")
    if max(map(add, offsets, sizes)) > file_size:
        raise truncated()
    if sum(sizes) > max(file_size, SHARED_BYTES):  # 250,000 strips in the same 1 MB took minutes
        raise corrupt("its strips or tiles overlap")


def _table(page: Directory, of_tiles: int, of_strips: int) -> Sequence[int]:
    if of_tiles in page.values and of_strips in page.values:  # libtiff has one place for both: the last one counts
        raise corrupt("it says twice where its strips or tiles are")
    return page.values.get(of_tiles) or page.values.get(of_strips) or ()


def _refuse_codec(page: Directory) -> None:
    codec = page.one(tags.COMPRESSION, 1)
    if codec not in CODECS:
        known = ", ".join(dict.fromkeys(CODECS.values()))
        detail = f"The file is compressed with codec {codec} of TIFF; the codecs that are read are {known}."
        raise ImageryError("unsupported_codec", detail)
