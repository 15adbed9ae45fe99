"""BigEarthNet's 19 land-cover labels and what maps to them.

Order and mapping from the 43 CORINE Land Cover names: Sumbul et al. 2021 (BigEarthNet-MM, arXiv 2105.07921).
Another order of the same names is in use in the field, so labels travel by name everywhere.
"""

from __future__ import annotations

from collections.abc import Iterable

BIGEARTHNET_19 = (
    "Urban fabric",
    "Industrial or commercial units",
    "Arable land",
    "Permanent crops",
    "Pastures",
    "Complex cultivation patterns",
    "Land principally occupied by agriculture, with significant areas of natural vegetation",
    "Agro-forestry areas",
    "Broad-leaved forest",
    "Coniferous forest",
    "Mixed forest",
    "Natural grassland and sparsely vegetated areas",
    "Moors, heathland and sclerophyllous vegetation",
    "Transitional woodland, shrub",
    "Beaches, dunes, sands",
    "Inland wetlands",
    "Coastal wetlands",
    "Inland waters",
    "Marine waters",
)

#: CORINE names that make up each label of another name; names that are labels themselves are not repeated.
_CORINE = {
    "Urban fabric": ("Continuous urban fabric", "Discontinuous urban fabric"),
    "Arable land": ("Non-irrigated arable land", "Permanently irrigated land", "Rice fields"),
    "Permanent crops": (
        "Vineyards",
        "Fruit trees and berry plantations",
        "Olive groves",
        "Annual crops associated with permanent crops",
    ),
    "Natural grassland and sparsely vegetated areas": ("Natural grassland", "Sparsely vegetated areas"),
    "Moors, heathland and sclerophyllous vegetation": ("Moors and heathland", "Sclerophyllous vegetation"),
    "Transitional woodland, shrub": ("Transitional woodland/shrub",),
    "Inland wetlands": ("Inland marshes", "Peatbogs"),
    "Coastal wetlands": ("Salt marshes", "Salines"),
    "Inland waters": ("Water courses", "Water bodies"),
    "Marine waters": ("Coastal lagoons", "Estuaries", "Sea and ocean"),
}
#: CORINE names that BigEarthNet-19 leaves out.
_WITHOUT_LABEL = (
    "Road and rail networks and associated land",
    "Port areas",
    "Airports",
    "Mineral extraction sites",
    "Dump sites",
    "Construction sites",
    "Green urban areas",
    "Sport and leisure facilities",
    "Bare rock",
    "Burnt areas",
    "Intertidal flats",
)
_TO_19: dict[str, str | None] = {
    **{name: name for name in BIGEARTHNET_19},
    **{corine: label for label, names in _CORINE.items() for corine in names},
    **dict.fromkeys(_WITHOUT_LABEL),
}

FOREST = ("Broad-leaved forest", "Coniferous forest", "Mixed forest")
WATER = ("Inland waters", "Marine waters")
GROUPS = ({"name": "Forest (any)", "members": FOREST}, {"name": "Water (any)", "members": WATER})


def to_bigearthnet_19(names: Iterable[str]) -> list[str]:
    """CORINE (43) or BigEarthNet-19 names as BigEarthNet-19 names, each once, in the published order.

    Raises KeyError for a name that is neither.
    """
    found = {_TO_19[name] for name in names}
    return [label for label in BIGEARTHNET_19 if label in found]
