"""Compressed data that is not what the directory says: of no known codec, random, or larger than its block."""

from __future__ import annotations

import lzma
import zlib
from collections.abc import Iterator
from io import BytesIO

import numpy as np
from PIL import Image

from service.imagery.tiff.header import CODECS
from tests.corpus.cases import OK, Case
from tests.corpus.tiff import (
    COMPRESSION,
    HEIGHT,
    ROWS_PER_STRIP,
    SHORT,
    STRIP_BYTES,
    STRIP_OFFSETS,
    UNDEFINED,
    WIDTH,
    Page,
    Tag,
    altered,
    image,
    tiff,
    value_of,
)  # fmt: skip
from tests.imagery import geotiff, reflectance

WRITTEN = {
    "LZW": {"compress": "lzw", "predictor": 2},
    "Deflate": {"compress": "deflate", "predictor": 2},
    "PackBits": {"compress": "packbits"},
    "LZMA": {"compress": "lzma"},
    "ZSTD": {"compress": "zstd"},
    "LERC": {"compress": "lerc"},
    "LERC with ZSTD": {"compress": "lerc_zstd"},
    "JPEG": {"compress": "jpeg", "photometric": "YCbCr"},
    "WebP": {"compress": "webp", "WEBP_LOSSLESS": "YES"},
}
OF_BYTES = ("JPEG", "WebP")
UNDECODABLE = ("corrupt",)
KNOWN_TO_LIBTIFF = (2, 3, 4, 6, 32766, 32771, 32809, 32895, 34676, 34677, 34712, 50002)


def good(codec: str, side: int = 128) -> bytes:
    """A file of one strip."""
    values = reflectance(side=side)
    if codec in OF_BYTES:
        values = (values // 10).astype(np.uint8)
    return geotiff(values, blockysize=side, **WRITTEN[codec])


def cases() -> Iterator[Case]:
    for number in (*KNOWN_TO_LIBTIFF, 0, 9, 999, 65_535):
        yield Case("unknown codec", f"number {number}", tiff(image(codec=number)), ("unsupported_codec",))
    for codec in WRITTEN:
        yield Case("every codec", codec, good(codec), (OK,))
        yield from _lies(codec)
        yield from _random(codec)
    yield from _made_by_hand()


def _lies(codec: str) -> Iterator[Case]:
    """The same payload in an image of another size."""
    data = good(codec)
    for side in (16, 64, 2000):
        other = altered(altered(altered(data, WIDTH, side), HEIGHT, side), ROWS_PER_STRIP, side)
        # What yields too many bytes is cut off by most codecs and refused by some; none may write past its block.
        yield Case("payload of another size", f"{codec}, 128² as {side}²", other, (OK, *UNDECODABLE))
    for number in CODECS:
        other = altered(data, COMPRESSION, number)
        if number not in (1, 32773) and other != data:
            yield Case("payload of another codec", f"{codec} as {CODECS[number]} ({number})", other, (OK, *UNDECODABLE))
    cut = altered(data, STRIP_BYTES, 40)
    yield Case("payload cut", f"{codec}, 40 bytes of its strip", cut, UNDECODABLE)


def _random(codec: str) -> Iterator[Case]:
    """Random bytes in place of the payload, all of it or its end."""
    chance = np.random.default_rng(len(codec))
    data = good(codec, side=64)
    first, size = value_of(data, STRIP_OFFSETS), value_of(data, STRIP_BYTES)
    for kept in (0, 12, size // 2):
        noise = data[: first + kept] + chance.bytes(size - kept) + data[first + size :]
        codes = (OK, *UNDECODABLE, "no_valid_pixels")
        yield Case("random bytes", f"{codec}, after {kept} of {size}", noise, codes)
    number = next(number for number, name in CODECS.items() if name == codec.split()[0])
    for size in (1, 100, 20_000):
        page = image(64, 64, codec=number, blocks=[chance.bytes(size)])
        yield Case("random bytes", f"{codec}, {size}", tiff(page), (OK, *UNDECODABLE))


def _made_by_hand() -> Iterator[Case]:
    kind = "payload made by hand"
    yield Case(
        kind,
        "LZMA, dictionary of 1.5 GB",
        tiff(image(codec=34925, blocks=[with_dictionary_of_1_5_gb()])),
        (OK, *UNDECODABLE, "image_too_large"),
    )
    yield Case(
        kind, "Deflate of 100 MB", tiff(image(codec=8, blocks=[zlib.compress(bytes([90]) * 10**8)])), (OK, *UNDECODABLE)
    )
    stored = b"\x78\x01" + b"\0\0\0\xff\xff" * 400_000 + zlib.compress(bytes([90]) * 768)[2:]
    yield Case(kind, "Deflate, 400,000 blocks of nothing", tiff(image(codec=8, blocks=[stored])), (OK, *UNDECODABLE))
    packed = b"\x80" * 2_000_000 + (bytes([129]) + b"Z") * 6
    yield Case(kind, "PackBits, 2,000,000 times nothing", tiff(image(codec=32773, blocks=[packed])), (OK, *UNDECODABLE))
    clears = b"\x80\0" + b"\x40\x20\x10\x08\x04\x02\x01\0\x80" * 100_000
    yield Case(kind, "LZW, nothing but clear codes", tiff(image(codec=5, blocks=[clears])), UNDECODABLE)
    jpeg = jpeg_of(2000)
    yield Case(kind, "JPEG of 2000² in a tile of 16²", tiff(jpeg_page(16, jpeg)), (OK, *UNDECODABLE))
    lying = jpeg.replace((2000).to_bytes(2) * 2, (65_500).to_bytes(2) * 2)
    yield Case(kind, "JPEG that claims 65,500²", tiff(jpeg_page(16, lying)), (OK, *UNDECODABLE))
    yield Case(kind, "JPEG, progressive, 2,000 scans", tiff(jpeg_page(2000, many_scans(2000, 2000))), UNDECODABLE)
    yield Case(
        kind,
        "JPEG tables that are none",
        tiff(jpeg_page(16, jpeg_of(16), t347=Tag(UNDEFINED, bytes(300)))),
        (OK, *UNDECODABLE),
    )
    for bits in ((12, 12, 12), (16, 16, 16), (1, 1, 1)):
        wrong = jpeg_page(16, jpeg_of(16), t258=Tag(SHORT, bits))
        yield Case(kind, f"JPEG of 8 bits as {bits[0]}", tiff(wrong), (*UNDECODABLE, "unsupported_dtype", OK))


def with_dictionary_of_1_5_gb() -> bytes:
    """An XZ stream that asks for it, though it has 768 bytes to tell; its fields as in the format's section 3."""
    whole = bytearray(lzma.compress(bytes([90]) * 768))
    length = 4 * (whole[12] + 1)
    whole[16] = 37
    whole[12 + length - 4 : 12 + length] = zlib.crc32(whole[12 : 12 + length - 4]).to_bytes(4, "little")
    return bytes(whole)


def jpeg_of(side: int, **options: bool) -> bytes:
    file = BytesIO()
    Image.new("RGB", (side, side), (90, 80, 70)).save(file, "JPEG", **options)
    return file.getvalue()


def many_scans(side: int, scans: int) -> bytes:
    """A progressive JPEG of one colour whose last scan comes again and again."""
    whole = jpeg_of(side, progressive=True)
    last = whole.rindex(b"\xff\xda")
    return whole[:-2] + whole[last:-2] * scans + b"\xff\xd9"


def jpeg_page(side: int, payload: bytes, **tags: Tag) -> Page:
    return image(side, side, codec=7, photometric=6, blocks=[payload], **tags)
