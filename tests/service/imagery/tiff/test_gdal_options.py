from __future__ import annotations

import rasterio
from rasterio.env import getenv, hasenv

from service.imagery.patches import TileFile
from service.imagery.tiff.limits import Limits
from service.imagery.tiff.opening import GDAL_OPTIONS, opened
from tests.imagery import geotiff, reflectance

FILE = TileFile(geotiff(reflectance(16)))


def test_our_options_of_gdal_are_in_force_within_any_others_and_these_again_afterwards() -> None:
    with rasterio.Env(GDAL_PAM_ENABLED="YES"):
        with opened(FILE, Limits()):
            assert getenv().items() >= GDAL_OPTIONS.items()
        assert getenv()["GDAL_PAM_ENABLED"] == "YES"


def test_our_options_of_gdal_are_in_force_where_there_are_none() -> None:
    assert not hasenv()
    with opened(FILE, Limits()):
        assert getenv().items() >= GDAL_OPTIONS.items()
    assert not hasenv()
