"""Probabilities that mean what they say: Platt's scaling of each label (1999), and how far off they are."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from training.probe.linear import Head, minimise, multi_label_loss
from training.probe.metrics import Columns
from training.probe.supervision import UNKNOWN, Supervision

# Standard deviations of normal priors around 0: of the logarithm of the stretch that all labels share (a head may be
# too sure throughout), of that by which one label departs from it, and of its offset. Hundreds of positives overrule
# them, one or two hardly move a label. On EuroSAT mosaics (the starter's features, test split) the expected calibration
# error went from 0.062 to 0.054 with 100 images to learn from and 33 to calibrate on, from 0.034 to 0.031 with 400 and
# 133; for heads fitted without a penalty from 0.224 to 0.096 and from 0.181 to 0.051. Wide priors for each label alone
# (0.5 and 1) made good heads worse: 0.064 and 0.036.
SHARED_SPREAD, SLOPE_SPREAD, OFFSET_SPREAD = 1.0, 0.2, 0.3
BINS = 10


def calibrated(head: Head, features: NDArray[np.float32], supervision: Supervision) -> Head:
    """The head whose logits, stretched and shifted label by label, are likeliest on images it did not learn from.

    `features` and `supervision` are of these images alone. The likelihood is that of the loss, so a group's
    noisy-or counts, too. Labels told only within the same groups share slope and offset: nothing tells them
    apart, and a group is calibrated through its members. Slopes are positive: no label's ranking changes.
    """
    shares = torch.tensor(_shares(supervision))
    told, share = shares >= 0, shares.clamp(min=0)
    logits, everything = torch.from_numpy(head(features).astype(np.float64)), np.arange(len(features))
    shared = torch.zeros((), dtype=torch.float64, requires_grad=True)
    own = torch.zeros(int(share.max()) + 1, dtype=torch.float64, requires_grad=True)
    offsets = torch.zeros_like(own, requires_grad=True)
    loss = multi_label_loss(supervision)

    def slope_and_offset() -> tuple[Tensor, Tensor]:
        return torch.where(told, (shared + own[share]).exp(), 1.0), torch.where(told, offsets[share], 0.0)

    def unlikeliness() -> Tensor:
        slope, offset = slope_and_offset()
        parts = ((shared, SHARED_SPREAD), (own, SLOPE_SPREAD), (offsets, OFFSET_SPREAD))
        prior = sum(((value / spread).square().sum() for value, spread in parts), torch.zeros(()))
        return loss(slope * logits + offset, everything) + 0.5 * prior / len(features)

    minimise(unlikeliness, [shared, own, offsets])
    slope, offset = slope_and_offset()
    return head.rescaled(slope.detach().numpy(), offset.detach().numpy())


def _shares(supervision: Supervision) -> list[int]:
    """For each label the number of its slope and offset; −1 for one without supervision."""
    keys: dict[object, int] = {}
    shares = []
    for name, direct in zip(supervision.labels, supervision.direct, strict=True):
        groups = tuple(group for group, members in supervision.groups if name in members)
        key: object = name if direct else groups
        shares.append(keys.setdefault(key, len(keys)) if key else -1)
    return shares


def expected_error(answers: Columns) -> float:
    """Expected calibration error in ten bins: of each column, then their mean (class-wise ECE, Kull et al. 2019).

    The mean keeps one label that says too much and another that says too little from making up for each other.
    """
    errors = []
    for p, truth in zip(answers.probabilities.T, answers.truth.T, strict=True):
        bins = _bins(p, truth)
        off = sum(part["n"] * abs(part["frequency"] - part["probability"]) for part in bins)
        errors.append(off / max(sum(part["n"] for part in bins), 1))
    return float(np.mean(errors))


def reliability(answers: Columns) -> list[dict[str, Any]]:
    """A reliability curve over all columns together: from, to, n, mean probability, and how often it was true.

    Bins in which nothing fell are left out.
    """
    return _bins(answers.probabilities.ravel(), answers.truth.ravel())


def _bins(p: NDArray[np.float32], truth: NDArray[np.int8]) -> list[dict[str, Any]]:
    known = truth != UNKNOWN
    p, there = p[known].astype(np.float64), truth[known] == 1
    place = np.minimum((p * BINS).astype(np.int64), BINS - 1)
    bins = []
    for number in np.unique(place).tolist():
        inside = place == number
        figures = {"probability": float(p[inside].mean()), "frequency": float(there[inside].mean())}
        bins.append({"from": number / BINS, "to": (number + 1) / BINS, "n": int(inside.sum()), **figures})
    return bins


def measured(before: Columns, after: Columns) -> dict[str, Any]:
    """What calibration did: errors and reliability curves of the same images before and after."""
    return {
        "ece_before": expected_error(before),
        "ece_after": expected_error(after),
        "before": reliability(before),
        "after": reliability(after),
    }
