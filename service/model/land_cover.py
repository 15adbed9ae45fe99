"""Logits to land cover: a probability for each label that the model can tell, null for the others, groups beside."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.model.manifest import Group, Label


@dataclass(frozen=True)
class LandCover:
    """The land cover of one patch."""

    probabilities: dict[str, float | None]  #: every label of the artifact, in its order; 0–1
    groups: dict[str, float]  #: that at least one member is there; 0–1
    labels: list[str]  #: labels and groups at or over their thresholds, likeliest first


def group_logit(members: NDArray[Any], axis: int = -1) -> NDArray[Any]:
    """Logit of "at least one": noisy-or of independent members, 1 − Π(1 − σ(z)), without loss at either end."""
    softplus = np.logaddexp(0, members).sum(axis=axis)  # −log Π(1 − σ)
    logit: NDArray[Any] = softplus + np.log(-np.expm1(-np.maximum(softplus, 1e-30)))
    return logit


def sigmoid(logits: NDArray[Any]) -> NDArray[Any]:
    """Element by element, without overflow."""
    probabilities: NDArray[Any] = np.exp(-np.logaddexp(0, -logits))
    return probabilities


def read(
    logits: NDArray[np.float32], labels: Sequence[Label], groups: Sequence[Group], threshold: float | None = None
) -> LandCover:
    """Land cover of one patch from its logits (one a label). `threshold` replaces those of the artifact."""
    exact = logits.astype(np.float64)
    position = {label.name: i for i, label in enumerate(labels)}
    probabilities = {
        label.name: float(p) if label.is_answered else None for label, p in zip(labels, sigmoid(exact), strict=True)
    }
    of_groups = {
        group.name: float(sigmoid(group_logit(exact[[position[member] for member in group.members]])))
        for group in groups
    }
    bounds = {label.name: label.threshold for label in labels} | {group.name: group.threshold for group in groups}
    told = {name: p for name, p in {**probabilities, **of_groups}.items() if p is not None}
    over = [name for name, p in told.items() if (bound := _bound(threshold, bounds[name])) is not None and p >= bound]
    return LandCover(probabilities, of_groups, sorted(over, key=lambda name: -told[name]))


def _bound(said: float | None, own: float | None) -> float | None:
    return own if said is None else said
