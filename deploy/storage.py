"""Objects in S3, by their s3:// addresses."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from deploy.errors import DeployError


@dataclass(frozen=True, order=True)
class Address:
    """An object, or a prefix of objects, as s3://bucket/key names it."""

    bucket: str
    key: str

    @classmethod
    def parse(cls, text: str) -> Address:
        """Raises DeployError bad_address."""
        scheme, _, rest = text.partition("://")
        bucket, _, key = rest.partition("/")
        if scheme != "s3" or not bucket:
            raise DeployError("bad_address", f"{text} is no address in S3; write s3://bucket/prefix/.")
        return cls(bucket, key)

    @property
    def folder(self) -> Address:
        """The same prefix, with a slash at its end."""
        return self if self.key.endswith("/") or not self.key else Address(self.bucket, f"{self.key}/")

    def relative(self, key: str) -> str:
        """What SageMaker calls an object of this bucket in its output: its path below this prefix."""
        folder = self.folder.key
        return key.removeprefix(folder) if key.startswith(folder) else key[self.key.rfind("/") + 1 :]

    def __truediv__(self, name: str) -> Address:
        return Address(self.bucket, self.folder.key + name)

    def __str__(self) -> str:
        return f"s3://{self.bucket}/{self.key}"


@dataclass(frozen=True)
class Stored:
    """An object as a listing tells it."""

    address: Address
    size: int  #: bytes
    etag: str


def listing(s3: Any, prefix: Address) -> Iterator[Stored]:
    """Objects under a prefix in the order of their keys, without the empty ones that consoles show as folders."""
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=prefix.bucket, Prefix=prefix.key):
        for found in page.get("Contents", ()):
            if not found["Key"].endswith("/"):
                yield Stored(Address(prefix.bucket, found["Key"]), found["Size"], found["ETag"].strip('"'))


def head(s3: Any, address: Address) -> Any:
    """What HeadObject says, None where there is no object."""
    from botocore.exceptions import ClientError

    try:
        return s3.head_object(Bucket=address.bucket, Key=address.key)
    except ClientError as error:
        if error.response["ResponseMetadata"]["HTTPStatusCode"] != 404:
            raise
        return None


def read(s3: Any, address: Address) -> bytes:
    """The whole content of an object."""
    content: bytes = s3.get_object(Bucket=address.bucket, Key=address.key)["Body"].read()
    return content


def write(s3: Any, address: Address, content: bytes, media_type: str) -> None:
    """Puts an object, checked by S3 on its way."""
    s3.put_object(
        Bucket=address.bucket, Key=address.key, Body=content, ContentType=media_type, ChecksumAlgorithm="SHA256"
    )
