"""How sure the numbers are: percentile bootstrap over the images of a split (Efron 1979).

The draws depend on the number of images alone, so that what was measured on the same images is compared pairwise.
An interval tells what other images of the same kind would change, not what another seed of training would.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.probe.metrics import Columns, Rankings, macro

RESAMPLES, SEED = 1000, 0
CONFIDENCE = 0.95
AT_ONCE = 2**22  # weights held in memory together, of all columns

Interval = list[float]  #: low, high


def resamples(images: int, columns: int = 1) -> Iterator[NDArray[np.int32]]:
    """How often each image was drawn, images × some resamples at a time, RESAMPLES in all."""
    chance = np.random.default_rng(SEED)
    some = max(1, min(RESAMPLES, AT_ONCE // max(images * columns, 1)))
    for done in range(0, RESAMPLES, some):
        drawn = [
            np.bincount(chance.integers(0, images, images), minlength=images)
            for _ in range(min(some, RESAMPLES - done))
        ]
        yield np.stack(drawn, axis=1).astype(np.int32)


def interval(figures: NDArray[np.float64]) -> Interval:
    """The middle 95 % of a figure's resamples; those in which it had no value are left out."""
    tail = 50 * (1 - CONFIDENCE)
    low, high = np.nanpercentile(figures, (tail, 100 - tail)).tolist()
    return [low, high]


def of_mean(values: NDArray[np.float64]) -> Interval:
    """Of the mean of a value an image, such as 1 where the answer was right."""
    means = [values @ weights / len(values) for weights in resamples(len(values))]
    return interval(np.concatenate(means))


def of_average_precision(answers: Columns) -> dict[str, Any]:
    """`macro_interval`, `micro_interval` and `per_label_interval` (null where no image has the label).

    A label that few images have is less sure than its interval says: resamples draw from what was seen.
    """
    rankings, found = Rankings(answers), []
    for weights in resamples(*answers.truth.shape):
        each = rankings.per_label(weights)
        found.append(np.vstack([each, macro(each), rankings.micro(weights)]))
    *of_labels, of_macro, of_micro = np.hstack(found)
    there = (answers.truth == 1).any(0)
    return {
        "macro_interval": interval(of_macro),
        "micro_interval": interval(of_micro),
        "per_label_interval": {
            name: interval(values) if has else None
            for name, values, has in zip(answers.names, of_labels, there, strict=True)
        },
    }


def of_macro_difference(first: Columns, second: Columns) -> tuple[float, Interval]:
    """Macro average precision of `second` minus that of `first`, and the interval of this difference, paired.

    The same images drawn for both cancel what makes a split easy or hard, so that the interval is far narrower
    than the two that stand beside the figures. Raises ValueError unless both answer the same questions.
    """
    if first.names != second.names or not np.array_equal(first.truth, second.truth):
        raise ValueError("only answers to the same questions about the same images can be compared")
    first.require_a_positive("difference")
    one, other = Rankings(first), Rankings(second)

    def difference(weights: NDArray[np.int32]) -> NDArray[np.float64]:
        return macro(other.per_label(weights)) - macro(one.per_label(weights))

    found = [difference(weights) for weights in resamples(*first.truth.shape)]
    once = np.ones((len(first.truth), 1), np.int32)
    return float(difference(once)[0]), interval(np.concatenate(found))
