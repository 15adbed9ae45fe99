"""Work on all cores, in order: each process has a pipe of its own, and takes its turn.

For files that one has oneself: what a process is sent and answers is pickled. A process that ends takes no other with
it, and none outlives the program.
"""

from __future__ import annotations

import os
import signal
import threading
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from multiprocessing import get_context, parent_process
from multiprocessing.connection import Connection
from typing import Generic, TypeVar

Task = TypeVar("Task")
Result = TypeVar("Result")
AHEAD = 2  # tasks that a process has at a time: it does the second while the first is taken from it


class Ended(Exception):
    """A process ended at its task, or took too long for it and was ended."""


def in_order(
    work: Callable[[Task], Result], tasks: Iterable[Task], count: int, timeout_s: float
) -> Iterator[tuple[Task, Result | Ended]]:
    """Each task with its result, or with Ended, by `count` processes that call `work`; at most 2 × `count` are begun.

    An exception that `work` raises is raised here.
    """
    processes = [_Process(work, timeout_s) for _ in range(count)]
    begun: deque[_Process[Task, Result]] = deque()
    try:
        for number, task in enumerate(tasks):
            if len(begun) == AHEAD * count:
                yield begun.popleft().finish()
            process = processes[number % count]
            process.begin(task)
            begun.append(process)
        while begun:
            yield begun.popleft().finish()
    finally:
        for process in processes:
            process.end()


class _Process(Generic[Task, Result]):
    """One process and the tasks that it has begun."""

    def __init__(self, work: Callable[[Task], Result], timeout_s: float) -> None:
        self._work, self._timeout_s = work, timeout_s
        self._tasks: deque[Task] = deque()
        self._start()

    def begin(self, task: Task) -> None:
        self._tasks.append(task)
        with suppress(ConnectionError):  # it has ended; `finish` says so
            self._pipe.send(task)

    def finish(self) -> tuple[Task, Result | Ended]:
        """The first of its tasks, and what came of it."""
        task, result = self._tasks.popleft(), self._receive()
        if isinstance(result, Ended):
            self.end()
            self._start()
            with suppress(ConnectionError):  # it has ended again; the next `finish` says so
                for unfinished in self._tasks:
                    self._pipe.send(unfinished)
        elif isinstance(result, Exception):
            raise result
        return task, result

    def _receive(self) -> Result | Exception:
        try:
            if self._pipe.poll(self._timeout_s):
                result: Result | Exception = self._pipe.recv()
                return result
        except (EOFError, ConnectionError):
            return Ended("ended its process")
        return Ended(f"took longer than {self._timeout_s:g} s")

    def _start(self) -> None:
        fresh = get_context("spawn")  # threads of numpy and pyarrow do not survive a fork
        self._pipe, theirs = fresh.Pipe()
        self._process = fresh.Process(target=_serve, args=(self._work, theirs), daemon=True)
        self._process.start()
        theirs.close()

    def end(self) -> None:
        self._process.kill()
        self._process.join()
        self._pipe.close()


def _serve(work: Callable[[Task], Result], pipe: Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the program ends its processes, a terminal does not
    threading.Thread(target=_end_with_the_program, daemon=True).start()
    while True:
        task = pipe.recv()
        try:
            result: Result | Exception = work(task)
        except Exception as error:
            error.add_note(traceback.format_exc())
            result = error
        pipe.send(result)


def _end_with_the_program() -> None:
    program = parent_process()
    assert program is not None  # this is not the first process
    program.join()
    os._exit(1)
