"""API keys, for a service that is reached without a gateway or platform that knows its callers."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import SecretStr
from starlette.types import ASGIApp, Receive, Scope, Send

from service import problems
from service.errors import ServiceError

#: What platforms and browsers ask for without knowing a key, and what tells nothing of the model.
OPEN_PATHS = frozenset({"/", "/ping", "/execution-parameters", "/docs", "/openapi.json"})
OPEN_FOLDERS = ("/page/", "/docs/files/")  # what pages are made of; they send the key that their reader types


@dataclass(frozen=True)
class Keys:
    """The keys of a service, as digests; one that has none is open to everybody."""

    digests: Sequence[bytes]

    @classmethod
    def of(cls, keys: Iterable[SecretStr]) -> Keys:
        """Of their texts."""
        return cls([digest(key.get_secret_value().encode()) for key in keys])

    def admit(self, scope: Mapping[str, Any]) -> bool:
        """Whether a request has one of them."""
        return not self.digests or any(map(self._is_known, _given(scope)))

    def _is_known(self, key: bytes) -> bool:
        """In a time that does not depend on what is known: all are compared, and each to its end."""
        given, is_known = digest(key), False
        for known in self.digests:
            is_known |= hmac.compare_digest(given, known)
        return is_known


@dataclass(frozen=True)
class ApiKeys:
    """Lets through who has a key; others get unauthorized, before their body is read."""

    app: ASGIApp
    keys: Keys

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        is_open = scope["type"] != "http" or scope["path"] in OPEN_PATHS or scope["path"].startswith(OPEN_FOLDERS)
        if is_open or self.keys.admit(scope):
            await self.app(scope, receive, send)
            return
        detail = "Send one of the service's API_KEYS, as Authorization: Bearer KEY or as X-API-Key: KEY."
        await problems.response(ServiceError("unauthorized", detail))(scope, receive, send)


def digest(key: bytes) -> bytes:
    """What is kept of a key: keys of all lengths compare alike."""
    return hashlib.sha256(key).digest()


def _given(scope: Mapping[str, Any]) -> Iterator[bytes]:
    for name, value in scope["headers"]:
        if name == b"x-api-key":
            yield value
        elif name == b"authorization":
            scheme, _, key = value.partition(b" ")
            if scheme.lower() == b"bearer":
                yield key.strip()
