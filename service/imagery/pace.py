"""How long work takes, learnt as it is done: a seconds for each patch and b for each batch, or tile that is decoded."""

from __future__ import annotations

MEMORY = 0.95  # weight of what was known when a batch is added: the last twenty count for most


class Pace:
    """A line through the durations of late batches: least squares, weighted by age."""

    def __init__(self) -> None:
        self._weight = self._n = self._s = self._nn = self._ns = 0.0

    def add(self, patches: int, seconds: float) -> None:
        """A batch that was run."""
        moments = (self._weight, self._n, self._s, self._nn, self._ns)
        new = (1.0, patches, seconds, patches**2, patches * seconds)
        self._weight, self._n, self._s, self._nn, self._ns = (
            MEMORY * old + value for old, value in zip(moments, new, strict=True)
        )

    @property
    def line(self) -> tuple[float, float]:
        """(a, b) in seconds, neither below 0; (0, 0) before the first batch.

        While all batches are of one size, or the line through them makes no sense, all time is put on the patches.
        """
        if not self._weight:
            return 0.0, 0.0
        n, s = self._n / self._weight, self._s / self._weight
        spread = self._nn / self._weight - n * n
        a = (self._ns / self._weight - n * s) / spread if spread > 1e-9 * n * n else s / n
        if not 0 <= a <= s / n:  # noise: more patches never take less, nor does a batch take less than none
            a = s / n
        return a, s - a * n

    def seconds(self, patches: int, batches: int) -> float:
        """That so many patches take, in so many batches."""
        a, b = self.line
        return a * patches + b * batches
