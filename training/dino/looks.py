"""Transforms of what a crop looks like, each for the images that chance takes: batches in 0–1, N × C × H × W."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from training.dino.chance import Chance
from training.dino.recipes import Recipe
from training.dino.resampling import separable

GREY = (0.299, 0.587, 0.114)  # ITU-R 601-2, as Pillow


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
