"""What changes over a run, as functions of the step."""

from __future__ import annotations

import math


def cosine(step: int, steps: int, start: float, end: float) -> float:
    """From `start` at step 0 towards `end` at `steps` along half a cosine."""
    return end + 0.5 * (start - end) * (1 + math.cos(math.pi * step / steps))


def warm_up_then_cosine(step: int, steps: int, warm_up: int, peak: float, end: float, first: float = 0.0) -> float:
    """Linear from `first` to `peak` over `warm_up` steps, then a cosine to `end`."""
    if step < warm_up:
        return first + (peak - first) * (step / max(warm_up - 1, 1))
    return cosine(step - warm_up, max(steps - warm_up, 1), peak, end)
