"""Random draws that belong to an image, whichever process has it."""

from __future__ import annotations

import random
from collections.abc import Iterator

import torch
from torch import Tensor


class Chance:
    """Random draws on one device that depend on the seed alone.

    They are made for every image of a batch, of which `share` is this process's part: an image gets the same
    draws however many processes share the batch. Several draws for each image are drawn view after view.
    """

    def __init__(self, seed: int, device: torch.device, batch: int | None = None, share: slice = slice(None)) -> None:
        self.device = device
        self._seed, self._batch, self._share = seed, batch, share
        self._generator = torch.Generator(device).manual_seed(seed)
        self._order = random.Random(seed)

    def uniform(self, low: float, high: float, count: int, *shape: int) -> Tensor:
        """Float32 in low … high, count × shape, for `count` crops: all images of this share in as many views."""
        batch = self._batch or count
        views = count // len(range(batch)[self._share])
        drawn = torch.rand((views, batch, *shape), generator=self._generator, device=self.device)
        return drawn[:, self._share].flatten(0, 1) * (high - low) + low

    def with_probability(self, probability: float, count: int) -> Tensor:
        """count booleans."""
        return self.uniform(0, 1, count) < probability

    def order(self, count: int) -> list[int]:
        """0 … count − 1, shuffled."""
        return self._order.sample(range(count), count)

    def parts(self, count: int, size: int) -> Iterator[tuple[slice, Chance]]:
        """`count` images of this share, `size` at a time, each part with a chance that draws from the start."""
        batch, first = self._batch or count, self._share.start or 0
        for start in range(0, count, size):
            part = slice(start, min(start + size, count))
            own = slice(first + part.start, first + part.stop)
            yield part, Chance(self._seed, self.device, batch, own)
