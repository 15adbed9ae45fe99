"""No request waits for ever for its body."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.errors import ServiceError

LEAST_RATE = 100_000  # bytes a second; a slower line is given up after `seconds`, a steady one never


@dataclass(frozen=True)
class BodyDeadline:
    """Refuses a body that stalls or trickles, as ServiceError receive_timeout.

    It may keep us waiting `seconds`; what comes earns them back at LEAST_RATE, but never more than these. Only waiting
    counts, not the time that we take to read.
    """

    app: ASGIApp
    seconds: float

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        left = self.seconds
        is_complete = scope["type"] != "http"

        async def timely() -> Message:
            nonlocal left, is_complete
            if is_complete:  # what comes after a body is that the client leaves
                return await receive()
            began = time.monotonic()
            try:
                async with asyncio.timeout(left):
                    message = await receive()
            except TimeoutError:
                detail = f"The body did not come in time; send all of it within {self.seconds:g} s, or steadily."
                raise ServiceError("receive_timeout", detail, limits={"receive_timeout_s": self.seconds}) from None
            earned = len(message.get("body", b"")) / LEAST_RATE
            left = min(self.seconds, left + earned - (time.monotonic() - began))
            is_complete = not message.get("more_body", False)
            return message

        await self.app(scope, timely, send)
