"""SIGTERM (a spot notice, a stopped job) as a question that all processes answer alike."""

from __future__ import annotations

import signal
import threading
import time
from types import TracebackType

import torch

from training.distributed import Workers

EXIT_CODE = 128 + signal.SIGTERM  # what a shell says of a program that SIGTERM ended
LOOK_EVERY_S = 1.0
LOOK_EVERY_STEPS = 50


class StopNotice:
    """Within, SIGTERM ends nothing; `has_come` tells all processes at the same step that one of them got it.

    Alone, a process knows at once. Many ask each other about once a second, as often as the mean of their
    step times says, so that all ask at the same steps.
    """

    def __init__(self, workers: Workers) -> None:
        self._workers = workers
        self._asked = threading.Event()
        self._next_look: int | None = None
        self._looked = (0, 0.0)  # step, time

    def __enter__(self) -> StopNotice:
        self._before = signal.signal(signal.SIGTERM, lambda *_: self._asked.set())
        return self

    def came_here(self) -> bool:
        """Whether this process got it; the others need not know yet."""
        return self._asked.is_set()

    def has_come(self, step: int) -> bool:
        """Asked once after each step, by all processes."""
        if not self._workers.are_many:
            return self.came_here()
        if self._next_look is not None and step < self._next_look:
            return False
        now = time.monotonic()
        steps = step - self._looked[0] if self._next_look is not None else 0
        seconds_a_step = (now - self._looked[1]) / steps if steps else LOOK_EVERY_S
        said = torch.tensor([float(self._asked.is_set()), seconds_a_step], device=self._workers.device)
        asked, seconds = self._workers.sum(said).tolist()
        mean = seconds / self._workers.place.world
        self._looked = (step, now)
        self._next_look = step + min(max(round(LOOK_EVERY_S / max(mean, 1e-6)), 1), LOOK_EVERY_STEPS)
        return asked > 0  # type: ignore[no-any-return]  # Tensor.tolist says Any

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # On the way out a process is deaf: a launcher sends SIGTERM to the others as soon as one of them has left.
        signal.signal(signal.SIGTERM, signal.SIG_IGN if kind is SystemExit else self._before)
