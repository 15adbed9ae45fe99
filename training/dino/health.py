"""Watches a run for the ways in which DINO fails, and says what to try."""

from __future__ import annotations

import math
from collections.abc import Mapping

PATIENCE = 50  # records, 500 steps
COLLAPSED = 0.01  # of `method.spread`; an untrained ViT has some 0.1
NOTHING_LEFT = 0.01  # nats of loss and of the teacher's entropy: one prototype for all images is always right
STUCK = 0.01  # nats below ln(prototypes)


class Diverged(ValueError):
    """The run cannot come to anything as it goes."""


class Health:
    """Raises Diverged when a record, or a long row of them, shows that nothing is learnt any more."""

    def __init__(self, prototypes: int) -> None:
        self._ignorance = math.log(prototypes)
        self._collapsed = self._stuck = 0

    def check(self, record: Mapping[str, float], warming_up: bool = False) -> None:
        """One record of metrics.jsonl, in order. Nothing but numbers that are none counts while warming up."""
        if not all(math.isfinite(value) for value in record.values()):
            advice = "lower --learning-rate, lengthen --warm-up-epochs, or take --dtype float32"
            raise Diverged(f"step {record['step']}: the loss is no number any more (NaN); {advice}")
        if warming_up:
            return
        one_for_all = record["entropy"] < NOTHING_LEFT and record["loss"] < NOTHING_LEFT
        self._collapsed = self._collapsed + 1 if record["feature_std"] < COLLAPSED or one_for_all else 0
        self._stuck = self._stuck + 1 if record["loss"] > self._ignorance - STUCK else 0
        if self._collapsed == PATIENCE:
            advice = "try --targets balanced, a larger --batch, a higher --momentum or a lower --learning-rate"
            raise Diverged(f"step {record['step']}: collapsed, all images look the same to it; {advice}")
        if self._stuck == PATIENCE:
            advice = "try --targets balanced, a lower --teacher-temperature, a larger --batch or fewer --prototypes"
            raise Diverged(
                f"step {record['step']}: the loss has stayed at ln(prototypes) = {self._ignorance:.2f}, "
                f"which is what guessing gets; {advice}"
            )
