"""Which band of a file is which band of the model."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain

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
_OTHER_SENSORS = re.compile(r"(?:.*[_ .-])?B\d+[A-Z]?", re.IGNORECASE)
_LANDSAT_M = (25, 35)  # of a pixel; Sentinel-2's are 10, 20 and 60 m
_QUOTED, _QUOTED_LETTERS = 13, 32  # of what the file calls its bands; it is the caller's text, and may be long


@dataclass(frozen=True)
class FileBands:
    """What a file says of its bands, an entry for each."""

    descriptions: Sequence[str]  #: empty where there is none
    tagged: Sequence[Sequence[str]]  #: names in its metadata, the one to believe first
    colours: Sequence[str]  #: colour interpretation: red, undefined, alpha …
    pixel_m: Callable[[], float]  #: on the ground; NaN where that is not known

    @property
    def data(self) -> list[int]:
        """Positions (from 0) of all bands but alpha."""
        return [i for i, colour in enumerate(self.colours) if colour != "alpha"]

    def known_names(self, wanted: Sequence[str]) -> list[str]:
        """For each band the first name that is one: of its description, its tags, its colour; else an empty one."""
        bands = zip(self.descriptions, self.tagged, self.colours, strict=True)
        return [
            next((name for name in (description, *tagged, colour) if is_band(name, wanted)), "")
            for description, tagged, colour in bands
        ]

    def quoted(self) -> str:
        """Whatever the file calls its bands."""
        pairs = zip(self.descriptions, self.tagged, strict=True)
        names = (next(filter(None, (description, *tagged)), "") for description, tagged in pairs)
        return ", ".join(name[:_QUOTED_LETTERS] for name in [name for name in names if name][:_QUOTED])


def spelt_out(said: Sequence[str]) -> Sequence[str]:
    """The bands that the option bands means: the names themselves, or those of one of `ORDERS`."""
    return ORDERS.get(said[0].strip().lower(), said) if len(said) == 1 else said


def choose(wanted: Sequence[str], said: Sequence[str] | None, file: FileBands) -> tuple[list[int], list[Caution]]:
    """Positions (from 0) of the wanted bands in a file, with what had to be assumed.

    What the caller `said` counts first; then, band by band, the file's descriptions, its tags and its colour
    interpretation; and last the bare order: three bands are red, green and blue, as many as the model reads are those.
    Raises ImageryError with band_count, band_mapping_required or duplicate_bands.
    """
    wanted = [canonical(band) for band in wanted]
    if said is not None:
        return _as_said(wanted, spelt_out(said), file), []
    names = file.known_names(wanted)
    if (chosen := _positions(names, wanted)) is not None:
        return chosen, _number_caution(names, chosen, file)
    called, reads = file.quoted(), ", ".join(wanted)
    if known := [canonical(name) for name in names if name]:
        raise ImageryError(
            "band_mapping_required",
            f"The model reads {reads}, but the file says that it holds {', '.join(known[:_QUOTED])}: "
            "send those bands, or name the file's bands, in file order, with the option bands.",
        )
    if any(map(_OTHER_SENSORS.fullmatch, filter(None, chain(file.descriptions, *file.tagged)))):
        raise ImageryError(
            "band_mapping_required",
            f"The file calls its bands {called}; which bands a sensor's numbers mean is not known here: "
            f"the model reads {reads}, so name all bands, in file order, with the option bands.",
        )
    says = f"The file calls its bands {called}" if called else "The file names no bands"
    for order in (ORDERS["rgb"], wanted):
        if len(file.data) == len(order) and (chosen := _positions(order, wanted)) is not None:
            taken = Caution("band_order_assumed", f"{says}; taken as {', '.join(order)} in this order.")
            return [file.data[i] for i in chosen], [taken]
    if len(file.data) < len(wanted):
        raise ImageryError("band_count", f"The model reads {reads}; the file holds only {len(file.data)}.")
    raise ImageryError(
        "band_mapping_required",
        f"The model reads {reads}; which of the file's {len(file.data)} bands these are is not said: "
        f"name all of them, in file order, with the option bands{_suggestion(len(file.data), wanted)}.",
    )


def names_alpha_a_band(said: Sequence[str], wanted: Sequence[str], file: FileBands) -> bool:
    """True where the caller says that what looks like alpha is a band: GDAL takes any fourth band of 8 bits for it."""
    names = spelt_out(said)
    alpha = [i for i, colour in enumerate(file.colours) if colour == "alpha"]
    return len(names) == len(file.colours) and any(is_band(names[i], wanted) for i in alpha)


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
    if len(names) < len(_SENTINEL_2) - 1 and [name.strip().upper() for name in names] == _counted(len(names)):
        why = "numbers from B1 on may do no more than count them"
    elif _LANDSAT_M[0] < (pixel_m := file.pixel_m()) < _LANDSAT_M[1]:
        why = f"pixels of {pixel_m:.3g} m are Landsat's, whose numbers mean other bands"
    else:
        return []
    detail = f"{', '.join(said)} were taken as Sentinel-2's bands, but {why}: "
    return [Caution("band_numbers_assumed", detail + "name the file's bands with the option bands to be sure.")]


def _counted(count: int) -> list[str]:
    return [f"B{i}" for i in range(1, count + 1)]


def _suggestion(count: int, wanted: Sequence[str]) -> str:
    fitting = [name for name, order in ORDERS.items() if len(order) == count and set(wanted) <= set(order)]
    return f"; usual orders of {count} bands are bands={' and bands='.join(fitting)}" if fitting else ""
