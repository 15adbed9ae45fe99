"""Multi-crop augmentation as batched tensor functions, on the device that holds the images.

Every transform draws its chances for each image on its own and is one of torchvision's or Pillow's in
distribution; the order is the reference's. Overhead imagery adds what a ground photograph has not: any
of the eight orientations is as likely, each band may be brighter or darker (a gain and an offset), and there is
more or less air between sensor and ground (haze).
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from service.imagery.bands import share_of_haze

GREY = (0.299, 0.587, 0.114)  # ITU-R 601-2, as Pillow


@dataclass(frozen=True)
class Views:
    """Sizes of the crops; scale is the share of the image's area that a crop covers."""

    global_px: int = 224
    local_px: int = 96
    local_crops: int = 8
    global_scale: tuple[float, float] = (0.4, 1.0)
    local_scale: tuple[float, float] = (0.05, 0.4)


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


class Chance:
    """Random draws on one device that depend on the seed alone.

    They are made for every image of a batch, of which `share` is this process's part: an image gets the same
    draws however many processes share the batch.
    """

    def __init__(self, seed: int, device: torch.device, batch: int | None = None, share: slice = slice(None)) -> None:
        self.device = device
        self._generator = torch.Generator(device).manual_seed(seed)
        self._order = random.Random(seed)
        self._batch, self._share = batch, share

    def uniform(self, low: float, high: float, count: int, *shape: int) -> Tensor:
        """Float32 in low … high for `count` images of this share: count × shape."""
        drawn = torch.rand((self._batch or count, *shape), generator=self._generator, device=self.device)
        return drawn[self._share] * (high - low) + low

    def with_probability(self, probability: float, count: int) -> Tensor:
        """count booleans."""
        return self.uniform(0, 1, count) < probability

    def order(self, count: int) -> list[int]:
        """0 … count − 1, shuffled."""
        return self._order.sample(range(count), count)


@cache
def constant(values: tuple[float, ...], device: torch.device) -> Tensor:
    """Brought to a device once: each time would be a wait for it."""
    return torch.tensor(values, device=device)


def multi_crop(
    images: Tensor, bands: Sequence[str], views: Views, recipe: Recipe, chance: Chance
) -> tuple[Tensor, Tensor]:
    """Two global and some local crops of each image.

    `images` is N × H × W × C uint8, `bands` names its C bands. Gives 2N × C × global_px² and
    (local_crops · N) × C × local_px², float32 in 0–1, all first crops before all second crops.
    """
    pixels = images.permute(0, 3, 1, 2).float() / 255
    air = constant(tuple(share_of_haze(bands)), pixels.device)
    big = [
        crop(pixels, air, views.global_px, views.global_scale, recipe, recipe.blur[i], i * recipe.solarize, chance)
        for i in (0, 1)
    ]
    small = [
        crop(pixels, air, views.local_px, views.local_scale, recipe, recipe.blur[2], 0, chance)
        for _ in range(views.local_crops)
    ]
    return torch.cat(big), torch.cat(small) if small else pixels[:0]


def crop(
    pixels: Tensor,
    air: Tensor,
    size: int,
    scale: tuple[float, float],
    recipe: Recipe,
    blur_p: float,
    solarize_p: float,
    chance: Chance,
) -> Tensor:
    """One crop of each image, N × C × size × size in 0–1, through every transform of the recipe."""
    x = random_resized_crop(pixels, size, scale, recipe.orientations, chance)
    x = gain_and_offset(x, recipe.gain, recipe.offset, chance)
    x = haze(x, recipe.haze, air, chance)
    x = colour_jitter(x, recipe, chance)
    x = random_grey(x, recipe.grey, chance)
    x = random_blur(x, blur_p, chance)
    return solarize(x, solarize_p, chance)


def random_resized_crop(
    pixels: Tensor, size: int, scale: tuple[float, float], orientations: bool, chance: Chance
) -> Tensor:
    """torchvision's RandomResizedCrop with ratio (3/4, 4/3) and Pillow's antialiased bicubic, then flips.

    A separable resize is a matrix product from the left and one from the right; flips reverse the
    matrices' rows. A box that would not fit is cut to the image, where torchvision draws again.
    """
    n, _, height, width = pixels.shape
    area = height * width * chance.uniform(*scale, n)
    ratio = torch.exp(chance.uniform(math.log(3 / 4), math.log(4 / 3), n))
    w = (area * ratio).sqrt().round().clamp(1, width)
    h = (area / ratio).sqrt().round().clamp(1, height)
    top = (chance.uniform(0, 1, n) * (height - h + 1)).floor()
    left = (chance.uniform(0, 1, n) * (width - w + 1)).floor()
    rows, columns = bicubic_weights(top, h, height, size), bicubic_weights(left, w, width, size)
    columns = torch.where(chance.with_probability(0.5, n)[:, None, None], columns.flip(1), columns)
    if orientations:
        rows = torch.where(chance.with_probability(0.5, n)[:, None, None], rows.flip(1), rows)
    out = separable(pixels, rows, columns)
    if orientations:
        out = torch.where(chance.with_probability(0.5, n)[:, None, None, None], out.transpose(2, 3), out)
    return out.clamp(0, 1)


def bicubic_weights(start: Tensor, length: Tensor, n_in: int, n_out: int) -> Tensor:
    """N × n_out × n_in: row i gives output pixel i from the pixels start … start + length, as Pillow's resize.

    Keys' kernel with a = −0.5, widened by the scale when it shrinks; weights outside the box are dropped and
    the rest add up to one.
    """
    scale = length / n_out
    centre = start[:, None] + (torch.arange(n_out, device=start.device) + 0.5) * scale[:, None]
    at = torch.arange(n_in, device=start.device)
    t = ((at + 0.5) - centre[..., None]).abs() / scale.clamp(min=1)[:, None, None]
    near = (1.5 * t - 2.5) * t * t + 1
    far = ((-0.5 * t + 2.5) * t - 4) * t + 2
    weights = torch.where(t < 1, near, torch.where(t < 2, far, 0))
    inside = (at >= start[:, None, None]) & (at < (start + length)[:, None, None])
    weights = weights * inside
    return weights / weights.sum(-1, keepdim=True)


def separable(pixels: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """rows · image · columnsᵀ for each image and band."""
    return rows[:, None] @ pixels @ columns[:, None].transpose(2, 3)


def gain_and_offset(x: Tensor, gain: float, offset: float, chance: Chance) -> Tensor:
    """Each band times exp(U(−gain, gain)) plus U(−offset, offset), on 8 images of 10: sun, haze and sensor."""
    n, bands = x.shape[:2]
    if gain == 0 and offset == 0:
        return x
    on = chance.with_probability(0.8, n)[:, None, None, None]
    factor = torch.exp(chance.uniform(-gain, gain, n, bands, 1, 1))
    changed = x * factor + chance.uniform(-offset, offset, n, bands, 1, 1)
    return torch.where(on, changed.clamp(0, 1), x)


def haze(x: Tensor, strength: tuple[float, float], air: Tensor, chance: Chance) -> Tensor:
    """U(from, to) added to every other image, to each band its share; below 0 takes haze away."""
    if strength == (0, 0):
        return x
    n = len(x)
    on = chance.with_probability(0.5, n)[:, None, None, None]
    added = chance.uniform(*strength, n, 1, 1, 1) * air.view(1, -1, 1, 1)
    return torch.where(on, (x + added).clamp(0, 1), x)


def colour_jitter(x: Tensor, recipe: Recipe, chance: Chance) -> Tensor:
    """torchvision's ColorJitter on 8 images of 10; the order of its four steps is drawn once for the batch.

    Saturation and hue are left out unless there are three bands.
    """
    n, bands = x.shape[:2]
    on = chance.with_probability(0.8, n)

    def factor(strength: float) -> Tensor:
        drawn = chance.uniform(1 - strength, 1 + strength, n)
        return torch.where(on, drawn, 1.0)[:, None, None, None]

    for step in chance.order(4):
        if step == 0 and recipe.brightness:
            x = (x * factor(recipe.brightness)).clamp(0, 1)
        elif step == 1 and recipe.contrast:
            x = _blend(x, grey(x).mean((2, 3), keepdim=True), factor(recipe.contrast))
        elif step == 2 and recipe.saturation and bands == 3:
            x = _blend(x, grey(x), factor(recipe.saturation))
        elif step == 3 and recipe.hue and bands == 3:
            shift = chance.uniform(-recipe.hue, recipe.hue, n)
            x = turn_hue(x, torch.where(on, shift, 0.0))
    return x


def _blend(x: Tensor, other: Tensor, factor: Tensor) -> Tensor:
    return (x * factor + other * (1 - factor)).clamp(0, 1)


def grey(x: Tensor) -> Tensor:
    """N × 1 × H × W: ITU-R 601-2 luma of three bands, else the mean of all."""
    if x.shape[1] != 3:
        return x.mean(1, keepdim=True)
    return (x * constant(GREY, x.device).view(1, 3, 1, 1)).sum(1, keepdim=True)


def turn_hue(x: Tensor, shift: Tensor) -> Tensor:
    """Hue in HSV turned by `shift` (1 is the full circle), per image."""
    value, brightest = x.max(1)
    chroma = value - x.amin(1)
    red, green, blue = x.unbind(1)
    safe = chroma.clamp(min=1e-8)
    hue = torch.where(
        brightest == 0,
        (green - blue) / safe,
        torch.where(brightest == 1, (blue - red) / safe + 2, (red - green) / safe + 4),
    )
    hue = hue + 6 * shift.view(-1, 1, 1)

    def band(offset: int) -> Tensor:
        k = (hue + offset) % 6
        return value - chroma * torch.minimum(k, 4 - k).clamp(0, 1)

    return torch.stack([band(5), band(3), band(1)], 1)


def random_grey(x: Tensor, probability: float, chance: Chance) -> Tensor:
    """All bands alike, with this probability."""
    if probability == 0:
        return x
    on = chance.with_probability(probability, len(x))[:, None, None, None]
    return torch.where(on, grey(x).expand_as(x), x)


def random_blur(x: Tensor, probability: float, chance: Chance) -> Tensor:
    """Gaussian blur with a standard deviation of U(0.1, 2) pixels, with this probability."""
    if probability == 0:
        return x
    n, _, size, _ = x.shape
    sigma = chance.uniform(0.1, 2.0, n)
    on = chance.with_probability(probability, n)
    at = torch.arange(size, device=x.device)
    weights = torch.exp(-0.5 * ((at - at[:, None]) / sigma[:, None, None]) ** 2)
    weights = weights / weights.sum(-1, keepdim=True)
    weights = torch.where(on[:, None, None], weights, torch.eye(size, device=x.device))
    return separable(x, weights, weights)


def solarize(x: Tensor, probability: float, chance: Chance) -> Tensor:
    """Values from one half up are inverted, with this probability."""
    if probability == 0:
        return x
    on = chance.with_probability(probability, len(x))[:, None, None, None]
    return torch.where(on & (x >= 128 / 255), 1 - x, x)
