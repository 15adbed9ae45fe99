"""Which images a step learns from, and how they come to the device without anyone waiting for them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from training.dino.config import Config

SHARE_OF_DEVICE = 0.4  # of its free memory that images may take; the rest is for activations


def order(config: Config, steps: range, share: slice) -> Iterator[NDArray[np.int64]]:
    """For each step, this share of its batch, as positions among all images of the run.

    Each epoch has an order of its own, that depends on seed and epoch alone; what does not fill a batch is left out.
    """
    steps_an_epoch = config.images // config.batch
    shuffled, shuffled_for = np.empty(0, np.int64), -1
    for step in steps:
        epoch, within = divmod(step, steps_an_epoch)
        if epoch != shuffled_for:
            shuffled, shuffled_for = np.random.default_rng([config.seed, epoch]).permutation(config.images), epoch
        yield np.sort(shuffled[within * config.batch : (within + 1) * config.batch])[share]


class Feed:
    """Images of some stores, one behind the other: on a GPU if they fit, else memory-mapped and read a step ahead."""

    def __init__(self, stores: Sequence[tuple[NDArray[np.uint8], NDArray[np.int64]]], device: torch.device) -> None:
        self._stores, self._device = stores, device
        size = sum(len(positions) * images[0].nbytes for images, positions in stores)
        self._on_device: Tensor | None = None
        if device.type == "cuda" and size < SHARE_OF_DEVICE * torch.cuda.mem_get_info(device)[0]:
            self._on_device = self._moved()

    def batches(self, wanted: Iterable[NDArray[np.int64]]) -> Iterator[Tensor]:
        """N × H × W × C uint8 on the device for each N positions, the next being read meanwhile."""
        with ThreadPoolExecutor(1) as reader:
            ahead: Future[Tensor] | None = None
            for positions in wanted:
                following = reader.submit(self._read, positions)
                if ahead is not None:
                    yield self._brought(ahead.result())
                ahead = following
            if ahead is not None:
                yield self._brought(ahead.result())

    def _read(self, wanted: NDArray[np.int64]) -> Tensor:
        """The images, or just their positions where they are on the device already; pinned for a GPU."""
        if self._on_device is not None:
            return torch.from_numpy(wanted).pin_memory()
        found, first = [], 0
        for images, positions in self._stores:
            here = wanted[(wanted >= first) & (wanted < first + len(positions))] - first
            found.append(images[positions[here]])
            first += len(positions)
        read = torch.from_numpy(np.concatenate(found))
        return read.pin_memory() if self._device.type == "cuda" else read

    def _brought(self, read: Tensor) -> Tensor:
        there = read.to(self._device, non_blocking=True)
        return there if self._on_device is None else self._on_device[there]

    def _moved(self) -> Tensor:
        """All images on the device, brought there a thousand at a time."""
        shape = self._stores[0][0].shape[1:]
        total = sum(len(positions) for _, positions in self._stores)
        whole, first = torch.empty((total, *shape), dtype=torch.uint8, device=self._device), 0
        for images, positions in self._stores:
            for start in range(0, len(positions), 1000):
                some = torch.from_numpy(images[positions[start : start + 1000]])
                whole[first : first + len(some)].copy_(some)
                first += len(some)
        return whole
