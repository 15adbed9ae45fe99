"""Progress of long work, as lines."""

from __future__ import annotations

import sys
import time

SAY_EVERY_S = 10.0


class Progress:
    """Counts towards `total`, and tells where it is now and then."""

    def __init__(self, title: str, total: int, unit: str) -> None:
        self._title, self._total, self._unit, self._done, self._said = title, total, unit, 0, time.monotonic()

    def advance(self, count: int) -> None:
        """`count` more are done."""
        self._done += count
        if self._done == self._total or time.monotonic() - self._said >= SAY_EVERY_S:
            self._said = time.monotonic()
            print(f"{self._title}: {self._done}/{self._total} {self._unit}", file=sys.stderr, flush=True)
