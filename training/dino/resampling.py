"""Crops cut and resized: a separable resize is a matrix product from the left and one from the right."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from training.dino.chance import Chance

TRIES = 10  # boxes, as torchvision


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
