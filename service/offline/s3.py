"""Objects in S3: what lies under a prefix, and one of them as a file."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from service.offline.errors import OfflineError
from service.sources import client, refusal

SCHEME = "s3://"
SUFFIXES = (".tif", ".tiff")


def listed(uri: str) -> Iterator[tuple[str, int]]:
    """(URI, bytes) of the object `uri`, or of every GeoTIFF under it as a folder. Raises OfflineError."""
    from botocore.exceptions import BotoCoreError, ClientError

    bucket, _, prefix = uri.removeprefix(SCHEME).partition("/")
    folder = prefix if not prefix or prefix.endswith("/") else f"{prefix}/"
    try:
        for page in _client().get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
            for found in page.get("Contents", ()):
                key = found["Key"]
                if key.endswith("/"):  # S3's console marks a folder with an empty object
                    continue
                if key == prefix or (key.startswith(folder) and key.lower().endswith(SUFFIXES)):
                    yield f"{SCHEME}{bucket}/{key}", found["Size"]
    except (ClientError, BotoCoreError) as error:
        raise OfflineError(f"{uri} cannot be listed: {error}.") from None


def download(uri: str, to: Path) -> None:
    """Raises ServiceError source_not_found, source_forbidden, source_unavailable; OSError if `to` cannot be written."""
    from boto3.exceptions import Boto3Error
    from botocore.exceptions import BotoCoreError, ClientError

    bucket, _, key = uri.removeprefix(SCHEME).partition("/")
    try:
        _client().download_file(bucket, key, str(to))
    except (ClientError, BotoCoreError, Boto3Error) as error:  # boto3's own: the object broke off again and again
        raise refusal(uri, error) from None


@cache
def _client() -> Any:
    return client()
