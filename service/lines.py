"""Whose patches go next: two lines, of which each has half of what the engines do while both wait."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np
from numpy.typing import NDArray

from service.model.engine import Output

FIRST = 8  # patches of a request that wait among those of small ones: a batch each on two cores
PIECE = 4  # patches that stay together, at most: what a processor takes at a time


@dataclass(frozen=True, eq=False)
class Job:
    """At most PIECE patches, which go through an engine together."""

    images: NDArray[np.uint8]
    tokens: bool
    result: asyncio.Future[Output] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


def shares(patches: int, before: int) -> tuple[int, int]:
    """How many of a request's patches wait in the first line and in the second, with so many of it before them."""
    first = min(patches, max(0, FIRST - before))
    return first, patches - first


@dataclass(frozen=True)
class Batch:
    """What a thread has taken."""

    jobs: Sequence[Job]
    is_alone: bool  #: nothing else runs, and nothing will before it is given back

    @property
    def patches(self) -> int:
        """Of all its jobs."""
        return sum(len(job.images) for job in self.jobs)


class Lines:
    """Jobs that wait, in the first line those with which a request begins, in the second what is more of it.

    In one line, a scene of 289 patches would keep others waiting for as many batches; a piece of it at a time, at the
    end of the line, it would itself wait behind the whole line for each piece.
    """

    def __init__(self) -> None:
        self._lines: tuple[deque[Job], deque[Job]] = deque(), deque()
        self._served = [0, 0]  # patches of each line, taken while both waited
        self._changed = threading.Condition()  # guards all of these, and both lines
        self._is_closed, self._is_one_alone, self._free = False, False, 0  # threads that wait in `take`
        self.patches = [0, 0]  #: that wait or are in an engine, by line; the event loop's, and no thread's

    def put(self, first: Sequence[Job], more: Sequence[Job] = ()) -> None:
        """A caller's jobs, at the ends of both lines. Each counts until its result is there, or nobody wants it."""
        with self._changed:
            for line, jobs in enumerate((first, more)):
                self._lines[line].extend(jobs)
                for job in jobs:
                    self._count(line, len(job.images))
                    job.result.add_done_callback(partial(self._count_off, line, len(job.images)))
            if self._is_closed:
                self._cancel()
            self._changed.notify(len(first) + len(more))

    def _count(self, line: int, more: int) -> None:
        self.patches[line] += more

    def _count_off(self, line: int, patches: int, _: object) -> None:
        self._count(line, -patches)

    def take(self, most: int, threads: int = 0) -> Batch | None:
        """What goes next, together, as soon as anything waits: up to `most` patches, or one job that has more.

        For threads, which wait in here and leave their shares to others that do. If all of them, `threads`, are free
        and fewer jobs wait, one has all jobs, and is alone until it calls `give_back`. None once the lines are closed.
        """
        with self._changed:
            self._free += 1
            try:
                while not self._is_closed:
                    if not self._is_one_alone and (batch := self._next(most, threads)):
                        self._is_one_alone = batch.is_alone
                        return batch
                    self._changed.wait()
                return None
            finally:
                self._free -= 1

    def give_back(self) -> None:
        """After a batch that was alone: others may run again."""
        with self._changed:
            self._is_one_alone = False
            self._changed.notify_all()

    def _next(self, most: int, threads: int) -> Batch | None:
        waiting = sum(map(len, self._lines))
        is_alone = self._free == threads and waiting < threads
        share = waiting if is_alone else -(-waiting // self._free)
        jobs: list[Job] = []
        patches = 0
        while len(jobs) < share and (
            fitting := [
                i for i, line in enumerate(self._lines)
                if line and (not jobs or is_alone or patches + len(line[0].images) <= most)
            ]
        ):  # fmt: skip
            i, do_both_wait = min(fitting, key=self._served.__getitem__), all(self._lines)
            job = self._lines[i].popleft()
            if not job.result.done():  # its caller is still there
                jobs.append(job)
                patches += len(job.images)
                if do_both_wait:  # what nobody else wanted is owed to nobody
                    self._served[i] += len(job.images)
        return Batch(jobs, is_alone) if jobs else None

    def close(self) -> None:
        """Cancels what waits, and sends the threads home."""
        with self._changed:
            self._is_closed = True
            self._cancel()
            self._changed.notify_all()

    def _cancel(self) -> None:
        for line in self._lines:
            for job in line:
                job.result.cancel()
            line.clear()
