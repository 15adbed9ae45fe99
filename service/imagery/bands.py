"""Which band of a file is which band of the model. Bands travel by name, never by index."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from service.imagery.errors import ImageryError
from service.imagery.patches import Caution

_SENTINEL_2 = re.compile(r"B0*(?:([1-9]|1[0-2])|8A)")
#: Central wavelengths of Sentinel-2's bands in nm (ESA, S2 MSI Level-1C user guide).
WAVELENGTHS = {
    "B01": 443, "B02": 490, "B03": 560, "B04": 665, "B05": 705, "B06": 740, "B07": 783, "B08": 842, "B8A": 865,
    "B09": 945, "B10": 1375, "B11": 1610, "B12": 2190,
}  # fmt: skip
_COMMON_NAMES = {"RED": "B04", "GREEN": "B03", "BLUE": "B02", "NIR": "B08"}  # STAC eo:common_name
_BAND_AT_THE_END = re.compile(r"(?:^|[_.-])(B(?:0?[1-9]|1[0-2]|8A))\.tiff?$", re.IGNORECASE)


def canonical(name: str) -> str:
    """One spelling for a band: B4, b04 and red are B04; what is unknown stays as it is, in upper case."""
    name = name.strip().upper()
    if match := _SENTINEL_2.fullmatch(name):
        return f"B{int(match[1]):02d}" if match[1] else "B8A"
    return _COMMON_NAMES.get(name, name)


def is_band(name: str, bands: Sequence[str]) -> bool:
    """True for a Sentinel-2 band and for each of `bands`."""
    return bool(_SENTINEL_2.fullmatch(canonical(name))) or canonical(name) in map(canonical, bands)


def band_at_the_end(file_name: str) -> tuple[str, str] | None:
    """(tile, band) of a single-band file such as `S2A_…_87_48_B04.tif`; None if no band ends the name."""
    match = _BAND_AT_THE_END.search(file_name)
    return (file_name[: match.start()], canonical(match[1])) if match else None


def _names_in_file(names: Sequence[str], wanted: Sequence[str]) -> list[int] | None:
    """Positions (from 0) of the wanted bands, or None if one is not there."""
    found = [canonical(name) for name in names]
    for band in wanted:
        if found.count(band) > 1:
            raise ImageryError("duplicate_bands", f"Band {band} is there more than once; name each band once.")
    return [found.index(band) for band in wanted] if set(wanted) <= set(found) else None


def choose(
    wanted: Sequence[str],
    count: int,
    said: Sequence[str] | None,
    descriptions: Sequence[str | None],
    colours: Sequence[str],
) -> tuple[list[int], list[Caution]]:
    """Positions (from 0) of the wanted bands among `count` bands, with what had to be assumed.

    What the caller `said` counts first, then the file's descriptions, then, if those name no band, its colour
    interpretation (`red`, `green`, `blue`), and last the bare order, if the file has as many bands as the model.
    `colours` and `descriptions` have one entry a band. Raises ImageryError with band_count,
    band_mapping_required or duplicate_bands.
    """
    wanted = [canonical(band) for band in wanted]
    if said is not None:
        if len(said) != count:
            raise ImageryError(
                "band_count", f"The option bands names {len(said)} bands, but the file has {count}; name them all."
            )
        chosen = _names_in_file(said, wanted)
        if chosen is None:
            raise ImageryError(
                "band_mapping_required", f"The model reads {', '.join(wanted)}; the option bands must name each."
            )
        return chosen, []
    if (chosen := _names_in_file([name or "" for name in descriptions], wanted)) is not None:
        return chosen, []
    if known := [name for name in descriptions if name and is_band(name, wanted)]:
        raise ImageryError(
            "band_mapping_required",
            f"The model reads {', '.join(wanted)}, but the file says that it holds {', '.join(known)}: "
            "send those bands, or name the file's bands, in file order, with the option bands.",
        )
    if (chosen := _names_in_file(colours, wanted)) is not None:
        return chosen, []
    data_bands = [i for i, colour in enumerate(colours) if colour != "alpha"]
    if len(data_bands) == len(wanted):
        called = ", ".join(filter(None, descriptions))
        says = f"The file calls its bands {called}" if called else "The file names no bands"
        return data_bands, [Caution("band_order_assumed", f"{says}; taken as {', '.join(wanted)} in this order.")]
    if len(data_bands) < len(wanted):
        raise ImageryError("band_count", f"The model reads {', '.join(wanted)}; the file holds only {len(data_bands)}.")
    raise ImageryError(
        "band_mapping_required",
        f"The model reads {', '.join(wanted)}; which of the file's {len(data_bands)} bands these are is not said: "
        "name all of them, in file order, with the option bands.",
    )


def share_of_haze(bands: Sequence[str]) -> list[float]:
    """How much of the haze at 490 nm each band sees: Rayleigh's λ⁻⁴; none for a band whose wavelength is not known."""
    return [(WAVELENGTHS["B02"] / WAVELENGTHS.get(canonical(band), math.inf)) ** 4 for band in bands]
