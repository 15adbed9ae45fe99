"""Which band of a file is which band of the model."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

from service.imagery.bands import canonical, is_band, is_numbered
from service.imagery.errors import ImageryError
from service.imagery.patches import Caution

_SENTINEL_2 = ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B10", "B11", "B12")
#: The bands of usual products in file order: what the option bands may say in place of all their names.
ORDERS = {
    "rgb": ("B04", "B03", "B02"),
    "bgr": ("B02", "B03", "B04"),
    "cir": ("B08", "B04", "B03"),  # colour infrared
    "rgbnir": ("B04", "B03", "B02", "B08"),
    "naip": ("B04", "B03", "B02", "B08"),
    "bgrnir": ("B02", "B03", "B04", "B08"),  # Planet's four bands, and Sentinel-2's of 10 m
    "sentinel-2-10-20m": tuple(band for band in _SENTINEL_2 if band not in ("B01", "B09", "B10")),
    "sentinel-2-l2a": tuple(band for band in _SENTINEL_2 if band != "B10"),
    "sentinel-2-l1c": _SENTINEL_2,
    # B8A comes last in its files, whatever its paper says: github.com/phelber/EuroSAT/issues/7
    "eurosat": (*(band for band in _SENTINEL_2 if band != "B8A"), "B8A"),
}
#: How writers number bands that nobody named.
_COUNTING = re.compile(r"(?:band|layer|channel|sample|raster)?[ _.#-]*([0-9]{1,3})", re.IGNORECASE)
#: Letters, and what Earth Engine calls the bands that its visualize() makes.
_COLOURS = {"R": "red", "G": "green", "B": "blue", "N": "nir"} | {f"VIS-{c}": c for c in ("RED", "GREEN", "BLUE")}
_MASKS = re.compile(r"^a$|alpha|mask|valid|transparen|opacity", re.IGNORECASE)
_LANDSAT_M = (25, 35)  # of a pixel; Sentinel-2's are 10, 20 and 60 m
_LANDSAT_7 = ["B01", "B02", "B03", "B04", "B05", "B07"]  # its bands of 30 m
_QUOTED, _QUOTED_LETTERS = 13, 32  # of what the file calls its bands; it is the caller's text, and may be long


@dataclass(frozen=True)
class FileBands:
    """What a file says of its bands, an entry for each."""

    called: Sequence[Sequence[str]]  #: its description and names in its metadata, the one to believe first
    colours: Sequence[str]  #: colour interpretation: red, undefined, alpha …
    pixel_m: Callable[[], float]  #: on the ground; NaN where that is not known
    images: int = 1  #: pages, of which this is the first

    @cached_property
    def names(self) -> Sequence[Sequence[str]]:
        """What each band is called; nothing where that does no more than count the bands."""
        numbered = ((i, _COUNTING.fullmatch(name)) for i, names in enumerate(self.called) for name in names)
        is_counted = all(match and int(match[1]) - i in (0, 1) for i, match in numbered)
        return [()] * len(self.called) if is_counted else self.called

    @cached_property
    def data(self) -> list[int]:
        """Positions (from 0) of all bands but alpha.

        GDAL takes the fourth of four bands of 8 bits for alpha, so one that is called anything else is none.
        """
        is_other = [bool(names) and not any(map(_MASKS.search, names)) for names in self.names]
        return [i for i, colour in enumerate(self.colours) if colour != "alpha" or is_other[i]]

    def known_names(self, wanted: Sequence[str]) -> list[str]:
        """For each band the first name that is one, else an empty one.

        The colours count where no band has a name: GDAL takes any three bands of 8 bits for red, green and blue.
        Letters count where each band has one.
        """
        names, data = self.names, self.data
        if not any(names[i] for i in data):
            names = [(colour,) for colour in self.colours]
        elif all(names[i] and names[i][0].upper() in _COLOURS for i in data):
            names = [[_COLOURS.get(name.upper(), name) for name in band] for band in names]
        return [next((name for name in band if is_band(name, wanted)), "") for band in names]

    def quoted(self) -> str:
        """Whatever the file calls its bands."""
        names = [names[0] for names in self.names if names]
        return ", ".join(name[:_QUOTED_LETTERS] for name in names[:_QUOTED])


def spelt_out(said: Sequence[str]) -> Sequence[str]:
    """The bands that the option bands means: the names themselves, or those of one of `ORDERS`."""
    return ORDERS.get(said[0].strip().lower(), said) if len(said) == 1 else said


def choose(wanted: Sequence[str], said: Sequence[str] | None, file: FileBands) -> tuple[list[int], list[Caution]]:
    """Positions (from 0) of the wanted bands in a file, with what had to be assumed.

    What the caller `said` counts first; then, band by band, the file's descriptions and its tags; where no band has a
    name, its colour interpretation; and last the bare order: three bands are red, green and blue, as many as the model
    reads are those.
    Raises ImageryError with band_count, band_mapping_required or duplicate_bands.
    """
    wanted = [canonical(band) for band in wanted]
    if said is not None:
        return _as_said(wanted, spelt_out(said), file), []
    names = file.known_names(wanted)
    if (chosen := _positions(names, wanted)) is not None:
        return chosen, _number_caution(names, chosen, file)
    reads = ", ".join(wanted)
    if len(file.data) < len(wanted):
        pages = f", and the first of its {file.images} images is all that is read" if file.images > 1 else ""
        raise ImageryError("band_count", f"The model reads {reads}; the file holds only {len(file.data)}{pages}.")
    if known := [canonical(name) for name in names if name]:
        raise ImageryError(
            "band_mapping_required",
            f"The model reads {reads}, but the file says that it holds {', '.join(known[:_QUOTED])}: "
            "send those bands, or name the file's bands, in file order, with the option bands.",
        )
    if called := file.quoted():
        raise ImageryError(
            "band_mapping_required",
            f"The file calls its bands {called}; the model reads {reads}, and which of them these are is not known "
            "here: name all bands, in file order, with the option bands.",
        )
    for order in (ORDERS["rgb"], wanted):
        if len(file.data) == len(order) and (chosen := _positions(order, wanted)) is not None:
            detail = f"The file names no bands; taken as {', '.join(order)} in this order."
            return [file.data[i] for i in chosen], [Caution("band_order_assumed", detail)]
    raise ImageryError(
        "band_mapping_required",
        f"The model reads {reads}; which of the file's {len(file.data)} bands these are is not said: "
        f"name all of them, in file order, with the option bands{_suggestion(len(file.data), wanted)}.",
    )


def is_alpha_a_band(said: Sequence[str] | None, wanted: Sequence[str], file: FileBands) -> bool:
    """True where the caller or else the file says that what looks like alpha is a band."""
    alpha = [i for i, colour in enumerate(file.colours) if colour == "alpha"]
    names = spelt_out(said or ())
    if len(names) == len(file.colours):
        return any(is_band(names[i], wanted) for i in alpha)
    return any(i in file.data for i in alpha)


def _as_said(wanted: Sequence[str], said: Sequence[str], file: FileBands) -> list[int]:
    """Every band is named, or every band but alpha."""
    places = file.data if len(said) == len(file.data) else list(range(len(file.colours)))
    if len(said) != len(places):
        raise ImageryError(
            "band_count", f"The option bands names {len(said)} bands, but the file has {len(places)}; name them all."
        )
    chosen = _positions(said, wanted)
    if chosen is None:
        raise ImageryError(
            "band_mapping_required", f"The model reads {', '.join(wanted)}; the option bands must name each."
        )
    return [places[i] for i in chosen]


def _positions(names: Sequence[str], wanted: Sequence[str]) -> list[int] | None:
    """Positions (from 0) of the wanted bands, or None if one is not there."""
    found = [canonical(name) for name in names]
    for band in wanted:
        if found.count(band) > 1:
            raise ImageryError("duplicate_bands", f"Band {band} is there more than once; name each band once.")
    return [found.index(band) for band in wanted] if set(wanted) <= set(found) else None


def _number_caution(names: Sequence[str], chosen: Sequence[int], file: FileBands) -> list[Caution]:
    """A warning where numbers that were taken as Sentinel-2's may be another sensor's, or count no more than bands.

    Red is B4 in Sentinel-2 and Landsat 8, but B3 in Landsat 7, whose B4 is near infrared.
    """
    said = [names[i].strip().upper() for i in chosen]
    if not any(map(is_numbered, said)):
        return []
    pixel_m, found = file.pixel_m(), [canonical(name) for name in names]
    if len(names) < len(_SENTINEL_2) - 1 and [name.strip().upper() for name in names] == _counted(len(names)):
        why = "numbers from B1 on may do no more than count them"
    elif _LANDSAT_M[0] < pixel_m < _LANDSAT_M[1]:
        why = f"pixels of {pixel_m:.3g} m are Landsat's, whose numbers mean other bands"
    elif found == _LANDSAT_7:
        why = "these are the numbers of Landsat 7, which mean other bands"
    elif math.isnan(pixel_m) and not any(set(found) == set(order) for order in ORDERS.values()):
        why = "other sensors' numbers mean other bands, and the size of the pixels tells of no sensor"
    else:
        return []
    detail = f"{', '.join(said)} were taken as Sentinel-2's bands, but {why}: "
    return [Caution("band_numbers_assumed", detail + "name the file's bands with the option bands to be sure.")]


def _counted(count: int) -> list[str]:
    return [f"B{i}" for i in range(1, count + 1)]


def _suggestion(count: int, wanted: Sequence[str]) -> str:
    fitting = [name for name, order in ORDERS.items() if len(order) == count and set(wanted) <= set(order)]
    return f"; usual orders of {count} bands are bands={' and bands='.join(fitting)}" if fitting else ""
