"""How far the looks of a crop may stray."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Recipe:
    """How far a crop's looks may stray. Probabilities and strengths; 0 leaves a transform out."""

    orientations: bool  #: all eight flips and quarter turns; else a horizontal flip
    gain: float  #: per band, factor exp(U(−gain, gain)), p 0.8
    offset: float  #: per band, added U(−offset, offset), p 0.8
    haze: tuple[float, float]  #: of all bands together, added U(from, to) at 490 nm, p 0.5
    brightness: float
    contrast: float
    saturation: float
    hue: float
    grey: float  #: probability
    solarize: float  #: probability, second global crop alone
    blur: tuple[float, float, float]  #: probabilities: first global, second global, local crops


#: As facebookresearch/dino.
REFERENCE = Recipe(
    orientations=False, gain=0, offset=0, haze=(0, 0), brightness=0.4, contrast=0.4, saturation=0.2, hue=0.1, grey=0.2,
    solarize=0.2, blur=(1.0, 0.1, 0.5),
)  # fmt: skip
#: The colour of ground is what tells its cover: no turned hue, hardly any grey, no inversion. Haze reaches from
#: imagery as it left the atmosphere (level 1C, as EuroSAT) to imagery freed of it (level 2A, as BigEarthNet).
OVERHEAD = Recipe(
    orientations=True, gain=0.08, offset=0.04, haze=(-0.25, 0.05), brightness=0.3, contrast=0.2, saturation=0.1, hue=0,
    grey=0.05, solarize=0, blur=(1.0, 0.1, 0.5),
)  # fmt: skip
RECIPES = {"overhead": OVERHEAD, "reference": REFERENCE}
