"""Multi-crop augmentation as batched tensor functions, on the device that holds the images.

Every transform draws its chances for each image on its own and is one of torchvision's or Pillow's in
distribution; the order is the reference's. Overhead imagery adds what a ground photograph has not: any
of the eight orientations is as likely, each band may be brighter or darker (a gain and an offset), and there is
more or less air between sensor and ground (haze).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from service.imagery.bands import share_of_haze
from training.dino.chance import Chance
from training.dino.looks import colour_jitter, gain_and_offset, haze, random_blur, random_grey, solarize
from training.dino.recipes import Recipe
from training.dino.resampling import random_resized_crop

CACHE = 200_000  # pixels of crops that a transform works on at a time: some 2 MB


@dataclass(frozen=True)
class Views:
    """Sizes of the crops; scale is the share of the image's area that a crop covers."""

    global_px: int = 224
    local_px: int = 96
    local_crops: int = 8
    global_scale: tuple[float, float] = (0.4, 1.0)
    local_scale: tuple[float, float] = (0.05, 0.4)


@cache
def constant(values: tuple[float, ...], device: torch.device) -> Tensor:
    """Brought to a device once: each time would be a wait for it."""
    return torch.tensor(values, device=device)


def multi_crop(
    images: Tensor,
    bands: Sequence[str],
    views: Views,
    recipe: Recipe,
    chance: Chance,
    mean: tuple[float, ...] = (0.0,),
    std: tuple[float, ...] = (1.0,),
) -> tuple[Tensor, Tensor]:
    """Two global and some local crops of each image, less `mean` and by `std` of each band or of all.

    `images` is N × H × W × C uint8, `bands` names its C bands. Gives 2N × C × global_px² and (local_crops · N) × C ×
    local_px², all first crops before all second ones; float32, in 0–1 unless normalised.
    """
    n, count = len(images), images.shape[-1]
    air = constant(tuple(share_of_haze(bands)), images.device)
    factor = constant(tuple(1 / s for s in std), images.device).view(-1, 1, 1)
    less = constant(tuple(-m / s for m, s in zip(mean, std, strict=True)), images.device).view(-1, 1, 1)
    big = torch.empty(2, n, count, views.global_px, views.global_px, device=images.device)
    small = torch.empty(views.local_crops, n, count, views.local_px, views.local_px, device=images.device)
    # A CPU takes as many at a time as its cache holds: the steps of a transform then pass through no memory.
    at_once = n if images.is_cuda else max(CACHE // views.global_px**2, 1)
    for part, own in chance.parts(n, at_once):
        pixels = images[part].permute(0, 3, 1, 2).float() / 255
        for i in (0, 1):
            blur, solarized = recipe.blur[i], i * recipe.solarize
            found = crop(pixels, air, views.global_px, views.global_scale, recipe, blur, solarized, own)
            torch.addcmul(less, found, factor, out=big[i, part])
        if views.local_crops:
            found = crop(
                pixels, air, views.local_px, views.local_scale, recipe, recipe.blur[2], 0, own, views.local_crops
            )
            torch.addcmul(less, found.unflatten(0, (views.local_crops, -1)), factor, out=small[:, part])
    return big.flatten(0, 1), small.flatten(0, 1)


def crop(
    pixels: Tensor,
    air: Tensor,
    size: int,
    scale: tuple[float, float],
    recipe: Recipe,
    blur_p: float,
    solarize_p: float,
    chance: Chance,
    views: int = 1,
) -> Tensor:
    """`views` crops of each image, (views · N) × C × size × size in 0–1, through every transform of the recipe."""
    x = random_resized_crop(pixels, size, scale, recipe.orientations, chance, views)
    x = gain_and_offset(x, recipe.gain, recipe.offset, chance)
    x = haze(x, recipe.haze, air, chance)
    x = colour_jitter(x, recipe, chance)
    x = random_grey(x, recipe.grey, chance)
    x = random_blur(x, blur_p, chance)
    return solarize(x, solarize_p, chance)
