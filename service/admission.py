"""Who may come in: those whose answer would not be late, by the speed at which the service has decoded and run."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

from service.batching import Batcher
from service.errors import ServiceError
from service.imagery.decoding.pool import DecodePool
from service.lines import shares

LATE = 1.5  # of the time foreseen: what the slowest of a hundred took when three times as much was asked for at once


class Admission:
    """Foresees how long answers take, by what is fetched, decoded and run at the time."""

    def __init__(self, pool: DecodePool, engine: Batcher, max_wait_s: float) -> None:
        self._pool, self._engine, self._allowed_s = pool, engine, max_wait_s
        self._arriving = 0  # tiles that are fetched, or whose headers are walked: how many patches is not known yet
        # Of tiles that wait for a decode process or are in one:
        self._tiles, self._decoded = [0, 0], [0, 0]  # how many, and their patches, by whether they give way to others
        self._patches = [0, 0]  # by the engine's line

    @contextmanager
    def arriving(self) -> Iterator[None]:
        """Around what comes before a tile's patches are known; it counts as one."""
        self._arriving += 1
        try:
            yield
        finally:
            self._arriving -= 1

    @contextmanager
    def decoding(self, patches: int, before: int, *, gives_way: bool) -> Iterator[None]:
        """Around what comes before the engine's queue; `before` counts patches of the request before this tile's."""
        self._count(1, patches, shares(patches, before), gives_way)
        try:
            yield
        finally:
            self._count(-1, patches, shares(patches, before), gives_way)

    def _count(self, sign: int, patches: int, by_line: tuple[int, int], gives_way: bool) -> None:
        self._tiles[gives_way] += sign
        self._decoded[gives_way] += sign * patches
        for line, more in enumerate(by_line):
            self._patches[line] += sign * more

    @property
    def waiting(self) -> int:
        """Patches that are decoded, wait for an engine or are in one."""
        return sum(self._patches) + sum(self._engine.queued())

    def refuse_late(self, patches: int, tiles: int = 1, before: int = 0, *, gives_way: bool = False) -> None:
        """Raises ServiceError overloaded for `tiles` more that would be answered late.

        While nothing is decoded or run nobody is refused: who came back later would not be answered sooner.
        """
        if (wait := self.wait_s(patches, tiles, before, gives_way=gives_way)) > self._allowed_s and self.waiting:
            raise self._overloaded(
                f"The answer would take {wait:.0f} s and {self._allowed_s:.0f} s are allowed",
                wait,
                {"wait_s": round(wait, 1), "max_wait_s": self._allowed_s},
            )

    def queue_full(self, most: int) -> ServiceError:
        """What is said to a tile if so many wait for a decode process already."""
        return self._overloaded("As many tiles wait to be decoded as may", self.wait_s(0, 0), {"decode_queue": most})

    def wait_s(self, patches: int, tiles: int = 1, before: int = 0, *, gives_way: bool = False) -> float:
        """Seconds until so many more would be answered.

        The slower of the two tells, decoding or running, and own patches run only once they are decoded. Tiles that
        give way are decoded by processes of their own, so that nobody else waits for them. Who waits in the first line
        of the engine's queue has others of the second before it, but no more than of its own.
        """
        own, arriving = shares(patches, before), (self._arriving, 0)
        first, more = map(sum, zip(own, arriving, self._patches, self._engine.queued(), strict=True))
        run = self._engine.seconds(first + (more if own[1] else min(first, more)))
        to_come = 0 if gives_way else self._arriving
        decode = self._pool.seconds(
            to_come + self._decoded[gives_way] + patches, to_come + self._tiles[gives_way] + tiles, gives_way=gives_way
        )
        return LATE * max(run, decode + self._engine.seconds(patches))

    def _overloaded(self, why: str, wait: float, limits: dict[str, float]) -> ServiceError:
        # Back when half of what may wait is done: sooner, all that were refused would find no more room than now.
        back = max(1, math.ceil(wait - self._allowed_s / 2))
        return ServiceError("overloaded", f"{why}; try again in {back} s.", retry_after_s=back, limits=limits)
