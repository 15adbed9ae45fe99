"""Waiting for what is meant, and not for a time."""

from __future__ import annotations

import time
from collections.abc import Callable

SECONDS = 180  # far more than anything takes that is waited for, however busy the machine


def wait_until(is_so: Callable[[], object], seconds: float = SECONDS) -> None:
    """Looks again and again. Raises AssertionError if it is never so."""
    end = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < end, f"still not so after {seconds} s"
        time.sleep(0.005)
