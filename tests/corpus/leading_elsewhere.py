"""GeoTIFFs, genuine ones, that name another file or a host where GDAL or PROJ might follow: all to the canary."""

from __future__ import annotations

from collections.abc import Iterator

from tests.corpus.canary import Canary
from tests.corpus.cases import OK, Case
from tests.corpus.formats import vrt
from tests.corpus.sizes import CRS_KEYS
from tests.corpus.tiff import ASCII, DOUBLE, LONG, SHORT, Tag, image, tiff
from tests.corpus.values import SCALE, described, wkt

KIND = "leads elsewhere"
PLACED = {"t34735": Tag(SHORT, CRS_KEYS), "t33922": Tag(DOUBLE, [0, 0, 0, 4e5, 5e6, 0]), "t33550": SCALE}


def cases(canary: Canary) -> Iterator[Case]:
    for what, place in {
        "a file": str(canary.file),
        "a host": f"/vsicurl/{canary.url}/a.tif",
        "a URL": f"{canary.url}/a.tif",
        "a VRT within": vrt(str(canary.file)).decode(),
    }.items():
        for name, domains in metadata(place).items():
            page = image(t42112=as_xml(domains), **PLACED)
            small = image(8, 8, t254=Tag(LONG, [1]))
            yield Case(KIND, f"{name} to {what}", tiff(page), (OK,))
            yield Case(KIND, f"{name} to {what}, with an overview", tiff(page, small), (OK,))
        for tag, name in {270: "description", 305: "software", 700: "XMP", 33432: "copyright", 269: "name"}.items():
            text = Tag(ASCII, place.encode() + b"\0")
            yield Case(KIND, f"{name} to {what}", tiff(image(**{f"t{tag}": text}, **PLACED)), (OK,))
        grid = f',EXTENSION["PROJ4","+proj=utm +zone=33 +datum=WGS84 +nadgrids={place} +geoidgrids={place} +no_defs"]'
        for name, text in {
            "a grid of a projection": b"ESRI PE String = " + wkt("15", grid.replace('"<', "<")),
            "a projection string": f"+proj=utm +zone=33 +nadgrids={place} +type=crs".encode(),
            "a pipeline": f"+proj=pipeline +step +proj=hgridshift +grids={place}".encode(),
            "a reference system": place.encode(),
            "an initialisation file": f"+init={place}:32633".encode(),
        }.items():
            yield Case(KIND, f"{name} to {what}", tiff(described(text)), (OK,))


def metadata(place: str) -> dict[str, dict[str, dict[str, str]]]:
    """Items by domain, as GDAL understands them."""
    place = place.replace("&", "&amp;").replace("<", "&lt;")
    lookup = {"X_DATASET": place, "Y_DATASET": place, "X_BAND": "1", "Y_BAND": "1", "LINE_STEP": "1", "PIXEL_STEP": "1"}
    return {
        "overviews": {"OVERVIEWS": {"OVERVIEW_FILE": place}},
        "a mask": {"": {"INTERNAL_MASK_FLAGS_1": "2"}, "MASK": {"MASK_FILE": place, "OVERVIEW_FILE": place}},
        "geolocation": {"GEOLOCATION": lookup | {"SRS": place}},
        "subdatasets": {"SUBDATASETS": {"SUBDATASET_1_NAME": place, "SUBDATASET_1_DESC": "a"}},
        "rational polynomials": {"RPC": {"RPC_DEM": place, "HEIGHT_OFF": "0"}},
        "derived": {"DERIVED_SUBDATASETS": {"DERIVED_1_NAME": place}, "ProxyOverviewRequest": {"FILE": place}},
    }


def as_xml(domains: dict[str, dict[str, str]]) -> Tag:
    items = "".join(
        f'<Item name="{name}" domain="{domain}">{value}</Item>'
        for domain, values in domains.items()
        for name, value in values.items()
    )
    return Tag(ASCII, f"<GDALMetadata>{items}</GDALMetadata>\0".encode())
