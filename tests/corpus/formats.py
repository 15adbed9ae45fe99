"""What is no TIFF, though GDAL would read it: by content, since a service knows no file names."""

from __future__ import annotations

import gzip
import io
import zipfile
from collections.abc import Iterator

import numpy as np
from PIL import Image

from tests.corpus.canary import Canary
from tests.corpus.cases import Case

#: the first bytes of formats whose rest does not matter: what recognises them reads no more
MAGICS = {
    "HDF5": b"\x89HDF\r\n\x1a\n",
    "netCDF": b"CDF\x01",
    "GRIB": b"GRIB\0\0\0\2",
    "JPEG 2000": b"\0\0\0\x0cjP  \r\n\x87\n",
    "Erdas Imagine": b"EHFA_HEADER_TAG",
    "NITF": b"NITF02.10",
    "FITS": b"SIMPLE  =                    T",
    "PDF": b"%PDF-1.7\n",
    "SQLite, as GeoPackage": b"SQLite format 3\0",
    "Arc/Info ASCII grid": b"ncols 16\nnrows 16\nxllcorner 0\nyllcorner 0\ncellsize 1\n" + b"1 " * 256,
    "Windows bitmap": b"BM",
    "PCIDSK": b"PCIDSK  ",
    "MDI": b"EP*\0\x08\0\0\0",
}


def cases(canary: Canary) -> Iterator[Case]:
    yield Case("empty", "no byte", b"", ("empty_body",))
    for name, data in _others(canary):
        yield Case("another format", name, data, ("not_a_tiff",))


def _others(canary: Canary) -> Iterator[tuple[str, bytes]]:
    for name, magic in MAGICS.items():
        yield name, magic.ljust(2048, b"\0")
    yield "one byte", b"I"
    yield "two bytes", b"II"
    yield "three bytes", b"MM\0"
    yield "zeros", bytes(4096)
    yield "text", b"the quick brown fox\n" * 50
    yield "order of one, magic of the other", b"II\0*" + bytes(100)
    pixels = Image.fromarray(np.full((16, 16, 3), 90, np.uint8))
    for kind in ("PNG", "JPEG", "GIF", "WEBP"):
        file = io.BytesIO()
        pixels.save(file, kind)
        yield kind, file.getvalue()
    good = canary.file.read_bytes()
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as zipped:
        zipped.writestr("a.tif", good)
    yield "a good file in a ZIP archive", archive.getvalue()
    yield "a good file, gzipped", gzip.compress(good)
    yield "a good file after a byte", b"\0" + good
    yield from leading_formats(canary)


def leading_formats(canary: Canary) -> Iterator[tuple[str, bytes]]:
    """Formats that are nothing but directions to somewhere else."""
    for what, place in {"file": str(canary.file), "host": f"/vsicurl/{canary.url}/a.tif"}.items():
        yield f"VRT to a {what}", vrt(place)
        yield f"GDALG to a {what}", f'{{"type": "gdal_streamed_alg", "command_line": "gdal raster {place}"}}'.encode()
        yield (
            f"MRF to a {what}",
            (
                "<MRF_META><Raster><Size x='16' y='16' c='3'/><PageSize x='16' y='16' c='3'/>"
                f"<DataFile>{place}</DataFile></Raster><CachedSource><Source>{place}</Source></CachedSource></MRF_META>"
            ).encode(),
        )
        yield (
            f"GTI to a {what}",
            f"<GDALTileIndexDataset><IndexDataset>{place}</IndexDataset></GDALTileIndexDataset>".encode(),
        )
    yield (
        "WMS",
        (
            f"<GDAL_WMS><Service name='TMS'><ServerUrl>{canary.url}/${{z}}/${{x}}/${{y}}.png</ServerUrl></Service>"
            "<DataWindow><UpperLeftX>0</UpperLeftX><UpperLeftY>1</UpperLeftY><LowerRightX>1</LowerRightX>"
            "<LowerRightY>0</LowerRightY><SizeX>256</SizeX><SizeY>256</SizeY></DataWindow><BandsCount>3</BandsCount></GDAL_WMS>"
        ).encode(),
    )
    yield "WCS", f"<WCS_GDAL><ServiceURL>{canary.url}/?</ServiceURL><CoverageName>a</CoverageName></WCS_GDAL>".encode()
    item = f'{{"type": "Feature", "stac_version": "1.0.0", "assets": {{"a": {{"href": "{canary.url}/a.tif"}}}}}}'
    yield "STAC items", f'{{"type": "FeatureCollection", "stac_version": "1.0.0", "features": [{item}]}}'.encode()


def vrt(place: str) -> bytes:
    """Sixteen by sixteen pixels of some other file."""
    return (
        "<VRTDataset rasterXSize='16' rasterYSize='16'><VRTRasterBand dataType='Byte' band='1'><SimpleSource>"
        f"<SourceFilename>{place}</SourceFilename><SourceBand>1</SourceBand></SimpleSource></VRTRasterBand></VRTDataset>"
    ).encode()
