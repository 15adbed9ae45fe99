"""Small files of every kind, read before a decode process gives up its descriptors.

After that nothing more can be loaded: no module, no codec's tables, no page of PROJ's database that needs a file.
"""

from __future__ import annotations

import linecache
import sys
import traceback
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import rasterio
from affine import Affine
from numpy.typing import NDArray
from rasterio.enums import ColorInterp
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.io import MemoryFile
from rasterio.warp import transform

from service.imagery.errors import ImageryError
from service.imagery.patches import InputSpec, ReadOptions, TileFile
from service.imagery.reader import read_tile
from service.imagery.resize import resize

SPEC = InputSpec(("B04", "B03", "B02"), patch_px=16, gsd_m=10, divisor=2000)
SIDE = 32  # more than 1.5 × patch_px: a scene
CODECS = ("none", "lzw", "jpeg", "deflate", "packbits", "lzma", "zstd", "lerc", "lerc_deflate", "lerc_zstd", "webp")
UTM = ("EPSG:32633", Affine(10, 0, 404400, 0, -10, 5342400))
# Without a code: PROJ looks for one among all that it knows, for 50 ms.
LAMBERT = (
    'PROJCS["mine",GEOGCS["GCS_North_American_1983",DATUM["D_North_American_1983",SPHEROID["GRS_1980",6378137,'
    '298.257222101]],PRIMEM["Greenwich",0],UNIT["Degree",0.0174532925199433]],PROJECTION["Lambert_Conformal_Conic"],'
    'PARAMETER["False_Easting",1],PARAMETER["False_Northing",2],PARAMETER["Central_Meridian",-97],'
    'PARAMETER["Standard_Parallel_1",33.1],PARAMETER["Standard_Parallel_2",45.2],'
    'PARAMETER["Latitude_Of_Origin",39],UNIT["Foot_US",0.3048006096012192]]'
)
PLACES = (
    UTM,
    ("EPSG:32601", Affine(10, 0, 166000, 0, -10, 100)),  # the antimeridian
    ("EPSG:4326", Affine(0.01, 0, 179.9, 0, -0.01, 50)),
    ("EPSG:3857", Affine(7, 7, 1500000, 7, -7, 6000000)),
    ("EPSG:3413", Affine(10000, 0, -160000, 0, -10000, 160000)),  # the pole
    ("EPSG:3035", Affine(10, 0, 4321000, 0, -10, 3210000)),
    ("EPSG:27700", Affine(10, 0, 400000, 0, -10, 400000)),  # another datum
    (LAMBERT, Affine(30, 0, 0, 0, -30, 0)),
    (None, None),
)


def warm(image_size: int) -> None:
    """Reads and resizes a tile of each kind, refuses bad ones, and tells a fault of ours."""
    warnings.simplefilter("ignore", NotGeoreferencedWarning)  # for good: nobody reads what a worker warns of
    options = ReadOptions()
    for tile in _tiles():
        for patch in read_tile(tile, SPEC, options):
            resize(patch.pixels, image_size)
    whole = _geotiff(_ramp(), *UTM)
    for bad in (whole[: len(whole) // 2], whole[:300] + bytes(len(whole) - 300), b"", b"II*\0", b"no image"):
        try:
            read_tile([TileFile(bad)], SPEC, options)
        except ImageryError:
            traceback.format_exc()
    for name, module in list(sys.modules.items()):  # a fault of ours is told with its source
        if name.startswith(("service.", "__main__")) and getattr(module, "__file__", None):
            linecache.getlines(str(module.__file__))


def reopen() -> None:
    """PROJ's database, which a forked process does not take over; with a system that is in none of its caches."""
    transform("EPSG:32734", "EPSG:4326", [5e5], [5e6])


def _ramp() -> NDArray[np.uint16]:
    return (np.arange(3 * SIDE * SIDE).reshape(3, SIDE, SIDE) % 251 + 1).astype(np.uint16)


def _tiles() -> Iterator[Sequence[TileFile]]:
    ramp = _ramp()
    for codec in CODECS:
        try:
            yield [TileFile(_geotiff(ramp.astype(np.uint8), *UTM, compress=codec, photometric="RGB"))]
        except RasterioError:
            continue  # this build of GDAL has no such codec, and refuses files that use it
    yield [TileFile(_geotiff(ramp.astype(np.uint8), *UTM, compress="jpeg", photometric="YCBCR", tiled=True))]
    for dtype, more in (
        ("uint16", {"nodata": 1, "interleave": "band", "predictor": 2, "compress": "deflate"}),
        ("uint16", {"nbits": 12, "bigtiff": "YES", "endianness": "BIG"}),
        ("int16", {"scale": 0.0001, "offset": -0.1}),
        ("float32", {"nodata": np.nan, "predictor": 3, "compress": "zstd", "has_mask": True}),
        ("float64", {"names": ("B02", "B03", "B04"), "has_mask": True}),
    ):
        values = ramp.astype(dtype) / (1000 if dtype.startswith("float") else 1)
        yield [TileFile(_geotiff(values.astype(dtype), *UTM, **more))]
    for place in PLACES:
        yield [TileFile(_geotiff(ramp[:, :16, :16], *place))]
    alpha = np.concatenate([ramp, np.full((1, SIDE, SIDE), 255)]).astype(np.uint8)
    yield [TileFile(_geotiff(alpha, *UTM, photometric="RGB", alpha="YES"))]
    yield [TileFile(_geotiff(ramp[:1].astype(np.uint8), *UTM, has_palette=True))]
    yield [TileFile(memoryview(_geotiff(ramp, *UTM)))]  # as a mapped scene
    coarser = UTM[1] @ Affine.scale(2)
    yield [
        TileFile(_geotiff(ramp[:1], *UTM), "B04"),
        TileFile(_geotiff(ramp[:1], *UTM), "B03"),
        TileFile(_geotiff(ramp[:1, ::2, ::2], UTM[0], coarser), "B02"),
    ]


def _geotiff(
    values: NDArray[Any],
    crs: str | None,
    transform: Affine | None,
    *,
    names: Sequence[str] = (),
    scale: float = 1,
    offset: float = 0,
    has_mask: bool = False,
    has_palette: bool = False,
    **options: Any,
) -> bytes:
    """C × H × W as a GeoTIFF in memory; `options` go to GDAL."""
    count, height, width = values.shape
    where = {"crs": crs, "transform": transform} if crs else {}
    shape = {"count": count, "height": height, "width": width, "dtype": values.dtype}
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), MemoryFile() as file:
        with file.open(driver="GTiff", **shape, **where, **options) as dataset:
            dataset.write(values)
            dataset.scales, dataset.offsets = [scale] * count, [offset] * count
            dataset.update_tags(1, kind="warming")
            for i, name in enumerate(names, start=1):
                dataset.set_band_description(i, name)
            if has_mask:
                dataset.write_mask(values[0] > values[0].min())
            if has_palette:
                dataset.write_colormap(1, {i: (i, 255 - i, 0, 255) for i in range(256)})
                dataset.colorinterp = [ColorInterp.palette]
        return bytes(file.read())
