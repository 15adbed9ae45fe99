"""Requests to an endpoint of any kind, and its answers."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deploy import storage
from deploy.account import Account
from deploy.errors import DeployError
from deploy.hosting import Hosting
from deploy.storage import Address
from deploy.waiting import until

MEDIA_TYPES = {
    ".tif": "image/tiff", ".tiff": "image/tiff", ".json": "application/json", ".jsonl": "application/jsonlines"
}  # fmt: skip
TIFF_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
LONGEST_ATTRIBUTES = 1024  # of X-Amzn-SageMaker-Custom-Attributes
LONGEST_S = 3600  #: that a request from the queue may take, and SageMaker waits; unsaid it waits 15 min
ANSWERED, FAILED, WAITS = "answered", "failed", "waiting"


@dataclass(frozen=True)
class Body:
    """What is sent."""

    content: bytes
    media_type: str

    @classmethod
    def of(cls, files: Sequence[Path]) -> Body:
        """One file as it is; several as a form, in which the service finds tiles, or the bands of a tile, by name."""
        if len(files) == 1:
            content = files[0].read_bytes()
            return cls(content, media_type(files[0].name, content))
        boundary, parts = secrets.token_hex(16), b""
        for file in files:
            name = file.name.replace('"', "%22")
            head = f'Content-Disposition: form-data; name="files"; filename="{name}"\r\nContent-Type: image/tiff'
            parts += f"--{boundary}\r\n{head}\r\n\r\n".encode() + file.read_bytes() + b"\r\n"
        return cls(parts + f"--{boundary}--\r\n".encode(), f"multipart/form-data; boundary={boundary}")


def media_type(name: str, content: bytes) -> str:
    """By the magic number of TIFF, else by the name. Raises DeployError unknown_file."""
    if content.startswith(TIFF_MAGIC):
        return "image/tiff"
    found = MEDIA_TYPES.get(Path(name).suffix.lower())
    if found is None:
        detail = f"{name} is no GeoTIFF, and its name ends in none of {', '.join(MEDIA_TYPES)}."
        raise DeployError("unknown_file", detail)
    return found


def request(endpoint: str, body: Body, accept: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Of InvokeEndpoint. Options travel as custom attributes, since SageMaker passes no query."""
    said = {"EndpointName": endpoint, "Body": body.content, "ContentType": body.media_type, "Accept": accept}
    return said | _attributes(options)


def queued_request(
    endpoint: str, source: Address, media_type: str, accept: str, options: Mapping[str, Any]
) -> dict[str, Any]:
    """Of InvokeEndpointAsync."""
    said = {"EndpointName": endpoint, "InputLocation": str(source), "ContentType": media_type, "Accept": accept}
    return said | {"InvocationTimeoutSeconds": LONGEST_S} | _attributes(options)


def _attributes(options: Mapping[str, Any]) -> dict[str, str]:
    text = json.dumps(dict(options))
    if len(text) > LONGEST_ATTRIBUTES:
        raise DeployError("bad_option", f"The options have {len(text)} characters; SageMaker passes on 1024.")
    return {"CustomAttributes": text} if options else {}


def invoke(
    account: Account, endpoint: str, hosting: Hosting, body: Body, accept: str, options: Mapping[str, Any]
) -> bytes | None:
    """The answer, None under dry run. Raises DeployError: the service's own code and detail, payload_too_large."""
    if len(body.content) > hosting.payload_mb * 1_000_000:
        size = len(body.content) / 1e6
        others = {"realtime": "or have an async endpoint, which takes 1 GB", "serverless": "or have one in real time"}
        advice = f"send fewer files at a time, cut them, {others.get(hosting.kind, 'or transform a prefix')}"
        detail = (
            f"{size:.1f} MB, and a request to a {hosting.kind} endpoint has at most {hosting.payload_mb}: {advice}."
        )
        raise DeployError("payload_too_large", detail)
    if hosting.kind == "async":
        return _queued(account, endpoint, body, accept, options)
    from botocore.exceptions import ClientError

    try:
        answer = account.client("sagemaker-runtime").invoke_endpoint(**request(endpoint, body, accept, options))
    except ClientError as error:
        if error.response["Error"]["Code"] != "ModelError":
            raise
        raise problem(str(error.response.get("OriginalMessage", error))) from None
    return None if account.dry_run else bytes(answer["Body"].read())


def problem(text: str) -> DeployError:
    """What the service said was wrong, in its own words."""
    try:
        said = json.loads(text)
        return DeployError(str(said["code"]), str(said["detail"]))
    except (ValueError, KeyError, TypeError):
        return DeployError("model_error", " ".join(text.split())[:1000] or "The endpoint gives no reason.")


def _queued(account: Account, endpoint: str, body: Body, accept: str, options: Mapping[str, Any]) -> bytes | None:
    """Puts the request into the queue and waits for its answer or its failure."""
    s3, source = account.client("s3"), Address(account.bucket, f"async/{endpoint}/input/{secrets.token_hex(16)}")
    storage.write(s3, source, body.content, body.media_type)
    queued = account.client("sagemaker-runtime").invoke_endpoint_async(
        **queued_request(endpoint, source, body.media_type, accept, options)
    )
    if account.dry_run:
        return None
    answer, failure = Address.parse(queued["OutputLocation"]), Address.parse(queued["FailureLocation"])

    def look() -> str:
        if storage.head(s3, answer):
            return ANSWERED
        return FAILED if storage.head(s3, failure) else WAITS

    try:
        ended = until(f"{endpoint}: {queued['InferenceId']}", look, (ANSWERED, FAILED))
    except KeyboardInterrupt:
        raise DeployError("interrupted", f"The answer will be {answer}, or its failure {failure}.") from None
    s3.delete_object(Bucket=source.bucket, Key=source.key)
    if ended == FAILED:
        raise problem(storage.read(s3, failure).decode(errors="replace"))
    return storage.read(s3, answer)
