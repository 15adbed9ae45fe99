"""What programs print, to CloudWatch Logs: one stream for each."""

from __future__ import annotations

import contextlib
import threading
import time
from typing import IO, Any

EVERY_S = 0.2
LONGEST = 200_000  # characters; CloudWatch takes 256 kB


class Stream:
    """A log stream that is written from any thread and sent now and then."""

    def __init__(self, logs: Any, group: str, name: str) -> None:
        self.logs, self.group, self.name = logs, group, name
        self.lines: list[tuple[float, str]] = []
        self._sent = 0
        self._lock = threading.Lock()
        for create, what in (
            (logs.create_log_group, {"logGroupName": group}),
            (logs.create_log_stream, {"logGroupName": group, "logStreamName": name}),
        ):
            with contextlib.suppress(logs.exceptions.ResourceAlreadyExistsException):
                create(**what)

    def write(self, line: str) -> None:
        self.lines.append((time.time(), line.rstrip("\n")[:LONGEST]))

    def send(self) -> None:
        with self._lock:
            waiting = self.lines[self._sent : self._sent + 1000]
            self._sent += len(waiting)
            events = [{"timestamp": int(when * 1000), "message": line or " "} for when, line in waiting]
            if events:
                self.logs.put_log_events(logGroupName=self.group, logStreamName=self.name, logEvents=events)

    def follow(self, output: IO[str]) -> threading.Thread:
        """Reads to the end in a thread of its own; joined, all has been sent."""

        def read() -> None:
            ended = threading.Event()
            sender = threading.Thread(target=self._keep_sending, args=(ended,), daemon=True)
            sender.start()
            for line in output:
                self.write(line)
            ended.set()
            sender.join()

        thread = threading.Thread(target=read, daemon=True)
        thread.start()
        return thread

    def _keep_sending(self, ended: threading.Event) -> None:
        while not ended.wait(EVERY_S):
            self.send()
        while self._sent < len(self.lines):
            self.send()
