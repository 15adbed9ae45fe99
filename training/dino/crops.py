"""Multi-crop augmentation as batched tensor functions, on the device that holds the images.

Every transform draws its chances for each image on its own and is one of torchvision's or Pillow's in
distribution; the order is the reference's. Overhead imagery adds what a ground photograph has not: any
of the eight orientations is as likely, each band may be brighter or darker (a gain and an offset), and there is
more or less air between sensor and ground (haze).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from service.imagery.bands import share_of_haze
from training.dino.chance import Chance

CACHE = 200_000  # pixels of crops that a transform works on at a time: some 2 MB
TRIES = 10  # boxes, as torchvision
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


def random_resized_crop(
    pixels: Tensor, size: int, scale: tuple[float, float], orientations: bool, chance: Chance, views: int = 1
) -> Tensor:
    """torchvision's RandomResizedCrop with ratio (3/4, 4/3) and Pillow's antialiased bicubic, then flips.

    A separable resize is a matrix product from the left and one from the right; flips reverse the
    matrices' rows. Of ten boxes the first that fits is taken, and else the whole image, its ratio within bounds.
    """
    n, (height, width) = views * len(pixels), pixels.shape[2:]
    area = height * width * chance.uniform(*scale, n, TRIES)
    ratio = torch.exp(chance.uniform(math.log(3 / 4), math.log(4 / 3), n, TRIES))
    w, h = (area * ratio).sqrt().round(), (area / ratio).sqrt().round()
    fits = (w >= 1) & (w <= width) & (h >= 1) & (h <= height)
    first = fits.byte().argmax(1, keepdim=True)  # the first of several maxima
    any_fits = fits.any(1)
    w = torch.where(any_fits, w.gather(1, first)[:, 0], min(width, round(height * 4 / 3)))
    h = torch.where(any_fits, h.gather(1, first)[:, 0], min(height, round(width * 4 / 3)))
    top = (chance.uniform(0, 1, n) * (height - h + 1)).floor()
    left = (chance.uniform(0, 1, n) * (width - w + 1)).floor()
    rows, columns = bicubic_weights(top, h, height, size), bicubic_weights(left, w, width, size)
    columns = torch.where(chance.with_probability(0.5, n)[:, None, None], columns.flip(1), columns)
    if orientations:
        rows = torch.where(chance.with_probability(0.5, n)[:, None, None], rows.flip(1), rows)
    out = separable(pixels, rows, columns)
    if orientations:
        out = torch.where(chance.with_probability(0.5, n)[:, None, None, None], out.transpose(2, 3), out)
    return out.clamp_(0, 1)


def bicubic_weights(start: Tensor, length: Tensor, n_in: int, n_out: int) -> Tensor:
    """N × n_out × n_in: row i gives output pixel i from the pixels start … start + length, as Pillow's resize.

    Keys' kernel with a = −0.5, widened by the scale when it shrinks; weights outside the box are dropped and
    the rest add up to one.
    """
    scale = length / n_out
    width = scale.clamp(min=1)[:, None]
    centre = (start[:, None] + (torch.arange(n_out, device=start.device) + 0.5) * scale[:, None]) / width
    at = torch.arange(n_in, device=start.device)
    t = ((at + 0.5) / width)[:, None] - centre[..., None]
    t = t.abs_().clamp_(max=2)  # where the kernel is zero
    near = (1.5 * t).sub_(2.5).mul_(t).mul_(t).add_(1)
    far = (-0.5 * t).add_(2.5).mul_(t).sub_(4).mul_(t).add_(2)
    inside = (at >= start[:, None]) & (at < (start + length)[:, None])
    weights = torch.where(t < 1, near, far).mul_(inside[:, None])
    return weights / weights.sum(-1, keepdim=True)


def separable(pixels: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """rows · image · columnsᵀ for each band of each image, once for all images, then once more for as many.

    (views · N) × C × H × W of N images; float32, also where autocast multiplies in bfloat16.
    """
    columns = columns.transpose(1, 2).unflatten(0, (-1, len(pixels)))
    across = (pixels.flatten(1, 2) @ columns).flatten(0, 1).unflatten(1, pixels.shape[1:3])
    found: Tensor = rows[:, None] @ across
    return found.float()


def where(on: Tensor, change: Callable[..., Tensor], x: Tensor, *of_each: Tensor) -> Tensor:
    """`change(x, *of_each)` for the images that are `on`, the others as they are.

    A CPU changes those alone; on a GPU asking which they are would mean to wait for it, so it changes all.
    """
    if x.is_cuda:
        return torch.where(on[:, None, None, None], change(x, *of_each), x)
    chosen = on.nonzero().squeeze(1)
    if len(chosen):
        x = x.index_copy(0, chosen, change(x[chosen], *(one[chosen] for one in of_each)))
    return x


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
    strengths = (recipe.brightness, recipe.contrast, recipe.saturation)
    factors = [chance.uniform(1 - s, 1 + s, n, 1, 1, 1) for s in strengths]
    shift = chance.uniform(-recipe.hue, recipe.hue, n)
    order = chance.order(4)

    def jittered(x: Tensor, brightness: Tensor, contrast: Tensor, saturation: Tensor, shift: Tensor) -> Tensor:
        for step in order:
            if step == 0 and recipe.brightness:
                x = (x * brightness).clamp_(0, 1)
            elif step == 1 and recipe.contrast:
                x = torch.lerp(grey(x).mean((2, 3), keepdim=True), x, contrast).clamp_(0, 1)
            elif step == 2 and recipe.saturation and bands == 3:
                x = torch.lerp(grey(x), x, saturation).clamp_(0, 1)
            elif step == 3 and recipe.hue and bands == 3:
                x = turn_hue(x, shift)
        return x

    return where(on, jittered, x, *factors, shift)


def grey(x: Tensor) -> Tensor:
    """N × 1 × H × W: ITU-R 601-2 luma of three bands, else the mean of all."""
    if x.shape[1] != 3:
        return x.mean(1, keepdim=True)
    red, green, blue = x.split(1, 1)
    return torch.add(red * GREY[0], green, alpha=GREY[1]).add_(blue, alpha=GREY[2])


def turn_hue(x: Tensor, shift: Tensor) -> Tensor:
    """Hue in HSV turned by `shift` (1 is the full circle), per image."""
    red, green, blue = x.unbind(1)
    value, least = x.amax(1), x.amin(1)
    chroma = value - least
    hue = torch.where(
        red == value,
        green - blue,
        torch.where(green == value, (blue - red).add_(chroma, alpha=2), (red - green).add_(chroma, alpha=4)),
    )
    hue = hue.div_(chroma.clamp(min=1e-8)).add_(6 * shift.view(-1, 1, 1)).remainder_(6)
    out = torch.empty_like(x)
    torch.addcmul(least, chroma, (hue - 3).abs_().sub_(1).clamp_(0, 1), out=out[:, 0])
    torch.addcmul(least, chroma, (hue - 2).abs_().neg_().add_(2).clamp_(0, 1), out=out[:, 1])
    torch.addcmul(least, chroma, (hue - 4).abs_().neg_().add_(2).clamp_(0, 1), out=out[:, 2])
    return out


def random_grey(x: Tensor, probability: float, chance: Chance) -> Tensor:
    """All bands alike, with this probability."""
    if probability == 0:
        return x
    return where(chance.with_probability(probability, len(x)), lambda x: grey(x).expand_as(x), x)


def random_blur(x: Tensor, probability: float, chance: Chance) -> Tensor:
    """Gaussian blur with a standard deviation of U(0.1, 2) pixels, with this probability."""
    if probability == 0:
        return x
    sigma, on = chance.uniform(0.1, 2.0, len(x)), chance.with_probability(probability, len(x))
    at = torch.arange(x.shape[-1], device=x.device)
    distances = (at - at[:, None]).abs()

    def blurred(x: Tensor, sigma: Tensor) -> Tensor:
        weights = torch.exp(-0.5 * (at / sigma[:, None]) ** 2)[:, distances]
        weights = weights / weights.sum(-1, keepdim=True)
        return separable(x, weights, weights)

    return where(on, blurred, x, sigma)


def solarize(x: Tensor, probability: float, chance: Chance) -> Tensor:
    """Values from one half up are inverted, with this probability."""
    if probability == 0:
        return x
    on = chance.with_probability(probability, len(x))
    return where(on, lambda x: torch.where(x >= 128 / 255, 1 - x, x), x)
