"""Probabilities that mean what they say: Platt's scaling of each label (1999), and how far off they are."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from training.probe.linear import Head, minimise, multi_label_loss
from training.probe.metrics import Columns
from training.probe.supervision import UNKNOWN, Supervision

# A label with one or two positives keeps about the logits it has: the prior of the logarithm of its slope and of its
# offset is normal around 0 with these deviations. Hundreds of images overrule it.
SLOPE_SPREAD, OFFSET_SPREAD = 0.5, 1.0
BINS = 10


def calibrated(head: Head, features: NDArray[np.float32], supervision: Supervision) -> Head:
    """The head whose logits, stretched and shifted label by label, are likeliest on images it did not learn from.

    `features` and `supervision` are of these images alone. The likelihood is that of the loss, so a group's
    noisy-or counts, too. Labels told only within the same groups share slope and offset: nothing tells them
    apart, and a group is calibrated through its members. Slopes are positive: no label's ranking changes.
    """
    shares = _shares(supervision)
    logits = torch.from_numpy(head(features).astype(np.float64))
    log_slope = torch.zeros(max(shares) + 1, dtype=torch.float64, requires_grad=True)
    offset = torch.zeros_like(log_slope, requires_grad=True)
    scaled, everything = torch.tensor([share >= 0 for share in shares]), np.arange(len(features))
    shared = torch.tensor(shares).clamp(min=0)
    loss = multi_label_loss(supervision)

    def unlikeliness() -> torch.Tensor:
        stretched = torch.where(scaled, log_slope.exp()[shared] * logits + offset[shared], logits)
        prior = (log_slope / SLOPE_SPREAD).square().sum() + (offset / OFFSET_SPREAD).square().sum()
        return loss(stretched, everything) + 0.5 * prior / len(features)

    minimise(unlikeliness, [log_slope, offset])
    with torch.no_grad():
        slope = torch.where(scaled, log_slope.exp()[shared], 1.0).numpy()
        shift = torch.where(scaled, offset[shared], 0.0).numpy()
    return head.rescaled(slope, shift)


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
