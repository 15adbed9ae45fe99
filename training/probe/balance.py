"""Rare labels: what is there counts more often in the loss, and the logits are brought back afterwards."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.probe.supervision import Supervision

LARGEST = 20.0  # a label with one positive must not drown the others


@dataclass(frozen=True)
class Weights:
    """How often what is there counts; what is not there counts once."""

    labels: NDArray[np.float64]  #: L
    groups: NDArray[np.float64]  #: G


def inverse(supervision: Supervision) -> Weights:
    """Of each label and group its negatives by its positives, from 1 to 20: both sides weigh the same."""
    return Weights(_odds_against(supervision.targets), _odds_against(supervision.any_of))


def _odds_against(truth: NDArray[np.int8]) -> NDArray[np.float64]:
    odds: NDArray[np.float64] = (truth == 0).sum(0) / np.maximum((truth == 1).sum(0), 1)
    return odds.clip(1, LARGEST)


def surplus(weights: Weights, supervision: Supervision) -> NDArray[np.float64]:
    """By how much each label's logit is too high for it: the logarithm of its weight, exact for a head that fits.

    Labels told only within groups take their groups' weight, which is right as far as members exclude each other.
    """
    logs = np.log(weights.labels)
    for label, (direct, name) in enumerate(zip(supervision.direct, supervision.labels, strict=True)):
        of_groups = [g for g, (_, members) in enumerate(supervision.groups) if name in members]
        if of_groups and not direct:
            logs[label] = np.log(weights.groups[of_groups]).mean()
    return logs
