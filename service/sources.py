"""Objects in S3 that a request names, under the prefixes that are allowed and within the limits of a body."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Future
from contextlib import closing
from typing import Any

from service.errors import ServiceError

S3_URI = r"^s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]/[^\x00-\x1f\x7f]+$"  # an S3 bucket's name and an object's key
S3_PREFIX = r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]/([^\x00-\x1f\x7f]+/)?"
AT_ONCE = 16  # objects under way; the role's requests are S3's to limit, the memory is ours
ALLOWED_S = 30.0  # for an object, with its turn among others: SageMaker gives up after 60 s
CONNECT_S, READ_S, ATTEMPTS = 3, 10, 3  # of botocore
CHUNK = 1 << 20

Fetch = Callable[[str], Awaitable[bytes]]


class Sources:
    """S3, through one client that is made when it is first needed. `allowed` are prefixes that end in a slash."""

    def __init__(self, allowed: Sequence[str]) -> None:
        self._allowed = tuple(allowed)
        self._at_once = asyncio.Semaphore(AT_ONCE)
        self._lock = threading.Lock()
        self._client: Any = None

    def for_request(self, largest: int) -> Fetch:
        """What brings the objects of one request, which are at most `largest` bytes together.

        It raises ServiceError source_forbidden, source_not_found, source_unavailable, body_too_large.
        """
        room = _Room(largest)

        async def fetch(uri: str) -> bytes:
            self._raise_unless_allowed(uri)
            deadline = time.monotonic() + ALLOWED_S
            try:
                async with asyncio.timeout(ALLOWED_S), self._at_once:
                    return await asyncio.wrap_future(_begin(lambda: self._download(uri, room, deadline)))
            except TimeoutError:
                raise _unavailable(uri, f"not here after {ALLOWED_S:g} s") from None

        return fetch

    def _raise_unless_allowed(self, uri: str) -> None:
        if not self._allowed:
            detail = "This service reads nothing from S3: its setting ALLOWED_S3_PREFIXES is empty."
            raise ServiceError("source_forbidden", detail)
        # Keys are no paths to S3, but what lies between may think so.
        inside = any(f"{uri}/".startswith(prefix) for prefix in self._allowed)
        if not inside or {".", ".."} & set(uri.split("/")):
            raise ServiceError("source_forbidden", f"{uri} is not under a prefix that ALLOWED_S3_PREFIXES names.")

    def _download(self, uri: str, room: _Room, deadline: float) -> bytes:
        from botocore.exceptions import BotoCoreError, ClientError

        bucket, key = uri.removeprefix("s3://").split("/", 1)
        try:
            answer = self._s3().get_object(Bucket=bucket, Key=key)
            with closing(answer["Body"]) as stream:
                room.take(answer["ContentLength"])
                chunks = []
                for chunk in stream.iter_chunks(CHUNK):
                    chunks.append(chunk)
                    if time.monotonic() > deadline:
                        raise TimeoutError
                return b"".join(chunks)
        except (ClientError, BotoCoreError) as error:
            raise refusal(uri, error) from None

    def _s3(self) -> Any:
        with self._lock:
            if self._client is None:
                self._client = client()
            return self._client


class _Room:
    """Bytes that a request may still fetch."""

    def __init__(self, largest: int) -> None:
        self._largest = self._left = largest
        self._lock = threading.Lock()

    def take(self, size: int) -> None:
        """Raises ServiceError body_too_large."""
        with self._lock:
            if size > self._left:
                largest = self._largest / 1e6
                detail = f"The objects of this request are over {largest:g} MB together; name fewer, or smaller ones."
                raise ServiceError("body_too_large", detail, limits={"max_body_mb": largest})
            self._left -= size


def _begin(call: Callable[[], bytes]) -> Future[bytes]:
    """Runs it in a thread that the process does not wait for when it ends: S3 may be silent for long."""
    future: Future[bytes] = Future()
    future.set_running_or_notify_cancel()  # who no longer waits for it cannot cancel it

    def run() -> None:
        try:
            future.set_result(call())
        except Exception as error:
            future.set_exception(error)

    threading.Thread(target=run, daemon=True, name="s3").start()
    return future


def client() -> Any:
    """boto3's, which does not wait for ever; credentials come from where boto3 finds them."""
    import boto3
    from botocore.config import Config

    limits = Config(
        connect_timeout=CONNECT_S,
        read_timeout=READ_S,
        retries={"mode": "standard", "total_max_attempts": ATTEMPTS},
        max_pool_connections=AT_ONCE,
    )
    return boto3.client("s3", config=limits)


def refusal(uri: str, error: Exception) -> ServiceError:
    """What botocore's error means for the object."""
    from botocore.exceptions import ClientError, NoCredentialsError

    if isinstance(error, ClientError):
        return _refused(uri, error.response)
    if isinstance(error, NoCredentialsError):
        detail = "The service has no AWS credentials; give it a role that may read the prefix (s3:GetObject)."
        return ServiceError("source_forbidden", detail)
    return _unavailable(uri, type(error).__name__)


def _refused(uri: str, answer: dict[str, Any]) -> ServiceError:
    code, status = answer["Error"]["Code"], answer["ResponseMetadata"]["HTTPStatusCode"]
    if status == 404:
        return ServiceError("source_not_found", f"{uri} is not there ({code}); check its name.")
    if status in (401, 403):
        detail = (
            f"S3 refuses {uri} ({code}): the service's role must be allowed s3:GetObject there, and without "
            "s3:ListBucket an object that is not there is refused, too."
        )
        return ServiceError("source_forbidden", detail)
    return _unavailable(uri, code)


def _unavailable(uri: str, why: str) -> ServiceError:
    return ServiceError("source_unavailable", f"S3 did not give {uri} ({why}); try again.", retry_after_s=5)
