"""A connection: uvicorn's own, which would wait for ever for a request and take headers without end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any

from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from service import problems
from service.callers.lingering import LINGER_S, Lingering
from service.errors import ServiceError

Refusing = Callable[[Mapping[str, Any]], ServiceError | None]  # of an ASGI scope; None for what is let in
LARGEST_HEAD = 16_000  # bytes of target and headers; SageMaker's Custom-Attributes are at most 1,024
MOST_UNREAD = 2**18  # bytes of a body, until the application has read them: what asyncio receives at once
MOST_WAITING = 16  # pipelined requests; each takes some kB


class Connection(HttpToolsProtocol):
    """Answers a head that does not end in time or is too large with a problem, and closes.

    httptools, since h11 is pure Python and would hold the interpreter for milliseconds with every large upload.
    """

    receive_timeout_s = 30.0
    refusal: Refusing

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self._is_head_awaited = True  # and no body
        self._is_refused = False
        self._has_refused = False  # since bytes came
        self._loose_bytes = 0  # since a head, body or chunk: of a head that is not complete, or of trailers
        self._cycles: list[RequestResponseCycle] = []  # that may not be answered yet, the oldest first
        self._deadline: asyncio.TimerHandle | None = None
        self._begin_waiting()

    def data_received(self, data: bytes) -> None:
        """A head has its deadline from its first byte on; an idle connection has uvicorn's, which is shorter."""
        if self._is_refused:
            return
        if self._is_head_awaited:
            self._begin_waiting()
        self._loose_bytes += len(data)
        self._has_refused = False
        super().data_received(data)
        if self._loose_bytes > LARGEST_HEAD and not self._is_refused:
            self._refuse(_headers_too_large())

    def on_header(self, name: bytes, value: bytes) -> None:
        """Trailers are headers too, to the parser; nobody here wants them, and they could go on for ever."""
        if self._is_head_awaited:
            super().on_header(name, value)

    def on_body(self, body: bytes) -> None:
        """A body has limits of its own; uvicorn would pause at 64 KiB, which a patch has, and take 0.05 ms for it."""
        self._loose_bytes = 0
        if self.cycle.response_complete:
            return
        self.cycle.body += body
        if len(self.cycle.body) > MOST_UNREAD:
            self.flow.pause_reading()
        self.cycle.message_event.set()

    def on_headers_complete(self) -> None:
        """Of a head that is complete at last the size is known."""
        self._end_waiting()
        self._unset_keepalive_if_required()
        size = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
        self.app = self.config.loaded_app if size <= LARGEST_HEAD else Lingering(_refuse_headers)
        super().on_headers_complete()
        self._cycles = [*self._unanswered(), self.cycle]
        if len(self.pipeline) > MOST_WAITING:
            raise ValueError("too many requests at once")  # which ends the parser's work on all that was received
        self._is_head_awaited, self._loose_bytes = False, 0
        if self.cycle.response_complete:
            self._await_rest()

    def on_message_complete(self) -> None:
        """The next head may begin."""
        self._end_waiting()
        self._is_head_awaited, self._loose_bytes = True, 0
        super().on_message_complete()
        if self.cycle.response_complete and not self.cycle.keep_alive:
            self.transport.close()
        elif self.cycle.response_complete:  # uvicorn began to wait then, and ended it with the rest of the body
            self._unset_keepalive_if_required()
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler
            )

    def on_response_complete(self) -> None:
        """An answer may come before the end of its request: what is left is dropped, but not for ever."""
        super().on_response_complete()
        if not self._is_head_awaited:
            self._await_rest()

    def shutdown(self) -> None:
        """Who has an answer and still sends may read it first."""
        if self._is_head_awaited or self._unanswered():
            super().shutdown()
        else:
            self.cycle.keep_alive = False
            self._linger()

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing is waited for any more, and none of what was asked is wanted; uvicorn knows the newest alone."""
        self._end_waiting()
        self._leave()
        super().connection_lost(exc)

    def send_400_response(self, msg: str) -> None:
        """What is no HTTP, or asks for a proxy."""
        detail = f"{msg.removesuffix('.')}; send HTTP/1.1, with a path as its target."
        self._refuse(ServiceError("bad_request", detail))

    def _unsupported_upgrade_warning(self) -> None:
        """Some clients ask for HTTP/2 with every request: they are answered, and need no line in the log."""

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        """Called by uvicorn when it is a request's turn. A refusal here costs half of what the application takes.

        In overload there are more of them than answers. Who does not read, or sends many requests at once, is left to
        the application, which takes its time; and so is a head that is too large.
        """
        is_for_later = app is not self.config.loaded_app or self.flow.write_paused or self._has_refused
        refusal = None if is_for_later else self.refusal(cycle.scope)
        if refusal is None:
            super()._start_asgi_task(cycle, app)
            return
        self._has_refused = True
        respond, cycle.on_response = cycle.on_response, _nothing  # as uvicorn does: else it would keep this connection
        cycle.response_started = cycle.response_complete = True
        self._write(refusal, is_last=not cycle.keep_alive)
        if cycle.keep_alive:
            respond()
        elif cycle.more_body:
            self._linger()
        else:
            self.transport.close()

    def _begin_waiting(self) -> None:
        if self._deadline is None:
            self._deadline = self.loop.call_later(self.receive_timeout_s, self._give_up)

    def _await_rest(self) -> None:
        """Of a request that is answered: nobody is idle who still sends."""
        self._unset_keepalive_if_required()
        self._begin_waiting()

    def _end_waiting(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _give_up(self) -> None:
        self._deadline = None
        if self.cycle is not None and not self.cycle.response_complete:
            return  # an answer is under way: BodyDeadline watches its body, and uvicorn what comes after it
        if self._is_head_awaited and self._loose_bytes:
            seconds = self.receive_timeout_s
            detail = f"No complete request came within {seconds:g} s; connect when there is something to send."
            self._refuse(ServiceError("receive_timeout", detail, limits={"receive_timeout_s": seconds}))
        else:
            self.transport.close()

    def _refuse(self, error: ServiceError) -> None:
        """Answers what is no request, or not to its end, unless that would come into or after another answer."""
        self._is_refused = True
        self._end_waiting()
        waiting = self._unanswered()
        is_answer_due = not waiting if self._is_head_awaited else [c.response_started for c in waiting] == [False]
        if not is_answer_due:
            self.transport.close()
            return
        self._leave()
        self.flow.resume_reading()
        self._write(error, is_last=True)
        self.transport.write_eof()
        self._linger()

    def _write(self, error: ServiceError, *, is_last: bool) -> None:
        answer = problems.response(error)
        headers = dict([*self.server_state.default_headers, *answer.raw_headers])
        if is_last:
            headers[b"connection"] = b"close"
        lines = [f"HTTP/1.1 {error.status} {HTTPStatus(error.status).phrase}".encode()]
        lines += [name + b": " + value for name, value in headers.items()]
        self.transport.write(b"\r\n".join([*lines, b"", bytes(answer.body)]))

    def _linger(self) -> None:
        """Closes only after a while: an answer is lost to a client that still sends then."""
        self._end_waiting()
        self._deadline = self.loop.call_later(LINGER_S, self.transport.close)

    def _unanswered(self) -> list[RequestResponseCycle]:
        return [cycle for cycle in self._cycles if not cycle.response_complete]

    def _leave(self) -> None:
        for cycle in self._unanswered():
            cycle.disconnected = True
            cycle.message_event.set()


def kind(receive_timeout_s: float, refusal: Refusing) -> type[Connection]:
    """Connections on which a request's head may take so many seconds, and is refused where `refusal` gives a reason."""
    return type("Connection", (Connection,), {"receive_timeout_s": receive_timeout_s, "refusal": staticmethod(refusal)})


def _nothing() -> None: ...


def _headers_too_large() -> ServiceError:
    detail = f"Target and headers are over {LARGEST_HEAD / 1e3:g} kB; options may be given in a JSON body instead."
    return ServiceError("headers_too_large", detail, limits={"max_headers_kb": LARGEST_HEAD / 1e3})


async def _refuse_headers(scope: Scope, receive: Receive, send: Send) -> None:
    await problems.response(_headers_too_large())(scope, receive, send)
