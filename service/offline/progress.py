"""Progress: one line that is written anew on a terminal, lines now and then in a log.

The service's container has no tqdm, which training uses; and two rates are wanted.
"""

from __future__ import annotations

import shutil
import sys
import time

ON_A_TERMINAL_S, IN_A_LOG_S = 0.2, 10.0


class Progress:
    """Counts patches, ground and how much of all bytes is done."""

    def __init__(self, tiles: int, size: int) -> None:
        self._tiles, self._size = tiles, max(1, size)
        self._done = self._at_first = 0.0  # bytes; those at first by a run before
        self.patches, self.ground_m2 = 0, 0.0  #: of this run
        self._started = self._said = time.monotonic()
        self._is_terminal = sys.stderr.isatty()

    def skip(self, size: float) -> None:
        """So many bytes were done by a run before."""
        self._done += size
        self._at_first += size

    def advance(self, size: float) -> None:
        """So many more bytes are done."""
        self._done += size

    def count(self, patches: int, ground_m2: float) -> None:
        """So many more patches went through the model."""
        self.patches += patches
        self.ground_m2 += ground_m2
        if time.monotonic() - self._said >= (ON_A_TERMINAL_S if self._is_terminal else IN_A_LOG_S):
            self._say("\r" if self._is_terminal else "", "" if self._is_terminal else "\n")

    def finish(self) -> None:
        """All is done: what was refused half-way counts, too."""
        self._done = self._size

    def end(self) -> None:
        """The last line."""
        self._say("\r" if self._is_terminal else "", "\n")

    def _say(self, before: str, after: str) -> None:
        self._said = time.monotonic()
        passed = max(self._said - self._started, 1e-9)
        rates = f"{self.patches / passed:.1f} images/s, {self.ground_m2 / 1e6 / passed:.1f} km²/s"
        fresh = self._done - self._at_first
        left_s = passed * (self._size - self._done) / fresh if fresh > 0 else None
        left = "" if left_s is None or left_s < 1 else f", {_duration(left_s)} left"
        line = f"{self._done / self._size:4.0%} of {self._tiles} tiles: {self.patches} patches, {rates}{left}"
        if self._is_terminal:
            columns = shutil.get_terminal_size().columns - 1  # a line that wraps is not written anew
            bar = f"[{'#' * round(20 * self._done / self._size):<20}] "
            line = (bar + line if len(bar + line) <= columns else line)[:columns].ljust(columns)
        print(f"{before}{line}", end=after, file=sys.stderr, flush=True)


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"
