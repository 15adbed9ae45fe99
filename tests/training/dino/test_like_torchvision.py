"""Crops and their looks have the distributions of torchvision's transforms.v2, statistic by statistic."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor
from torchvision.transforms import InterpolationMode, v2

from training.dino import looks, resampling
from training.dino.chance import Chance
from training.dino.recipes import REFERENCE

COUNT = 1500
NO_JITTER = replace(REFERENCE, brightness=0, contrast=0, saturation=0, hue=0)


def scene() -> Tensor:
    """3 × 48 × 48 in 0.1–0.9: slopes, edges and colours, so that every transform shows."""
    y, x = torch.meshgrid(torch.linspace(0, 1, 48), torch.linspace(0, 1, 48), indexing="ij")
    bands = [0.2 + 0.6 * x, 0.2 + 0.5 * y * x, 0.15 + 0.6 * ((x > 0.6) ^ (y > 0.3))]
    return torch.stack([band.float() for band in bands])


def jitter(**strength: float) -> v2.Transform:
    return v2.RandomApply([v2.ColorJitter(**strength)], 0.8)


def jittered(**strength: float) -> Callable[[Tensor, Chance], Tensor]:
    return lambda x, chance: looks.colour_jitter(x, replace(NO_JITTER, **strength), chance)


def resized(scale: tuple[float, float]) -> v2.Transform:
    cut = v2.RandomResizedCrop(32, scale, interpolation=InterpolationMode.BICUBIC, antialias=True)
    return v2.Compose([cut, v2.RandomHorizontalFlip()])


def blurred(probability: float) -> v2.Transform:
    return v2.RandomApply([v2.GaussianBlur(15, (0.1, 2.0))], probability)


#: name → ours, theirs
PAIRS: dict[str, tuple[Callable[[Tensor, Chance], Tensor], v2.Transform]] = {
    "global crop": (lambda x, c: resampling.random_resized_crop(x, 32, (0.4, 1.0), False, c), resized((0.4, 1.0))),
    "local crop": (lambda x, c: resampling.random_resized_crop(x, 32, (0.05, 0.4), False, c), resized((0.05, 0.4))),
    "brightness": (jittered(brightness=0.4), jitter(brightness=0.4)),
    "contrast": (jittered(contrast=0.4), jitter(contrast=0.4)),
    "saturation": (jittered(saturation=0.2), jitter(saturation=0.2)),
    "hue": (jittered(hue=0.1), jitter(hue=0.1)),
    "grey": (lambda x, c: looks.random_grey(x, 0.2, c), v2.RandomGrayscale(0.2)),
    "blur": (lambda x, c: looks.random_blur(x, 0.5, c), blurred(0.5)),
    "solarize": (lambda x, c: looks.solarize(x, 0.2, c), v2.RandomSolarize(128 / 255, 0.2)),
}


def statistics(images: Tensor) -> dict[str, np.ndarray]:
    """Of each image: mean and spread of each band, what is left of fine detail, and how left differs from right."""
    flat = images.flatten(2)
    fine = (images[..., 1:] - images[..., :-1]).abs().mean((1, 2, 3))
    sides = images[..., : images.shape[-1] // 2].mean((1, 2, 3)) - images[..., images.shape[-1] // 2 :].mean((1, 2, 3))
    columns = [*flat.mean(2).T, *flat.std(2).T, fine, sides]
    names = [f"{what} {band}" for what in ("mean", "spread") for band in "RGB"] + ["detail", "left and right"]
    return {name: column.numpy() for name, column in zip(names, columns, strict=True)}


def distance(one: np.ndarray, other: np.ndarray) -> float:
    """Kolmogorov and Smirnov's: the largest difference of two distribution functions. 1e-5 apart counts as equal."""
    one, other = np.round(one, 4), np.round(other, 4)
    at = np.concatenate([one, other])
    both = [np.searchsorted(np.sort(values), at, side="right") / len(values) for values in (one, other)]
    return float(np.abs(both[0] - both[1]).max())


@pytest.mark.parametrize("name", PAIRS)
def test_a_transform_has_the_distribution_of_torchvisions(name: str) -> None:
    ours, theirs = PAIRS[name]
    torch.manual_seed(0)
    image = scene()
    mine = statistics(ours(image.expand(COUNT, -1, -1, -1).clone(), Chance(0, torch.device("cpu"))))
    others = statistics(torch.stack([theirs(image) for _ in range(COUNT)]))
    critical = 1.95 * (2 / COUNT) ** 0.5  # p 0.001 for each statistic
    for statistic in mine:
        assert distance(mine[statistic], others[statistic]) < critical, statistic


def test_the_comparison_tells_a_jitter_that_is_a_quarter_too_strong() -> None:
    image, cpu = scene().expand(COUNT, -1, -1, -1), torch.device("cpu")
    one = statistics(jittered(brightness=0.4)(image.clone(), Chance(0, cpu)))
    other = statistics(jittered(brightness=0.5)(image.clone(), Chance(1, cpu)))
    assert distance(one["mean R"], other["mean R"]) > 1.95 * (2 / COUNT) ** 0.5
