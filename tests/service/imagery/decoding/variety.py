"""Tiles of every kind that a decode process may meet, none of which is among those that it warmed up with."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import rasterio
from affine import Affine
from rasterio.io import MemoryFile

from service.imagery.patches import TileFile
from tests.imagery import PLACE, UTM_33N, geotiff, reflectance

# Neither has a code; the second is as ESRI's software writes it.
LAEA = "+proj=laea +lat_0=47.3 +lon_0=11.1 +x_0=12 +y_0=34 +ellps=bessel +units=m +no_defs"
ESRI = (
    'PROJCS["Custom_Albers",GEOGCS["GCS_WGS_1984",DATUM["D_WGS_1984",SPHEROID["WGS_1984",6378137.0,298.257223563]],'
    'PRIMEM["Greenwich",0.0],UNIT["Degree",0.0174532925199433]],PROJECTION["Albers"],PARAMETER["False_Easting",7.0],'
    'PARAMETER["False_Northing",0.0],PARAMETER["Central_Meridian",-96.5],PARAMETER["Standard_Parallel_1",29.5],'
    'PARAMETER["Standard_Parallel_2",45.5],PARAMETER["Latitude_Of_Origin",23.0],UNIT["Meter",1.0]]'
)
DN = reflectance(40, seed=1)
BYTES = (DN // 10).astype(np.uint8)

CODECS = {
    codec: [TileFile(geotiff(BYTES, compress=codec, photometric="RGB", **more))]
    for codec, more in {
        "none": {"endianness": "BIG"},
        "lzw": {"predictor": 2},
        "jpeg": {"tiled": True, "blockxsize": 16, "blockysize": 16},
        "deflate": {"bigtiff": "YES"},
        "packbits": {"interleave": "band"},
        "lzma": {"tiled": True, "blockxsize": 32, "blockysize": 32},
        "zstd": {"blockysize": 7},
        "lerc": {"max_z_error": 1},
        "lerc_zstd": {},
        "webp": {"webp_lossless": True},
    }.items()
}


def _at(crs: str | None, transform: Affine = PLACE) -> list[TileFile]:
    return [TileFile(geotiff(DN, crs=crs, transform=transform if crs else None))]


PLACES = {
    "no crs": _at(None),
    "EPSG:4326": _at("EPSG:4326", Affine(0.001, 0, 11, 0, -0.001, 48)),
    "web mercator": _at("EPSG:3857"),
    "antimeridian": _at("EPSG:32660", Affine(100, 0, 830000, 0, -100, 100)),
    "south pole": _at("EPSG:3031", Affine(1000, 0, -20000, 0, -1000, 20000)),
    "another datum": _at("EPSG:26910"),
    "grid shift": _at("EPSG:31467", Affine(10, 0, 3500000, 0, -10, 5400000)),
    "NAD27": _at("EPSG:26710"),
    "feet": _at("EPSG:2263", Affine(30, 0, 980000, 0, -30, 200000)),
    "local": _at('LOCAL_CS["mine",UNIT["metre",1]]'),
    "geocentric": _at("EPSG:4978"),
    "compound": _at("EPSG:7405"),
    "ESRI's code": _at("ESRI:102008"),
    "of no code": _at(LAEA),
    "of no code, ESRI's": _at(ESRI),
    "rotated": _at(UTM_33N, PLACE @ Affine.rotation(30)),
    "not finite": _at(UTM_33N, Affine(float("nan"), 0, 0, 0, -10, 0)),
}


def _masked() -> bytes:
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), MemoryFile() as file:
        with file.open(driver="GTiff", width=40, height=40, count=3, dtype="uint16", compress="deflate") as dataset:
            dataset.write(DN)
            dataset.write_mask(DN[0] > 1000)
        return bytes(file.read())


def _palette() -> bytes:
    with MemoryFile() as file:
        with file.open(driver="GTiff", width=40, height=40, count=1, dtype="uint8", photometric="PALETTE") as dataset:
            dataset.write(BYTES[:1])
            dataset.write_colormap(1, {i: (255 - i, i, i // 2, 255) for i in range(256)})
        return bytes(file.read())


KINDS: dict[str, Sequence[TileFile]] = {
    "alpha": [TileFile(geotiff(np.concatenate([BYTES, BYTES[:1]]), photometric="RGB", alpha="YES"))],
    "mask": [TileFile(_masked())],
    "palette": [TileFile(_palette())],
    "named bands": [TileFile(geotiff(DN, names=("B02", "B03", "B04")))],
    "names in no encoding": [TileFile(geotiff(DN, names=("rot", "grün", "blau")).replace("ü".encode(), b"\xfc\xfe"))],
    "reflectance": [TileFile(geotiff((DN / 10000).astype(np.float32), nodata=np.nan, predictor=3, compress="zstd"))],
    "ambiguous floats": [TileFile(geotiff(DN.astype(np.float64)))],
    "scaled": [TileFile(geotiff(DN.astype(np.int16), scales=(0.0001,) * 3, offsets=(-0.1,) * 3))],
    "12 bits": [TileFile(geotiff(DN, nbits=12))],
    "scene": [TileFile(geotiff(reflectance(200), tiled=True, compress="lzw"))],
    "more bytes than a pipe holds": [TileFile(geotiff(reflectance(256)))],
    "two resolutions, more bytes than a pipe holds": [
        TileFile(geotiff(reflectance(512)[:1]), "B04"),
        TileFile(memoryview(bytearray(geotiff(reflectance(512)[:1]))), "B03"),
        TileFile(geotiff(DN[:1], transform=PLACE @ Affine.scale(12.8)), "B02"),
    ],
    "two resolutions": [
        TileFile(geotiff(DN[:1]), "B04"),
        TileFile(geotiff(DN[:1]), "B03"),
        TileFile(geotiff(DN[:1, ::2, ::2], transform=PLACE @ Affine.scale(2)), "B02"),
    ],
    "complex": [TileFile(geotiff(DN.astype(np.complex64)))],
    "int64": [TileFile(geotiff(DN.astype(np.int64)))],
}


def _flipped(data: bytes, seed: int) -> bytes:
    chance = np.random.default_rng(seed)
    spoilt = np.frombuffer(data, np.uint8).copy()
    spoilt[chance.integers(8, len(data), 20)] = chance.integers(0, 256, 20)
    return spoilt.tobytes()


BAD: dict[str, Sequence[TileFile]] = {
    "empty": [TileFile(b"")],
    "no tiff": [TileFile(b"<VRTDataset/>")],
    "truncated": [TileFile(CODECS["none"][0].data[:2000])],
    "zeros": [TileFile(CODECS["lzw"][0].data[:600] + bytes(len(CODECS["lzw"][0].data) - 600))],
} | {
    f"spoilt {codec} {seed}": [TileFile(_flipped(tile[0].data, seed))]
    for codec, tile in CODECS.items()
    for seed in range(8)
}
