"""A connection: uvicorn's own, which would wait for ever for a request and take headers without end."""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import Any

from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from service import problems
from service.errors import ServiceError

LARGEST_HEAD = 16_000  # bytes of target and headers; SageMaker's Custom-Attributes are at most 1,024
LINGER_S = 2.0  # an answer is lost to a client that still sends when its connection is closed


class Connection(HttpToolsProtocol):
    """Answers a head that does not end in time or is too large with a problem, and closes.

    httptools, since h11 is pure Python and would hold the interpreter for milliseconds with every large upload.
    """

    receive_timeout_s = 30.0

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self._is_head_awaited = True  # and no body
        self._is_refused = False
        self._head_bytes = 0  # of one that is not complete yet
        self._deadline: asyncio.TimerHandle | None = None
        self._begin_waiting()

    def data_received(self, data: bytes) -> None:
        """A head has its deadline from its first byte on; an idle connection has uvicorn's, which is shorter."""
        if self._is_refused:
            return
        if self._is_head_awaited:
            self._begin_waiting()
            self._head_bytes += len(data)
        super().data_received(data)
        if self._head_bytes > LARGEST_HEAD:
            self._refuse(_headers_too_large())

    def on_headers_complete(self) -> None:
        """Of a head that is complete at last the size is known."""
        self._end_waiting()
        self._is_head_awaited, self._head_bytes = False, 0
        size = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
        self.app = self.config.loaded_app if size <= LARGEST_HEAD else _refuse_headers
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """The next head may begin."""
        self._end_waiting()
        self._is_head_awaited = True
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """An answer may come before the end of its request: what is left is dropped, but not for ever."""
        super().on_response_complete()
        if not self._is_head_awaited:
            self._begin_waiting()

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing is waited for any more."""
        self._end_waiting()
        super().connection_lost(exc)

    def _begin_waiting(self) -> None:
        if self._deadline is None:
            self._deadline = self.loop.call_later(self.receive_timeout_s, self._give_up)

    def _end_waiting(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _give_up(self) -> None:
        self._deadline = None
        if self.cycle is not None and not self.cycle.response_complete:
            return  # an answer is under way: BodyDeadline watches its body, and uvicorn what comes after it
        if self._is_head_awaited:
            seconds = self.receive_timeout_s
            detail = f"No complete request came within {seconds:g} s; connect when there is something to send."
            self._refuse(ServiceError("receive_timeout", detail, limits={"receive_timeout_s": seconds}))
        else:
            self.transport.close()

    def _refuse(self, error: ServiceError) -> None:
        """Answers what never became a request, unless that would come into the middle of another answer."""
        self._is_refused = True
        self._end_waiting()
        if self.cycle is not None and not self.cycle.response_complete:
            self.transport.close()
            return
        answer = problems.response(error)
        headers = [*answer.raw_headers, (b"connection", b"close")]
        lines = [f"HTTP/1.1 {error.status} {HTTPStatus(error.status).phrase}".encode()]
        lines += [name + b": " + value for name, value in dict(headers).items()]
        self.transport.write(b"\r\n".join([*lines, b"", bytes(answer.body)]))
        self.transport.write_eof()
        self._deadline = self.loop.call_later(LINGER_S, self.transport.close)


def within(seconds: float) -> type[Connection]:
    """Connections on which a request's head may take `seconds`."""
    return type("Connection", (Connection,), {"receive_timeout_s": seconds})


def _headers_too_large() -> ServiceError:
    detail = f"Target and headers are over {LARGEST_HEAD / 1e3:g} kB; options may be given in a JSON body instead."
    return ServiceError("headers_too_large", detail, limits={"max_headers_kb": LARGEST_HEAD / 1e3})


async def _refuse_headers(scope: Scope, receive: Receive, send: Send) -> None:
    await problems.response(_headers_too_large())(scope, receive, send)
