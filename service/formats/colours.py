"""The colours of land cover: CORINE's own for labels that stand for its classes, others for labels of one's own."""

from __future__ import annotations

import colorsys
from collections.abc import Iterator, Sequence
from itertools import count

from service.model.manifest import Group, Label

#: BigEarthNet's 19 labels in the colours of the class of CORINE Land Cover that each begins with (Copernicus Land
#: Monitoring Service, CLC's legend). By name: two orders of these labels are in use.
OFFICIAL = {
    "Urban fabric": "#e6004d",
    "Industrial or commercial units": "#cc4df2",
    "Arable land": "#ffffa8",
    "Permanent crops": "#e68000",
    "Pastures": "#e6e64d",
    "Complex cultivation patterns": "#ffe64d",
    "Land principally occupied by agriculture, with significant areas of natural vegetation": "#e6cc4d",
    "Agro-forestry areas": "#f2cca6",
    "Broad-leaved forest": "#80ff00",
    "Coniferous forest": "#00a600",
    "Mixed forest": "#4dff00",
    "Natural grassland and sparsely vegetated areas": "#ccf24d",
    "Moors, heathland and sclerophyllous vegetation": "#a6ff80",
    "Transitional woodland, shrub": "#a6f200",
    "Beaches, dunes, sands": "#e6e6e6",
    "Inland wetlands": "#a6a6ff",
    "Coastal wetlands": "#ccccff",
    "Inland waters": "#80f2e6",
    "Marine waters": "#e6f2ff",
}
GOLDEN = 0.6180339887498949  # of the circle of hues: each new one falls into the widest gap that is left
RINGS = ((0.65, 0.85), (0.40, 0.95), (0.85, 0.60))  # saturation and value, taken in turn

Colour = tuple[int, int, int]  #: red, green, blue, 0–255


def legend(labels: Sequence[Label], groups: Sequence[Group]) -> dict[str, str]:
    """The colour (#rrggbb) of every name that a map can show, in the order of its bands and classes.

    These are all labels, then the groups with a member that the model cannot tell: one whose members can all be told
    is never less likely than they are, and would hide them. A group has the mean colour of its members. No two names
    have the same colour.
    """
    told = {label.name for label in labels if label.is_answered}
    shown = {label.name: OFFICIAL.get(label.name, "") for label in labels}
    others = (colour for colour in _others() if colour not in shown.values() and colour not in OFFICIAL.values())
    shown = {name: colour or next(others) for name, colour in shown.items()}
    for group in groups:
        if not told.issuperset(group.members):
            mean = _mean([shown[member] for member in group.members])
            shown[group.name] = mean if mean not in shown.values() else next(others)
    return shown


def components(colour: str) -> Colour:
    """(230, 0, 77) of "#e6004d"."""
    red, green, blue = bytes.fromhex(colour.removeprefix("#"))
    return red, green, blue


def _written(red: float, green: float, blue: float) -> str:
    return f"#{round(red):02x}{round(green):02x}{round(blue):02x}"


def _mean(colours: Sequence[str]) -> str:
    return _written(*(sum(part) / len(colours) for part in zip(*map(components, colours), strict=True)))


def _others() -> Iterator[str]:
    given: set[str] = set()
    for i in count():
        saturation, value = RINGS[i % len(RINGS)]
        colour = _written(*(255 * part for part in colorsys.hsv_to_rgb(i * GOLDEN % 1, saturation, value)))
        if colour not in given:
            given.add(colour)
            yield colour
