"""How good probabilities are: average precision per label, macro and micro, also of resampled images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.model.land_cover import group_logit, sigmoid
from training.probe.supervision import UNKNOWN, Supervision


@dataclass(frozen=True)
class Columns:
    """What is answered, side by side: labels with direct supervision, then groups."""

    names: tuple[str, ...]
    probabilities: NDArray[np.float32]  #: N × columns
    truth: NDArray[np.int8]  #: N × columns: 1, 0, −1 unknown

    @property
    def positives(self) -> dict[str, int]:
        """How many images are known to have each."""
        return dict(zip(self.names, (self.truth == 1).sum(0).tolist(), strict=True))

    def require_a_positive(self, where: str) -> None:
        """Raises ValueError that begins with `where` if no image has any of the columns."""
        if not (self.truth == 1).any():
            raise ValueError(f"{where}: no image has a label that the train split has; nothing can be measured")


def columns(logits: NDArray[np.float32], supervision: Supervision) -> Columns:
    """Probabilities of everything that the model can tell, with what is known of it."""
    direct = np.flatnonzero(supervision.direct)
    z = logits.astype(np.float64)
    of_groups = [sigmoid(group_logit(z[:, supervision.members(g)])) for g in range(len(supervision.groups))]
    return Columns(
        (*(supervision.labels[i] for i in direct), *(name for name, _ in supervision.groups)),
        np.column_stack([sigmoid(z[:, direct]), *of_groups]).astype(np.float32),
        np.column_stack([supervision.targets[:, direct], supervision.any_of]).astype(np.int8),
    )


class Ranking:
    """Answers sorted once, so that their average precision under any weighting of the images is a few sums."""

    def __init__(self, probabilities: NDArray[np.float32], truth: NDArray[np.int8], images: NDArray[np.int64]) -> None:
        known = truth != UNKNOWN
        order = np.argsort(-probabilities[known], kind="stable")
        scores, positives = probabilities[known][order], np.flatnonzero(truth[known][order] == 1)
        self._images = images[known][order]
        self._positives = self._images[positives]
        # answers with one score stand or fall together
        self._last_alike = np.searchsorted(-scores, -scores[positives], side="right") - 1
        self._last_hit = np.searchsorted(positives, self._last_alike, side="right") - 1

    def average_precision(self, weights: NDArray[np.int32]) -> NDArray[np.float64]:
        """Σ precision · Δrecall over the distinct scores, a number a weighting; NaN where no positive has weight.

        `weights` is images × weightings.
        """
        of_positives = weights[self._positives]
        told = weights[self._images].cumsum(0)[self._last_alike]
        hits = of_positives.cumsum(0)[self._last_hit]
        found = (of_positives * (hits / np.maximum(told, 1))).sum(0)
        total = of_positives.sum(0)
        average: NDArray[np.float64] = np.where(total > 0, found / np.maximum(total, 1), np.nan)
        return average


class Rankings:
    """Those of each column, and of all entries of the table together."""

    def __init__(self, answers: Columns) -> None:
        images, each = np.arange(len(answers.truth)), zip(answers.probabilities.T, answers.truth.T, strict=True)
        self._each = [Ranking(p, truth, images) for p, truth in each]
        self._answers = answers

    @cached_property
    def _together(self) -> Ranking:
        p, truth = self._answers.probabilities, self._answers.truth
        return Ranking(p.ravel(), truth.ravel(), np.repeat(np.arange(len(truth)), truth.shape[1]))

    def per_label(self, weights: NDArray[np.int32]) -> NDArray[np.float64]:
        """columns × weightings; NaN without a positive."""
        return np.stack([ranking.average_precision(weights) for ranking in self._each])

    def micro(self, weights: NDArray[np.int32]) -> NDArray[np.float64]:
        """A number a weighting."""
        return self._together.average_precision(weights)


def macro(per_label: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean over the columns that have a positive; `per_label` is columns × weightings."""
    there = ~np.isnan(per_label)
    mean: NDArray[np.float64] = np.where(there, per_label, 0).sum(0) / np.where(there.any(0), there.sum(0), np.nan)
    return mean


def average_precision(answers: Columns) -> Mapping[str, Any]:
    """`macro` over the columns with a positive, `micro` over all entries, `per_label` (null without a positive).

    Raises ValueError if no column has a positive.
    """
    answers.require_a_positive("average precision")
    once, rankings = np.ones((len(answers.truth), 1), np.int32), Rankings(answers)
    each = rankings.per_label(once)
    per_label = {
        name: None if np.isnan(value) else value for name, value in zip(answers.names, each[:, 0].tolist(), strict=True)
    }
    return {"macro": float(macro(each)[0]), "micro": float(rankings.micro(once)[0]), "per_label": per_label}
