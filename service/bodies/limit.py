"""No body is held in memory beyond its limit."""

from __future__ import annotations

from dataclasses import dataclass

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.errors import ServiceError


@dataclass(frozen=True)
class BodyLimit:
    """Refuses a body over `largest` bytes while it comes in, announced or not, as ServiceError body_too_large."""

    app: ASGIApp
    largest: int

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        size = int(dict(scope["headers"]).get(b"content-length", 0))  # the server has checked that it is a number
        received = 0

        async def limited() -> Message:
            nonlocal received
            if size <= self.largest:
                message = await receive()
                received += len(message.get("body", b""))
            if max(size, received) > self.largest:
                raise ServiceError(
                    "body_too_large",
                    f"The body is over {self.largest / 1e6:g} MB; send fewer tiles at a time, or smaller windows.",
                    limits={"max_body_mb": self.largest / 1e6},
                )
            return message

        await self.app(scope, limited, send)
