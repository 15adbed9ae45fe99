from __future__ import annotations

import math
import struct

from affine import Affine
from rasterio.crs import CRS

from service.imagery.patches import TileFile
from service.imagery.tiff import header, reference
from service.imagery.tiff.limits import Limits
from service.imagery.tiff.opening import opened
from tests.corpus.tiff import GEO_KEYS, LONG, SHORT, altered
from tests.imagery import PLACE, UTM_33N, geotiff, read, reflectance, refused
from tests.oddities import with_control_points

ELSEWHERE = PLACE @ Affine.translation(120, 0)


def system(data: bytes) -> CRS | None:
    with opened(TileFile(data), Limits()) as (dataset, _):
        crs: CRS | None = dataset.crs
        return crs


def test_files_with_the_same_keys_share_their_system_and_nothing_else() -> None:
    first, second = (geotiff(reflectance(16), transform=place) for place in (PLACE, ELSEWHERE))
    assert system(first) is system(second)
    with opened(TileFile(second), Limits()) as (dataset, _):
        assert dataset.transform == ELSEWHERE
    for other in ("EPSG:32634", "EPSG:4326", None):
        assert system(geotiff(reflectance(16), crs=other)) == (other and CRS.from_user_input(other))


def test_the_same_keys_with_other_numbers_are_another_system() -> None:
    for longitude in (11, 12):
        crs = system(geotiff(reflectance(16), crs=f"+proj=laea +lat_0=47 +lon_0={longitude} +ellps=bessel +units=m"))
        assert crs
        assert crs.to_dict()["lon_0"] == longitude


def test_the_same_bytes_in_another_byte_order_or_of_another_type_are_other_keys() -> None:
    little, big = (geotiff(reflectance(16), endianness=order) for order in ("LITTLE", "BIG"))
    ((*_, kind, ours), *_), ((*_, theirs), *_) = (header.read(data, Limits()).geo_keys for data in (little, big))
    assert kind == SHORT
    assert big.count(theirs) == 1
    assert system(little) == system(big) == CRS.from_user_input(UTM_33N)
    assert system(big.replace(theirs, ours)) is None
    assert system(altered(little, GEO_KEYS, kind=LONG, count=len(ours) // 4)) is None


def test_control_points_have_the_system_in_place_of_the_file() -> None:
    assert system(geotiff(reflectance(16)))
    assert system(with_control_points(reflectance(16))) is None


def test_keys_that_cannot_be_read_mean_no_system_every_time() -> None:
    good = geotiff(reflectance(16))
    model = struct.pack("<4H", 1024, 0, 1, 1)  # GTModelType, one number, projected
    assert good.count(model) == 1
    for _ in range(3):
        (patch,) = read(good.replace(model, struct.pack("<4H", 1024, 0, 9, 1)))
        assert patch.facts.crs is None


def test_a_system_that_gdal_describes_but_cannot_read_is_refused_as_the_files_fault() -> None:
    good = geotiff(reflectance(16), crs="+proj=laea +lat_0=47 +lon_0=11 +a=6377397.5 +rf=299.5 +units=m +no_defs")
    axis = struct.pack("<d", 6377397.5)
    assert good.count(axis) == 1
    endless = good.replace(axis, struct.pack("<d", math.inf))
    for _ in range(2):
        assert refused(endless) == "corrupt"


def test_so_many_systems_are_remembered_and_no_long_ones() -> None:
    before = set(reference._known)
    long = f'LOCAL_CS["{"x" * reference.LONGEST_KEYS}",UNIT["metre",1]]'
    assert system(geotiff(reflectance(16), crs=long)) == system(geotiff(reflectance(16), crs=long))
    assert set(reference._known) == before
    for zone in range(1, 61):
        for hemisphere in (600, 700):
            system(geotiff(reflectance(16), crs=f"EPSG:{32000 + hemisphere + zone}"))
    assert len(reference._known) == reference.MOST_SYSTEMS
