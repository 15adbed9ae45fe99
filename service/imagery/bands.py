"""What bands are called. Bands travel by name, never by index."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from functools import lru_cache
from pathlib import PurePath

#: Central wavelengths of Sentinel-2's bands in nm (ESA, S2 MSI Level-1C user guide).
WAVELENGTHS = {
    "B01": 443, "B02": 490, "B03": 560, "B04": 665, "B05": 705, "B06": 740, "B07": 783, "B08": 842, "B8A": 865,
    "B09": 945, "B10": 1375, "B11": 1610, "B12": 2190,
}  # fmt: skip
#: Common names of STAC (eo extension 2.0), each with the band of Sentinel-2 within its range; rededge alone could be
#: three of them.
_COMMON_NAMES = {
    "COASTAL": "B01", "BLUE": "B02", "GREEN": "B03", "RED": "B04", "REDEDGE071": "B05", "REDEDGE075": "B06",
    "REDEDGE078": "B07", "NIR": "B08", "NIR08": "B8A", "NIR09": "B09", "CIRRUS": "B10", "SWIR16": "B11",
    "SWIR22": "B12",
}  # fmt: skip
LONGEST_KNOWN = 64  # letters of what `canonical` keeps in mind: names come from files
_NUMBER = r"B(?:0?[1-9]|1[0-2]|8A)"
_SENTINEL_2 = re.compile(r"B0*(?:([1-9]|1[0-2])|8A)")
#: As GDAL's driver for Sentinel-2 describes bands, and as the names of ESA's own files end.
_IN_A_DESCRIPTION = re.compile(
    rf"({_NUMBER}), CENTRAL WAVELENGTH \d+ NM|(?:S2[A-D]_|T\d\d[A-Z]{{3}}_)\S*_({_NUMBER})(?:_[126]0M)?"
)
_BAND_AT_THE_END = re.compile(rf"(?:^|[_.-])({_NUMBER})(?:_[126]0m)?\.tiff?$", re.IGNORECASE)
#: Landsat's files end in numbers too, and those mean other bands: red is B3 in some, near infrared B4 or B5.
_LANDSAT_FILE = re.compile(r"L[COTEM]\d\d_|HLS[._]L30", re.IGNORECASE)


def canonical(name: str) -> str:
    """One spelling for a band: B4, b04 and red are B04; what is unknown stays as it is, in upper case."""
    return _canonical(name) if len(name) <= LONGEST_KNOWN else _canonical.__wrapped__(name)


@lru_cache(256)
def _canonical(name: str) -> str:
    name = name.strip().upper()
    if match := _IN_A_DESCRIPTION.fullmatch(name):
        name = match[1] or match[2]
    if match := _SENTINEL_2.fullmatch(name):
        return f"B{int(match[1]):02d}" if match[1] else "B8A"
    return _COMMON_NAMES.get(name, name)


def is_band(name: str, bands: Sequence[str]) -> bool:
    """True for a Sentinel-2 band and for each of `bands`."""
    return canonical(name) in WAVELENGTHS or canonical(name) in map(canonical, bands)


def is_numbered(name: str) -> bool:
    """True for B4, B04 and the like, which other sensors use for other bands; false for red."""
    return bool(_SENTINEL_2.fullmatch(name.strip().upper()))


def band_at_the_end(file_name: str) -> tuple[str, str] | None:
    """(tile, band) of a single-band file such as `S2A_…_87_48_B04.tif`; None if no band ends the name."""
    match = _BAND_AT_THE_END.search(file_name)
    if match is None or _LANDSAT_FILE.match(PurePath(file_name).name):
        return None
    return file_name[: match.start()], canonical(match[1])


def share_of_haze(bands: Sequence[str]) -> list[float]:
    """How much of the haze at 490 nm each band sees: Rayleigh's λ⁻⁴; none for a band whose wavelength is not known."""
    return [(WAVELENGTHS["B02"] / WAVELENGTHS.get(canonical(band), math.inf)) ** 4 for band in bands]
