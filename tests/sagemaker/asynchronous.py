"""The queue of an asynchronous endpoint: bodies from S3 through containers, answers and failures to S3."""

from __future__ import annotations

import queue
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from tests.sagemaker import hosting
from tests.sagemaker.api import Refused
from tests.sagemaker.hosting import Answer
from tests.sagemaker.resources import Record
from tests.sagemaker.storage import Storage, split

INLINE = 128_000  # bytes of a body that is sent with the request
CONCURRENT = 4  # a container, where ClientConfig says nothing; SageMaker chooses


@dataclass(frozen=True)
class Ticket:
    """A request in the queue, and where its answer will be."""

    id: str
    input: str | None
    body: bytes
    headers: Mapping[str, str]
    timeout_s: int
    output: str
    failure: str | None


class Queue:
    """Works off tickets as long as there are containers: at most so many at a time for each."""

    def __init__(
        self, config: Record, storage: Storage, invoke: Callable[..., Answer], instances: Callable[[], int]
    ) -> None:
        self._config, self._storage, self._invoke, self._instances = config, storage, invoke, instances
        client = config.get("ClientConfig", {})
        self.concurrent: int = client.get("MaxConcurrentInvocationsPerInstance", CONCURRENT)
        self._tickets: queue.SimpleQueue[Ticket] = queue.SimpleQueue()
        self._busy, self._lock, self._closed = 0, threading.Lock(), threading.Event()
        threading.Thread(target=self._hand_out, daemon=True).start()

    def add(self, uri: str | None, body: bytes, headers: Mapping[str, str], name: str | None, timeout_s: int) -> Ticket:
        """Raises Refused for neither body nor place, or both."""
        if (uri is None) == (not body):
            raise Refused("ValidationError", "Either InputLocation or Body is needed")
        if len(body) > INLINE:
            raise Refused("ValidationError", f"Body of {len(body)} bytes: at most {INLINE}, else use InputLocation")
        output, number = self._config["OutputConfig"], uuid.uuid4()
        ticket = Ticket(
            name or str(uuid.uuid4()),
            uri,
            body,
            headers,
            timeout_s,
            f"{output['S3OutputPath'].rstrip('/')}/{number}.out",
            f"{output['S3FailurePath'].rstrip('/')}/{number}-error.out" if "S3FailurePath" in output else None,
        )
        self._tickets.put(ticket)
        return ticket

    def close(self) -> None:
        self._closed.set()

    def _hand_out(self) -> None:
        while not self._closed.is_set():
            try:
                ticket = self._tickets.get(timeout=0.2)
            except queue.Empty:
                continue
            while self._busy >= self.concurrent * self._instances() and not self._closed.is_set():
                time.sleep(0.02)
            with self._lock:
                self._busy += 1
            threading.Thread(target=self._work, args=(ticket,), daemon=True).start()

    def _work(self, ticket: Ticket) -> None:
        try:
            answer = self._answer(ticket)
            if answer.status == 200:
                self._storage.write(ticket.output, answer.body, answer.headers.get("content-type", ""))
            elif ticket.failure is not None:
                self._storage.write(ticket.failure, answer.body)
        finally:
            with self._lock:
                self._busy -= 1

    def _answer(self, ticket: Ticket) -> Answer:
        body = ticket.body
        if ticket.input is not None:
            try:
                body = self._storage.read(*split(ticket.input))
            except self._storage.client.exceptions.ClientError as error:
                return Answer(0, {}, f"Failed to download inference input: {error}".encode())
        if len(body) > hosting.ASYNC:
            return Answer(413, {}, f"Body of {len(body)} bytes: at most {hosting.ASYNC}".encode())
        try:
            return self._invoke(body, ticket.headers, ticket.timeout_s)
        except (hosting.TimedOut, Refused) as error:
            return Answer(0, {}, str(error).encode())
