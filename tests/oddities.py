"""GeoTIFFs that are odd and none the worse: every one is to be read as a plain read with rasterio reads it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from rasterio.control import GroundControlPoint
from rasterio.env import Env
from rasterio.io import MemoryFile
from rasterio.shutil import copy

from tests.imagery import PLACE, UTM_33N, geotiff, reflectance

SIDE = 120
TILES = {"tiled": True, "blockxsize": 32, "blockysize": 48}  # 120 is no multiple of 32 and 48
ZIP = {"compress": "deflate"}


class Oddity(NamedTuple):
    """A GeoTIFF of red, green and blue, with the options (of ReadOptions) that it is to be read with."""

    name: str
    data: bytes
    options: Mapping[str, Any] = MappingProxyType({})


@cache
def oddities() -> list[Oddity]:
    """One of each kind; 120 × 120 pixels, more than half of them valid."""
    return [*_layouts(), *_codecs(), *_types(), *_colours(), *_masks(), *_places()]


def _layouts() -> list[Oddity]:
    dn = reflectance(SIDE)
    return [
        Oddity("planar", geotiff(dn, interleave="band")),
        Oddity("one strip", geotiff(dn, blockysize=SIDE)),
        Oddity("tiles", geotiff(dn, **TILES)),
        Oddity("planar tiles", geotiff(dn, interleave="band", **TILES)),
        Oddity("BigTIFF", geotiff(dn, BIGTIFF="YES")),
        Oddity("big-endian", geotiff(dn, ENDIANNESS="BIG")),
        Oddity("big-endian BigTIFF of deflated tiles", geotiff(dn, ENDIANNESS="BIG", BIGTIFF="YES", **TILES, **ZIP)),
        Oddity("sparse", geotiff(np.where(np.arange(SIDE) < 64, dn, np.uint16(0)), SPARSE_OK="TRUE", **TILES)),
    ]


def _codecs() -> list[Oddity]:
    dn, photo = reflectance(SIDE), photograph()
    jpeg = {"compress": "jpeg", "interleave": "pixel"}
    return [
        *(
            Oddity(codec, geotiff(dn, compress=codec))
            for codec in ("lzw", "packbits", "zstd", "lzma", "lerc", "lerc_zstd", "lerc_deflate")
        ),
        Oddity("deflate, predictor 2", geotiff(dn, predictor=2, **ZIP)),
        Oddity("zstd of floats, predictor 3", geotiff(fractions(dn), compress="zstd", predictor=3)),
        Oddity("JPEG", geotiff(photo, **jpeg)),
        Oddity("YCbCr JPEG", geotiff(photo, photometric="YCBCR", **jpeg)),
        Oddity(
            "YCbCr JPEG in tiles", geotiff(photo, photometric="YCBCR", **jpeg, tiled=True, blockxsize=64, blockysize=64)
        ),
        Oddity("WebP", geotiff(photo, compress="webp", interleave="pixel")),
        Oddity("lossless WebP", geotiff(photo, compress="webp", WEBP_LOSSLESS="TRUE", interleave="pixel")),
        Oddity("YCbCr JPEG COG with overviews", cog(photo)),
    ]


def _types() -> list[Oddity]:
    dn = reflectance(SIDE)
    stored = (dn.astype(np.int32) * 2 - 2000).astype(np.int16)  # DN 200 is -1600
    return [
        Oddity("uint16 of 12 bits", geotiff(dn, NBITS=12, **ZIP)),
        Oddity("int16", geotiff(dn.astype(np.int16))),
        Oddity("int16 with scale and offset", geotiff(stored, scales=[5e-5] * 3, offsets=[0.1] * 3)),
        Oddity("uint16 with scale and offset", geotiff(dn + np.uint16(1000), scales=[1e-4] * 3, offsets=[-0.1] * 3)),
        Oddity("uint32", geotiff(dn.astype(np.uint32))),
        Oddity("int32", geotiff(dn.astype(np.int32))),
        Oddity("float16", geotiff(fractions(dn), NBITS=16)),
        Oddity("float32", geotiff(fractions(dn))),
        Oddity("float64", geotiff(dn / 10_000)),
        Oddity("float DN, said to be so", geotiff(dn.astype(np.float32)), {"scale": 1.0}),
        Oddity("uint16 with the offset of 2022", geotiff(dn + np.uint16(1000)), {"boa_offset": -1000}),
    ]


def _colours() -> list[Oddity]:
    photo = photograph()
    alpha = np.full((1, SIDE, SIDE), 255, np.uint8)
    alpha[0, :30] = 0
    return [
        Oddity("uint8", geotiff(photo)),
        Oddity("RGBA", geotiff(np.concatenate([photo, alpha]), photometric="RGB", alpha="YES")),
        Oddity(
            "RGBA of 16 bits",
            geotiff(np.concatenate([reflectance(SIDE), alpha * np.uint16(257)]), photometric="RGB", alpha="YES"),
        ),
        Oddity("palette", palette()),
        Oddity("palette with a transparent colour", palette(transparent=True)),
    ]


def _masks() -> list[Oddity]:
    dn, photo = reflectance(SIDE), photograph()
    is_hole = np.add.outer(np.arange(SIDE), np.arange(SIDE)) < 90
    is_hole_in_red = np.stack([is_hole, *np.zeros((2, SIDE, SIDE), bool)])
    floats = fractions(dn)
    return [
        Oddity("internal mask", masked(dn, ~is_hole)),
        Oddity("YCbCr JPEG with an internal mask", masked(photo, ~is_hole, compress="jpeg", photometric="YCBCR")),
        Oddity("nodata", geotiff(np.where(is_hole, np.uint16(0), dn), nodata=0)),
        Oddity("nodata in one band", geotiff(np.where(is_hole_in_red, np.uint16(65535), dn), nodata=65535)),
        Oddity("nodata below zero", geotiff(np.where(is_hole, np.int16(-9999), dn.astype(np.int16)), nodata=-9999)),
        Oddity("nodata out of the type's range", _with_nodata(geotiff(dn, nodata=12345), b"-9999")),
        Oddity("NaN for nodata", geotiff(np.where(is_hole, np.float32(np.nan), floats), nodata=np.nan)),
        Oddity("NaN that nobody told of", geotiff(np.where(is_hole, np.float32(np.nan), floats))),
        Oddity("infinity", geotiff(np.where(is_hole, np.float32(-np.inf), floats))),
        Oddity(
            "floats with a great nodata",
            geotiff(np.where(is_hole, np.float32(-3.4028235e38), floats), nodata=-3.4028234663852886e38),
        ),
    ]


def _places() -> list[Oddity]:
    dn = reflectance(SIDE)
    return [
        Oddity("south-up", geotiff(dn, transform=Affine(10, 0, PLACE.c, 0, 10, PLACE.f))),
        Oddity("rotated", geotiff(dn, transform=PLACE @ Affine.rotation(30))),
        Oddity("degrees", geotiff(dn, crs="EPSG:4326", transform=Affine(1e-4, 0, 13.7, 0, -1e-4, 48.2))),
        Oddity("without georeference", geotiff(dn, crs=None, transform=None)),
        Oddity("without a reference system", geotiff(dn, crs=None)),
        Oddity("control points in place of a transform", with_control_points(dn)),
    ]


def photograph() -> NDArray[np.uint8]:
    """3 × 120 × 120: what is smooth stays much the same in a lossy codec."""
    return (reflectance(SIDE) // 10).astype(np.uint8)


def fractions(dn: NDArray[np.uint16]) -> NDArray[np.float32]:
    """Reflectance from 0 to 1."""
    return (dn / 10_000).astype(np.float32)


def cog(photo: NDArray[np.uint8]) -> bytes:
    """As GDAL's COG driver lays one out: overviews first in the file, last in the chain."""
    with MemoryFile(geotiff(photo)) as source, source.open() as image, MemoryFile() as file:
        copy(image, file.name, driver="COG", compress="jpeg", blocksize=128, overview_count=1)
        return bytes(file.read())


def palette(*, transparent: bool = False) -> bytes:
    """Indices from 0 to 63 in a checkerboard, each for a colour of its own; index 0 for none, if `transparent`."""
    indices = np.kron(np.arange(64).reshape(8, 8), np.ones((15, 15), int)).astype(np.uint8)[None]
    colours = {i: (4 * i, 255 - 4 * i, 7 * i % 256, 0 if transparent and i == 0 else 255) for i in range(64)}
    with MemoryFile() as file:
        with file.open(**_profile(indices), photometric="palette", nodata=0 if transparent else None) as dataset:
            dataset.write(indices)
            dataset.write_colormap(1, colours)
        return bytes(file.read())


def masked(values: NDArray[Any], valid: NDArray[np.bool_], **options: Any) -> bytes:
    """With a mask inside the file."""
    with Env(GDAL_TIFF_INTERNAL_MASK=True), MemoryFile() as file:
        with file.open(**_profile(values), **options) as dataset:
            dataset.write(values)
            dataset.write_mask(valid)
        return bytes(file.read())


def with_control_points(values: NDArray[Any]) -> bytes:
    """Four of them, at the corners, and no transform."""
    corners = [(row, column) for row in (0, SIDE) for column in (0, SIDE)]
    points = [GroundControlPoint(row, column, PLACE.c + 10 * column, PLACE.f - 10 * row) for row, column in corners]
    profile = {key: value for key, value in _profile(values).items() if key not in ("crs", "transform")}
    with MemoryFile() as file:
        with file.open(**profile, gcps=points, crs=UTM_33N) as dataset:
            dataset.write(values)
        return bytes(file.read())


def _profile(values: NDArray[Any]) -> dict[str, Any]:
    count, height, width = values.shape
    return {
        "driver": "GTiff", "count": count, "height": height, "width": width, "dtype": values.dtype,
        "crs": UTM_33N, "transform": PLACE,
    }  # fmt: skip


def _with_nodata(data: bytes, text: bytes) -> bytes:
    """GDAL writes no nodata that the type cannot hold, other writers do."""
    assert data.count(b"12345\0") == 1
    return data.replace(b"12345\0", text + b"\0")
