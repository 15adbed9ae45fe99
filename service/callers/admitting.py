"""Refusals that cost little: in overload there are more of them than answers."""

from __future__ import annotations

from dataclasses import dataclass

from starlette.types import ASGIApp, Receive, Scope, Send

from service import problems
from service.errors import ServiceError
from service.featurizer import Featurizer
from service.metrics import Metrics


@dataclass(frozen=True)
class Admitting:
    """Refuses work that would be late before it is routed, and before any of its body is read.

    That takes 0.35 ms of the event loop, with the connection, where the routes would take 0.6.
    """

    app: ASGIApp
    featurizer: Featurizer
    metrics: Metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        app = self.app
        if scope["type"] == "http" and scope["path"] == "/invocations" and scope["method"] == "POST":
            try:
                self.featurizer.admit(1)
            except ServiceError as error:
                self.metrics.requests.labels(error.code).inc()
                app = problems.response(error)
        await app(scope, receive, send)
