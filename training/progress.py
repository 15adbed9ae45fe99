"""Progress of long work: a bar on a terminal, plain lines in a log."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Any

from tqdm import tqdm

LOG_EVERY_S = 30.0


class Progress:
    """Counts `total` units of work from `done` on. Use as a context manager; call `advance` as work is done.

    Of several processes that do the same work, one has it `shown`.
    """

    def __init__(self, title: str, total: int, unit: str, done: int = 0, shown: bool = True) -> None:
        self._shown = shown
        self._title, self._total, self._unit, self._done, self._first = title, total, unit, done, done
        self._started = self._said = time.monotonic()
        self._figures = ""
        self._bar: tqdm[Any] | None = None
        if shown and sys.stderr.isatty():
            self._bar = tqdm(desc=title, total=total, unit=f" {unit}", initial=done, dynamic_ncols=True)
        elif done:
            self._say("continues")

    def advance(self, count: int, **figures: float) -> None:
        """`count` more units are done; `figures` (loss=…) are shown beside them."""
        self._done += count
        self._figures = " ".join(f"{name} {value:.4g}" for name, value in figures.items())
        if self._bar is not None:
            self._bar.set_postfix({name: f"{value:.4g}" for name, value in figures.items()}, refresh=False)
            self._bar.update(count)
        elif time.monotonic() - self._said >= LOG_EVERY_S:
            self._say(self._figures)

    def _say(self, more: str = "") -> None:
        self._said = time.monotonic()
        if not self._shown:
            return
        rate = (self._done - self._first) / max(self._said - self._started, 1e-9)
        left = f", {(self._total - self._done) / rate / 60:.0f} min left" if rate > 0 else ""
        share = self._done / max(self._total, 1)
        line = f"{self._title}: {self._done}/{self._total} {self._unit} ({share:.0%}), {rate:.1f}/s{left} {more}"
        print(line.rstrip(), file=sys.stderr, flush=True)

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.close()
        else:
            self._say(f"{'done' if error is None else 'stopped'} {self._figures}")
