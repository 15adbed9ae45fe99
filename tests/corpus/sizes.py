"""TIFFs that ask for far more than they are: memory, time, patience."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np

from service.imagery.tiff.header import CODECS
from tests.corpus.cases import OK, Case
from tests.corpus.tiff import ASCII, DOUBLE, SHORT, Tag, image, tiff
from tests.imagery import geotiff

CRS_KEYS = [1, 1, 0, 1, 3072, 0, 1, 32633]
NOTHING = "16 million pixels of nothing"


def cases() -> Iterator[Case]:
    yield from _pixels()
    yield from _text()
    yield from _tables()
    yield from constant_scenes()


def _pixels() -> Iterator[Case]:
    kind = "more than a machine has"
    too_large = ("image_too_large",)
    yield Case(kind, "65,529 bands", tiff(image(bands=65_529, bits=(8,), photometric=1)), too_large)
    yield Case(kind, "65,529 planes", tiff(image(bands=65_529, bits=(8,), photometric=1, planar=2)), too_large)
    for codec, name in CODECS.items():
        huge = image(100_000, 100_000, tile=(512, 512), codec=codec, blocks=[b"x"])
        yield Case(kind, f"100,000 × 100,000 in {name} ({codec})", tiff(huge, big=True), too_large)
    yield Case(kind, "2^32 - 1 squared", tiff(image(2**32 - 1, 2**32 - 1, blocks=[b"x"])), too_large)
    yield Case(kind, "a billion columns of one row", tiff(image(10**9, 1, blocks=[b"x"])), too_large)
    in_one = ("block_too_large",)
    one = image(1, 1, tile=(40_000, 40_000), blocks=[b"x"], codec=8)
    yield Case(kind, "one tile of 40,000 × 40,000 around one pixel", tiff(one), in_one)
    yield Case(kind, "a tile 2^32 - 16 wide", tiff(image(tile=(2**32 - 16, 16))), in_one)
    yield Case(kind, "tiles of 2^31 squared", tiff(image(tile=(2**31, 2**31))), in_one)
    deep = image(4000, 4000, bands=300, bits=(8,) * 300, photometric=1, blocks=[b"x"], codec=8)
    yield Case(kind, "4.8 GB in a strip", tiff(deep), in_one)
    rows = image(4000, 4000, bands=300, bits=(8,) * 300, photometric=1, rows=16, blocks=[b"x"], codec=8)
    yield Case(kind, "4.8 GB in strips", tiff(rows), too_large)
    padded = image(600_000, 20, tile=(16, 300_000), blocks=[b"x"], codec=8)
    yield Case(kind, "tiles a hundred times as high as the image", tiff(padded), too_large)
    yield Case(kind, "2^32 - 1 rows a strip", tiff(image(rows=2**32 - 1)), (OK,))  # TIFF 6.0's own default
    narrow = image(1_000_000, 16, tile=(1, 1), blocks=[b"x"])
    yield Case(kind, "16 million tiles of one pixel", tiff(narrow), too_large)


def _text() -> Iterator[Case]:
    kind = "metadata"
    items = "".join(f'<Item name="key{i:x}">1</Item>' for i in range(60_000))
    yield Case(kind, "60,000 items", tiff(image(t42112=xml(items))), ("image_too_large",))
    once = xml(items[:500_000].rpartition("<")[0])
    yield Case(kind, "60,000 items, over 30 directories", tiff(*[image(t42112=once)] * 30), ("image_too_large",))
    yield Case(kind, "10,000 items", tiff(image(t42112=xml(items[: items.index("key2710")] + '"/>'))), (OK,))
    yield Case(
        kind, "170,000 elements within each other", tiff(image(t42112=Tag(ASCII, b"<a>" * 170_000 + b"\0"))), (OK,)
    )
    yield Case(
        kind, "no end of an attribute", tiff(image(t42112=Tag(ASCII, b'<a b="' + b"c" * 400_000 + b"\0"))), (OK,)
    )
    names = "abcdefghij"
    entities = "".join(f'<!ENTITY {after} "{f"&{name};" * 10}">' for name, after in itertools.pairwise(names))
    laughs = f'<!DOCTYPE a [<!ENTITY a "ha">{entities}]>'
    bomb = Tag(ASCII, (laughs + "<GDALMetadata><Item name='a'>&j;</Item></GDALMetadata>\0").encode())
    yield Case(kind, "entities that unfold to 2 GB", tiff(image(t42112=bomb)), (OK,))
    scale = (
        '<Item name="SCALE" sample="0" role="scale">&j;</Item><Item name="OFFSET" sample="0" role="offset">&j;</Item>'
    )
    bomb = Tag(ASCII, (laughs + f"<GDALMetadata>{scale}</GDALMetadata>\0").encode())
    yield Case(kind, "a scale that unfolds to 2 GB", tiff(image(t42112=bomb)), (OK, "scale_ambiguous"))
    yield Case(kind, "not closed", tiff(image(t42112=Tag(ASCII, b"<GDALMetadata><Item name='a'>1"))), (OK,))
    yield Case(kind, "bytes that are no text", tiff(image(t42112=Tag(ASCII, bytes(range(256)) * 20))), (OK,))
    yield Case(kind, "a description of 5 MB", tiff(image(t270=Tag(ASCII, b"a" * 5_000_000 + b"\0"))), (OK,))
    nameless = xml('<Item name="DESCRIPTION" sample="99999999999" role="description">B04</Item>' * 3)
    yield Case(kind, "a description of a band that is not there", tiff(image(t42112=nameless)), (OK,))


def xml(items: str) -> Tag:
    return Tag(ASCII, f"<GDALMetadata>{items}</GDALMetadata>\0".encode())


def _tables() -> Iterator[Case]:
    kind = "tables"
    palette = Tag(SHORT, list(range(65_536)) * 3)
    wide = image(bands=1, bits=(16,), photometric=3, t320=palette)
    yield Case(kind, "65,536 colours", tiff(wide), ("unsupported_dtype",))
    yield Case(
        kind,
        "colours for 8 of 16 bits",
        tiff(image(bands=1, bits=(16,), photometric=3, t320=Tag(SHORT, [7] * 768))),
        ("unsupported_dtype",),
    )
    yield Case(
        kind,
        "a colour",
        tiff(image(bands=1, bits=(8,), photometric=3, t320=Tag(SHORT, [7] * 3))),
        ("corrupt", "unsupported_dtype", OK, "band_count"),
    )
    yield Case(kind, "no colours", tiff(image(bands=1, bits=(8,), photometric=3)), ("corrupt", "band_count"))
    yield Case(kind, "50,000 tie points", tiff(image(t33922=Tag(DOUBLE, [1.0] * 300_000))), ("image_too_large",))
    yield Case(
        kind, "10,000 tie points", tiff(image(t33922=Tag(DOUBLE, [float(i % 97) for i in range(60_000)]))), (OK,)
    )
    many = [1, 1, 0, 60_000] + [v for i in range(60_000) for v in (1024 + i, 0, 1, 1)]
    yield Case(kind, "60,000 geo keys", tiff(image(t34735=Tag(SHORT, many))), (OK,))
    more = [1, 1, 0, 65_535, *CRS_KEYS[4:]]
    yield Case(kind, "geo keys that claim to be 65,535", tiff(image(t34735=Tag(SHORT, more))), (OK,))
    texts = [1, 1, 0, 60_000] + [v for i in range(60_000) for v in (1024 + i, 34737, 60_000, 0)]
    long = image(t34735=Tag(SHORT, texts), t34737=Tag(ASCII, b"a" * 40_000))
    yield Case(kind, "60,000 geo keys with a text of 40 kB each", tiff(long), ("image_too_large", OK))


def constant_scenes() -> Iterator[Case]:
    """Small files of many pixels that pass the walk, as they should: what they cost is what a good one costs."""
    for codec in ("deflate", "lzw", "zstd", "lerc", "packbits", "webp", "jpeg"):
        of_bytes = {"photometric": "RGB", "WEBP_LOSSLESS": "YES"} if codec in ("webp", "jpeg") else {}
        scene = np.zeros((3, 4000, 4000), np.uint8 if of_bytes else np.uint16)
        data = geotiff(scene, compress=codec, nodata=0, tiled=True, blockxsize=512, blockysize=512, **of_bytes)
        yield Case(NOTHING, codec, data, ("no_valid_pixels",))
    padded = image(1, 1, tile=(9000, 9000), blocks=[b"x\x9c"], codec=8)
    yield Case(NOTHING, "a tile of 81 million around one pixel", tiff(padded), ("too_small", "corrupt"))
