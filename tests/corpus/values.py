"""TIFFs that are whole, but whose values, georeference or names mean nothing or cannot be used."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator

import numpy as np
from affine import Affine

from tests.corpus.cases import OK, Case
from tests.corpus.sizes import CRS_KEYS, xml
from tests.corpus.tiff import ASCII, DOUBLE, FLOAT, SHORT, Page, Tag, image, tiff
from tests.imagery import geotiff, reflectance

SCALE = Tag(DOUBLE, [10.0, 10.0, 0.0])


def cases() -> Iterator[Case]:
    yield from _types()
    yield from _places()
    yield from _names()


def _types() -> Iterator[Case]:
    kind = "types of values"
    for dtype in ("complex64", "complex128", "int64", "uint64", "int8"):
        yield Case(kind, dtype, geotiff(reflectance().astype(dtype)), ("unsupported_dtype",))
    whole = image(bits=(32,) * 3, t339=Tag(SHORT, [5] * 3))
    yield Case(kind, "complex whole numbers", tiff(whole), ("unsupported_dtype",))
    for bits in (0, 65, 128, 65_535):
        yield Case(kind, f"{bits} bits", tiff(image(bits=(bits,) * 3)), ("unsupported_dtype",))
    for bits in ((8, 8, 16), (8, 16, 32), (1, 8, 8)):
        yield Case(kind, f"bands of {bits} bits", tiff(image(bits=bits)), ("unsupported_dtype",))
    for bits in (2, 7, 17, 24, 48, 63):
        codes = (OK, "unsupported_dtype", "corrupt")
        yield Case(kind, f"{bits} bits", tiff(image(bits=(bits,) * 3)), codes)
    half = image(bits=(16,) * 3, blocks=[b"\xff\x7f" * 768], t339=Tag(SHORT, [3] * 3))
    yield Case(kind, "half floats of NaN", tiff(half), ("no_valid_pixels", "unsupported_dtype"))
    for name, value in {"NaN": math.nan, "infinity": math.inf, "the largest": 3.4e38, "the smallest": 1e-45}.items():
        data = geotiff(np.full((3, 120, 120), value, np.float32))
        yield Case(kind, f"floats that are {name}", data, ("no_valid_pixels", "scale_ambiguous", OK))
    yield Case(
        kind, "nothing but nodata", geotiff(np.full((3, 120, 120), 7, np.uint16), nodata=7), ("no_valid_pixels",)
    )
    for text in (b"nan\0", b"1e999\0", b"-1e999\0", b"9" * 400 + b"\0", b"\xff\xfe\0", b"\0"):
        yield Case(kind, f"nodata {text[:8]!r}", tiff(image(t42113=Tag(ASCII, text))), (OK,))
    for role in ("scale", "offset"):
        for value in ("nan", "inf", "-inf", "1e308", "0", "-1", "1e-320", "9" * 300, "\N{SNOWMAN}"):
            said = "".join(f'<Item name="A" sample="{i}" role="{role}">{value}</Item>' for i in range(3))
            page = image(t42112=xml(said))
            yield Case(kind, f"{role} {value[:8]}", tiff(page), (OK, "scale_ambiguous"))


def _places() -> Iterator[Case]:
    kind = "georeference"
    for name, matrix in {
        "NaN": [math.nan] * 6, "infinite": [math.inf] * 6, "0": [0.0] * 6, "1e308": [1e308] * 6,
        "one NaN": [10, 0, 400_000, 0, math.nan, 5e6], "flat": [10, 10, 400_000, 10, 10, 5e6],
        "far away": [1e20, 0, 1e30, 0, -1e20, 1e30],
    }.items():  # fmt: skip
        yield Case(kind, f"a transform that is {name}", geotiff(reflectance(), transform=Affine(*matrix)), (OK,))
        a, b, c, d, e, f = matrix
        whole = Tag(DOUBLE, [a, b, 0, c, d, e, 0, f, 0, 0, 0, 0, 0, 0, 0, 1])
        yield Case(kind, f"a matrix that is {name}", tiff(image(t34264=whole, t34735=Tag(SHORT, CRS_KEYS))), (OK,))
    for name, tags in {
        "tie points of floats": {"t33922": Tag(FLOAT, [1.0] * 6)},
        "five numbers of a tie point": {"t33922": Tag(DOUBLE, [1.0] * 5), "t33550": SCALE},
        "pixels of size 0": {"t33922": Tag(DOUBLE, [0.0] * 6), "t33550": Tag(DOUBLE, [0.0] * 3)},
        "geo keys of an odd number": {"t34735": Tag(SHORT, CRS_KEYS[:7])},
        "geo keys of version 9": {"t34735": Tag(SHORT, [9, 9, 9, *CRS_KEYS[3:]])},
        "geo keys as text": {"t34735": Tag(ASCII, b"EPSG:32633\0")},
        "rational polynomials of NaN": {"t50844": Tag(DOUBLE, [math.nan] * 92)},
        "three rational polynomials": {"t50844": Tag(DOUBLE, [1.0] * 3)},
    }.items():
        yield Case(kind, name, tiff(image(**tags)), (OK, "corrupt"))
    for code in (0, 1, 4978, 32_633, 32_767, 5773, 7789, 65_535):
        for key in (3072, 2048, 4096):  # projected, geographic, vertical
            keys = Tag(SHORT, [1, 1, 0, 2, 1024, 0, 1, 1 if key == 3072 else 2, key, 0, 1, code])
            page = image(t34735=keys, t33922=Tag(DOUBLE, [0, 0, 0, 4e5, 5e6, 0]), t33550=SCALE)
            yield Case("reference systems", f"key {key} is {code}", tiff(page), (OK,))
    for name, text in {
        "nonsense": b"the moon", "no text": b"", "percent signs": b"%s%n%x" * 50, "no UTF-8": b"\xff" * 100,
        "open brackets": b"ESRI PE String = " + b'PROJCS["a",' * 4000,
        "a projection of NaN": b"ESRI PE String = " + wkt("nan"), "of infinity": b"ESRI PE String = " + wkt("1e999"),
        "400 digits": b"ESRI PE String = " + wkt("9" * 400),
    }.items():  # fmt: skip
        codes = ("corrupt",) if name == "no UTF-8" else (OK,)
        yield Case("reference systems", name, tiff(described(text)), codes)


def wkt(number: str, more: str = "") -> bytes:
    """Universal Transverse Mercator around some meridian."""
    return (
        'PROJCS["a",GEOGCS["b",DATUM["c",SPHEROID["d",6378137,298.257223563]],PRIMEM["Greenwich",0],'
        'UNIT["Degree",0.0174532925199433]],PROJECTION["Transverse_Mercator"],PARAMETER["False_Easting",500000],'
        f'PARAMETER["Central_Meridian",{number}],PARAMETER["Scale_Factor",0.9996],UNIT["Meter",1]{more}]'
    ).encode()


def described(text: bytes) -> Page:
    """An image whose projection is told by a text."""
    text += b"|\0"
    keys = [1, 1, 0, 3, 1024, 0, 1, 1, 3072, 0, 1, 32_767, 3073, 34_737, len(text) - 1, 0]
    return image(
        t34735=Tag(SHORT, keys), t34737=Tag(ASCII, text), t33922=Tag(DOUBLE, [0, 0, 0, 4e5, 5e6, 0]), t33550=SCALE
    )


def _names() -> Iterator[Case]:
    kind = "names of bands"
    values = reflectance()
    for what, names in {
        "line breaks": ["a\nb", "c\r\nd", "e\te"], "200 kB": ["a" * 200_000] * 3, "quotes": ['"', "'", "\\"],
        "terminal codes": ["\x1b[31m", "\x07", "\x9b"], "markup": ["<script>", "&amp;", "]]>"], "NUL": ["\0"] * 3,
    }.items():  # fmt: skip
        codes = {"200 kB": "image_too_large"} | dict.fromkeys(
            ("quotes", "markup", "terminal codes"), "band_mapping_required"
        )
        yield Case(kind, what, geotiff(values, names=names), (codes.get(what, OK),))
    for count, code in {3: OK, 5: "band_mapping_required"}.items():
        halves = {"bands": json.dumps([{"name": "\ud800x"}] * count)}
        yield Case(kind, f"{count} halves of surrogate pairs", geotiff(reflectance(bands=count), tags=halves), (code,))
    yield Case(
        kind, "one name thrice", geotiff(values, names=["B04"] * 3), ("duplicate_bands", "band_mapping_required")
    )
    yield Case(kind, "others than asked for", geotiff(values, names=["B08", "B11", "B12"]), ("band_mapping_required",))
    for bands, code in {
        1: "band_count",
        2: "band_count",
        4: "band_mapping_required",
        13: "band_mapping_required",
    }.items():
        yield Case(kind, f"{bands} without", geotiff(reflectance(bands=bands)), (code,))
    yield Case(kind, "7 × 7", geotiff(reflectance(side=7)), ("too_small",))
