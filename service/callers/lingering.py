"""An answer before the end of its request."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass

from starlette.types import ASGIApp, Message, Receive, Scope, Send

LINGER_S = 2.0  # an answer is lost to a client that still sends when its connection is closed (RFC 9112, 9.6)


@dataclass(frozen=True)
class Lingering:
    """Sends an early answer at once, but ends it only when its request is complete or LINGER_S over.

    The server closes with the end of an answer where the client asked for it, or speaks HTTP/1.0.
    """

    app: ASGIApp

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        is_complete = scope["type"] != "http"

        async def noticed() -> Message:
            nonlocal is_complete
            message = await receive()
            is_complete = is_complete or not message.get("more_body", False)  # or the client left
            return message

        async def lingering(message: Message) -> None:
            if is_complete or message["type"] != "http.response.body" or message.get("more_body", False):
                await send(message)
                return
            await send({**message, "more_body": True})
            with contextlib.suppress(TimeoutError, asyncio.CancelledError):  # the answer is out: let it end well
                async with asyncio.timeout(LINGER_S):
                    while not is_complete:
                        await noticed()
            await send({"type": "http.response.body"})

        await self.app(scope, noticed, lingering)
