"""Nearest neighbours: what features are worth without any training on top (Wu et al. 2018; k 20, temperature 0.07)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from service.imagery.resize import normalise, resize
from training.probe.supervision import one_label_each
from training.stores.store import Store

K, TEMPERATURE = 20, 0.07
QUICK_BANK, QUICK_QUERIES = 4000, 1500  # of a store, while pretraining


def right(bank: Tensor, bank_classes: Tensor, queries: Tensor, classes: Tensor) -> Tensor:
    """For each query whether the weighted vote of the K most similar (cosine) in the bank is right.

    `bank` and `queries` are N × features, classes are int64 from 0.
    """
    bank, count = torch.nn.functional.normalize(bank), int(bank_classes.max()) + 1
    found = []
    for some, truth in zip(queries.split(1024), classes.split(1024), strict=True):
        similarity, nearest = (torch.nn.functional.normalize(some) @ bank.T).topk(min(K, len(bank)))
        votes = torch.zeros(len(some), count, dtype=bank.dtype, device=bank.device)
        votes.scatter_add_(1, bank_classes[nearest], (similarity / TEMPERATURE).exp())
        found.append(votes.argmax(1) == truth)
    return torch.cat(found)


def accuracy(bank: Tensor, bank_classes: Tensor, queries: Tensor, classes: Tensor) -> float:
    """Share of queries that are `right`."""
    return int(right(bank, bank_classes, queries, classes).sum()) / len(queries)


def can_tell(store: Store) -> bool:
    """True if each image has one label, and there are images to learn from and to ask about."""
    return one_label_each(store.rows) and len(store.of_split("train")) > 0 and len(store.of_split("validation")) > 0


@torch.inference_mode()
def quick_accuracy(
    embed: Callable[[Tensor], Tensor],
    store: Store,
    size: int,
    mean: tuple[float, ...],
    std: tuple[float, ...],
    left_off: Callable[[], bool] = lambda: False,
) -> float | None:
    """Accuracy on some validation images with some of the train split as bank, the same ones each time.

    `embed` gives N × features for N × C × size × size, normalised. None if, asked between batches, `left_off` says so.
    """
    chance = np.random.default_rng(0)
    bank, queries = (
        np.sort(chance.permutation(store.of_split(split))[:at_most])
        for split, at_most in (("train", QUICK_BANK), ("validation", QUICK_QUERIES))
    )
    both = np.concatenate([bank, queries])
    features = []
    for start in range(0, len(both), 64):
        if left_off():
            return None
        images = np.stack([resize(image, size) for image in store.images[both[start : start + 64]]])
        features.append(embed(torch.from_numpy(normalise(images, mean, std))))
    found = torch.cat(features)
    classes = torch.tensor([store.card.labels.index(store.rows[i].labels[0]) for i in both], device=found.device)
    return accuracy(found[: len(bank)], classes[: len(bank)], found[len(bank) :], classes[len(bank) :])
