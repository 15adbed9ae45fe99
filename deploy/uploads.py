"""Files into S3: side by side, each checked by S3 as it comes, and none sent again that is there already.

What is there is told by the listing: an object's ETag is the MD5 of its content, or of its parts' MD5s. A large file
goes in parts, and those that S3 has of an upload that broke off are not sent again.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deploy import storage
from deploy.account import Account
from deploy.errors import DeployError
from deploy.storage import Address

PART = 64 * 1024 * 1024  # bytes; at most 10,000 parts make 640 GB
AT_ONCE = 16


@dataclass(frozen=True)
class Source:
    """What is to be an object: its key below the prefix, and how its content is read when its turn comes."""

    name: str
    content: Path | Callable[[], bytes]


@dataclass(frozen=True)
class Sent:
    """What became of one."""

    name: str
    size: int  #: bytes
    was_there: bool


def send(account: Account, sources: Iterable[Source], prefix: Address) -> Iterator[Sent | tuple[str, Exception]]:
    """Sends each source that is not there yet; tells each as it is done, or its name and why it cannot be read.

    Raises DeployError upload_damaged, and botocore's errors.
    """
    there = {stored.address.key: stored.etag for stored in storage.listing(account.client("s3"), prefix)}
    waiting: set[Future[Sent | tuple[str, Exception]]] = set()
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for source in sources:
            known = there.get((prefix / source.name).key)
            waiting.add(pool.submit(_send, account, source, prefix / source.name, known))
            if len(waiting) >= 2 * AT_ONCE:  # so that a million files are not all waiting in memory
                ended, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                yield from (one.result() for one in ended)
        for one in waiting:
            yield one.result()


def _send(account: Account, source: Source, to: Address, etag: str | None) -> Sent | tuple[str, Exception]:
    try:
        if isinstance(source.content, Path) and source.content.stat().st_size > PART:
            return _send_parts(account, source.name, source.content, to, etag)
        content = source.content.read_bytes() if isinstance(source.content, Path) else source.content()
    except (OSError, ValueError) as error:
        return source.name, error
    digest = hashlib.md5(content, usedforsecurity=False).hexdigest()
    if digest == etag:
        return Sent(source.name, len(content), was_there=True)
    answer = account.client("s3").put_object(
        Bucket=to.bucket, Key=to.key, Body=content, ChecksumSHA256=_sha256(content)
    )
    _require_same(account, to, answer, digest)
    return Sent(source.name, len(content), was_there=False)


def _send_parts(account: Account, name: str, file: Path, to: Address, etag: str | None) -> Sent:
    size, digests = file.stat().st_size, [hashlib.md5(part, usedforsecurity=False).digest() for part in _parts(file)]
    whole = f"{hashlib.md5(b''.join(digests), usedforsecurity=False).hexdigest()}-{len(digests)}"
    if whole == etag:
        return Sent(name, size, was_there=True)
    s3, where = account.client("s3"), {"Bucket": to.bucket, "Key": to.key}
    upload = _broken_off(s3, to) or s3.create_multipart_upload(**where, ChecksumAlgorithm="SHA256")["UploadId"]
    done = _parts_of(s3, to, upload) if not account.dry_run else {}
    told = []
    for number, (content, digest) in enumerate(zip(_parts(file), digests, strict=True), start=1):
        part = done.get(number)
        if part is None or part["ETag"].strip('"') != digest.hex():
            part = s3.upload_part(
                **where, UploadId=upload, PartNumber=number, Body=content, ChecksumSHA256=_sha256(content)
            )
        told.append({"PartNumber": number, "ETag": part["ETag"], "ChecksumSHA256": _sha256(content)})
    answer = s3.complete_multipart_upload(**where, UploadId=upload, MultipartUpload={"Parts": told})
    _require_same(account, to, answer, whole)
    return Sent(name, size, was_there=False)


def _parts(file: Path) -> Iterator[bytes]:
    with file.open("rb") as opened:
        while part := opened.read(PART):
            yield part


def _broken_off(s3: Any, to: Address) -> str | None:
    """The newest upload of this object that was begun and not completed."""
    found = s3.list_multipart_uploads(Bucket=to.bucket, Prefix=to.key).get("Uploads", [])
    same = [upload for upload in found if upload["Key"] == to.key]
    return max(same, key=lambda upload: upload["Initiated"])["UploadId"] if same else None


def _parts_of(s3: Any, to: Address, upload: str) -> dict[int, Any]:
    pages = s3.get_paginator("list_parts").paginate(Bucket=to.bucket, Key=to.key, UploadId=upload)
    return {part["PartNumber"]: part for page in pages for part in page.get("Parts", ())}


def _sha256(content: bytes) -> str:
    return base64.b64encode(hashlib.sha256(content).digest()).decode()


def _require_same(account: Account, to: Address, answer: Any, digest: str) -> None:
    if not account.dry_run and answer["ETag"].strip('"') != digest:
        raise DeployError("upload_damaged", f"{to} is not what was sent: send it again.")
