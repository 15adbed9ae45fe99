"""From which probability on a label is told: for the best F1, or for a precision that somebody asked for."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from training.probe.metrics import Columns
from training.probe.supervision import UNKNOWN


def best_f1(answers: Columns) -> dict[str, float | None]:
    """For each column the probability from which on F1 is highest; one half where no positive is known."""
    found: dict[str, float | None] = {}
    for name, (scores, told, hits, positives) in _cuts(answers).items():
        f1 = 2 * hits / (told + positives)
        found[name] = float(scores[int(f1.argmax())]) if positives else 0.5
    return found


def of_precision(answers: Columns, precision: float) -> dict[str, float | None]:
    """For each column the lowest probability from which on at least this share of what is told is right.

    None where no threshold is so good. The service then never lists the label, which keeps the promise that
    what it lists is right that often, but still answers its probability; a request's own threshold overrules.
    On few images a precision is luck as much as merit: expect less of other images.
    """
    found: dict[str, float | None] = {}
    for name, (scores, told, hits, _) in _cuts(answers).items():
        enough = np.flatnonzero((hits > 0) & (hits / told >= precision))
        found[name] = float(scores[enough[-1]]) if len(enough) else None
    return found


_Cut = tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.int64], int]


def _cuts(answers: Columns) -> Mapping[str, _Cut]:
    """For each column its distinct scores from the highest, how many have at least each, how many of these rightly;
    and how many positives there are.
    """
    cuts = {}
    for name, p, truth in zip(answers.names, answers.probabilities.T, answers.truth.T, strict=True):
        known = truth != UNKNOWN
        order = np.argsort(-p[known], kind="stable")
        scores, hits = p[known][order], np.cumsum(truth[known][order] == 1)
        ends = np.flatnonzero(np.append(scores[1:] < scores[:-1], len(scores) > 0))
        cuts[name] = (scores[ends], ends + 1, hits[ends], int(hits[-1]) if len(hits) else 0)
    return cuts
