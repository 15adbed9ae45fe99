"""Waiting for AWS: often at first, for what is quick, then now and then."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Container

FIRST_S, LONGEST_S, GROWTH = 0.2, 15.0, 1.3
SAY_EVERY_S = 60.0


def until(title: str, look: Callable[[], str], ends: Container[str]) -> str:
    """Looks until what it sees is one of `ends`, and returns that; tells each change, and each minute without one."""
    pause, seen, said = FIRST_S, "", 0.0
    while True:
        state = look()
        now = time.monotonic()
        if state != seen or now - said >= SAY_EVERY_S:
            print(f"{title}: {state}", file=sys.stderr, flush=True)
            seen, said = state, now
        if state in ends:
            return state
        time.sleep(pause)
        pause = min(pause * GROWTH, LONGEST_S)
