"""S3 as SageMaker itself uses it: prefixes and manifests brought to folders, folders brought back."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError


@dataclass(frozen=True)
class Object:
    """An object, and the path that it has below what was asked for."""

    bucket: str
    key: str
    path: str


class DownloadFailed(Exception):
    """What FailureReason says."""


def split(uri: str) -> tuple[str, str]:
    """Bucket and key."""
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    return bucket, key


class Storage:
    """Around a client of boto3 for S3."""

    def __init__(self, client: Any) -> None:
        self.client = client

    def find(self, uri: str, kind: str = "S3Prefix") -> list[Object]:
        """The objects of a data source, by key. Raises DownloadFailed where there are none."""
        try:
            found = list(self._manifest(uri) if kind == "ManifestFile" else self._below(uri))
        except (ClientError, ValueError, KeyError) as error:
            raise DownloadFailed(f"ClientError: Data download failed: {error}") from None
        if not found:
            said = f'No S3 objects found under S3 URL "{uri}" given in input data source'
            raise DownloadFailed(f"ClientError: Data download failed: {said}")
        return sorted(found, key=lambda one: one.key)

    def _below(self, uri: str) -> Iterator[Object]:
        bucket, prefix = split(uri)
        for page in self.client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
            for one in page.get("Contents", ()):
                if not one["Key"].endswith("/"):
                    yield Object(bucket, one["Key"], _relative(one["Key"], prefix))

    def _manifest(self, uri: str) -> Iterator[Object]:
        first, *paths = json.loads(self.read(*split(uri)))
        bucket, prefix = split(first["prefix"])
        for path in paths:
            yield Object(bucket, prefix + path, path)

    def read(self, bucket: str, key: str) -> bytes:
        body: bytes = self.client.get_object(Bucket=bucket, Key=key)["Body"].read()
        return body

    def exists(self, uri: str) -> bool:
        bucket, key = split(uri)
        try:
            self.client.head_object(Bucket=bucket, Key=key)
        except ClientError:
            return False
        return True

    def write(self, uri: str, body: bytes, kind: str = "binary/octet-stream") -> None:
        bucket, key = split(uri)
        self.client.put_object(Bucket=bucket, Key=key, Body=body, ContentType=kind)

    def download(self, objects: list[Object], folder: Path) -> None:
        for one in objects:
            file = folder / one.path
            file.parent.mkdir(parents=True, exist_ok=True)
            self.client.download_file(one.bucket, one.key, str(file))

    def upload(self, file: Path, uri: str) -> None:
        self.client.upload_file(str(file), *split(uri))

    def upload_folder(self, folder: Path, uri: str) -> None:
        for file in folder.rglob("*"):
            if file.is_file():
                self.upload(file, f"{uri.rstrip('/')}/{file.relative_to(folder)}")


def _relative(key: str, prefix: str) -> str:
    """`a/b` for data/train/a/b below data/train or data/train/; the file's name for an object itself; what follows the
    last slash of a prefix that ends within a name."""
    folder = prefix.rstrip("/") + "/"
    if prefix and key.startswith(folder):
        return key.removeprefix(folder)
    return key[prefix.rfind("/") + 1 :]
