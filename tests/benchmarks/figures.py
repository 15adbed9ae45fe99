"""How benchmarks say what they found: a median with its spread over rounds, and a row for the README's table."""

from __future__ import annotations

import statistics
from collections.abc import Sequence


def ratios(ours: Sequence[float], others: Sequence[float]) -> list[float]:
    """Round by round, so that what slows the machine for a while slows both sides of a ratio."""
    return [one / other for one, other in zip(ours, others, strict=True)]


def spread(values: Sequence[float], digits: int = 2) -> str:
    """Median (lowest–highest)."""
    return f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f}–{max(values):.{digits}f})"


def print_row(command: str, ours: str, compared_with: str, ratio: str) -> None:
    """A row as `results` gathers it for the README: `command` as it is typed, after `python -m tests.benchmarks.`."""
    print(f"| `python -m tests.benchmarks.{command}` | {ours} | {compared_with} | {ratio} |", flush=True)
