"""Batch transforms: what a prefix or a manifest holds, through containers of the service, into a prefix."""

from __future__ import annotations

import json
import re
import secrets
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from deploy import running, storage
from deploy.account import Account
from deploy.errors import DeployError
from deploy.parts import PREFIXES
from deploy.storage import Address, Stored
from deploy.waiting import until

ENDED = ("Completed", "Failed", "Stopped")
INSTANCE_TYPE = "ml.c7i.xlarge"
PAYLOAD_MB, LARGEST_MB = 6, 100  #: what /execution-parameters says, and the most that a transform sends; in 2²⁰ bytes
LARGEST_BODY_MB = -(-LARGEST_MB * 1024**2 // 10**6)  #: the same as the service counts, in 10⁶
TIMEOUT_S = 600
LINES = "application/jsonlines"
BAND_FILE = re.compile(r"_B(0[1-9]|1[0-2]|8A)\.tiff?$", re.IGNORECASE)
KEYS = ("id", "s3_uri", "bands")  #: of a manifest's line: service/bodies/instances.py refuses others
ONE_A_FILE = "S3Prefix"


@dataclass(frozen=True)
class Plan:
    """What is asked of a transform beside the model."""

    source: Address  #: prefix of GeoTIFFs; or a file of JSON Lines, one instance a line
    out: Address
    manifest: bool = False
    options: tuple[tuple[str, str], ...] = ()  #: of the service, such as bands
    accept: str | None = None
    instance_type: str = INSTANCE_TYPE
    instances: int = 1
    payload_mb: int | None = None  #: these two are left to /execution-parameters
    concurrency: int | None = None
    prefixes: tuple[str, ...] = ()  #: that a manifest names objects of

    @property
    def content_type(self) -> str:
        """Options travel as its parameters: batch transform passes no other header."""
        media_type = LINES if self.manifest else "image/tiff"
        return "; ".join((media_type, *(f"{name}={value}" for name, value in self.options)))


def request(account: Account, job: str, model_name: str, plan: Plan) -> dict[str, Any]:
    """Of CreateTransformJob: one object a request, or one line, which comes back joined with its answer."""
    environment = {"MAX_BODY_MB": str(LARGEST_BODY_MB), "MAX_WAIT_S": str(TIMEOUT_S - 50)}
    said: dict[str, Any] = {
        "TransformJobName": job,
        "ModelName": model_name,
        "ModelClientConfig": {"InvocationsTimeoutInSeconds": TIMEOUT_S, "InvocationsMaxRetries": 3},
        "Environment": environment | ({PREFIXES: ",".join(plan.prefixes)} if plan.manifest else {}),
        "TransformInput": {
            "DataSource": {"S3DataSource": {"S3DataType": ONE_A_FILE, "S3Uri": str(plan.source)}},
            "ContentType": plan.content_type,
            "CompressionType": "None",
            "SplitType": "Line" if plan.manifest else "None",
        },
        "TransformOutput": {
            "S3OutputPath": str(plan.out),
            "Accept": plan.accept or (LINES if plan.manifest else "application/json"),
            "AssembleWith": "Line" if plan.manifest else "None",
        },
        "TransformResources": {"InstanceType": plan.instance_type, "InstanceCount": plan.instances},
        "Tags": account.tags,
    }
    if plan.manifest:
        said["DataProcessing"] = {"JoinSource": "Input"}
    if plan.payload_mb is not None:
        said["MaxPayloadInMB"] = plan.payload_mb
    if plan.concurrency is not None:
        said["MaxConcurrentTransforms"] = plan.concurrency
    return said


def again(account: Account, job: str, described: dict[str, Any], source: Address, data_type: str) -> dict[str, Any]:
    """Of CreateTransformJob: as a job before, on other input."""
    kept = (
        *("ModelName", "ModelClientConfig", "Environment", "TransformInput", "TransformOutput", "TransformResources"),
        *("DataProcessing", "MaxPayloadInMB", "MaxConcurrentTransforms"),
    )
    said = {key: described[key] for key in kept if described.get(key) not in (None, 0)}
    data = {"S3DataSource": {"S3DataType": data_type, "S3Uri": str(source)}}
    said["TransformInput"] = {**described["TransformInput"], "DataSource": data}
    said["TransformOutput"] = {**described["TransformOutput"], "S3OutputPath": str(output(account, job))}
    return {"TransformJobName": job, **said, "Tags": account.tags}


def new_name(account: Account) -> str:
    """Of a job that begins now."""
    return f"{account.stack}-transform-{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"


def home(account: Account, job: str) -> Address:
    """What belongs to a job."""
    return Address(account.bucket, f"transforms/{job}/")


def output(account: Account, job: str) -> Address:
    """Where its answers go; nothing else is there."""
    return home(account, job) / "output/"


def require_writable(account: Account, out: Address) -> None:
    """Raises DeployError bad_out for a place where the serving role may not write."""
    allowed = Address(account.bucket, "transforms/")
    if out.bucket != allowed.bucket or not out.key.startswith(allowed.key):
        raise DeployError("bad_out", f"Models may write below {allowed} alone: say --out {allowed}NAME/, or none.")


def require_input(found: Iterable[Stored], plan: Plan) -> int:
    """How many objects there are. Raises DeployError for input that could only fail."""
    count, others = 0, 0
    payload = plan.payload_mb or PAYLOAD_MB
    for stored in found:
        count += 1
        if plan.manifest:
            continue
        others += not stored.address.key.lower().endswith((".tif", ".tiff"))
        if stored.size > payload * 1024**2:
            size = -(-stored.size // 1024**2)
            advice = f"say --max-payload {size} --concurrency {max(1, LARGEST_MB // size)}"
            detail = f"{stored.address} has {size} MB and a request {payload}: " + (
                advice if size <= LARGEST_MB else f"cut it; a transform sends at most {LARGEST_MB} MB"
            )
            raise DeployError("payload_too_large", f"{detail}.")
        if BAND_FILE.search(stored.address.key) and "," in dict(plan.options).get("bands", ","):
            detail = f"{stored.address} is one band, and one object is one request: stack the bands of a tile first "
            raise DeployError(
                "band_files", f"{detail}(training/run.py upload bands --stack), or name them in a --manifest."
            )
    if not count:
        raise DeployError("no_input", f"There is no object under {plan.source}.")
    if others:
        print(f"{others} of {count} objects do not end in .tif; they are sent as GeoTIFF all the same", file=sys.stderr)
    return count


def prefixes_of(lines: Iterable[bytes], where: str) -> tuple[str, ...]:
    """The folders, one a bucket, under which a manifest's objects are. Raises DeployError bad_manifest."""
    common: dict[str, list[str]] = {}
    for number, line in enumerate(lines, start=1):
        for uri in _named(line, f"{where}, line {number}"):
            address = Address.parse(uri)
            folders = address.key.split("/")[:-1]
            known = common.setdefault(address.bucket, folders)
            alike = [a == b for a, b in zip(known, folders, strict=False)]
            common[address.bucket] = known[: [*alike, False].index(False)]
    if not common:
        raise DeployError("bad_manifest", f"{where} has no lines.")
    return tuple(str(Address(bucket, "/".join(folders)).folder) for bucket, folders in sorted(common.items()))


def _named(line: bytes, where: str) -> Sequence[str]:
    if not line.strip():
        return ()
    try:
        instance = json.loads(line)
        if instance.keys() - KEYS or len([key for key in KEYS[1:] if instance.get(key) is not None]) != 1:
            raise ValueError
        uris = [instance["s3_uri"]] if instance.get("s3_uri") is not None else list(instance["bands"].values())
    except (ValueError, TypeError, KeyError, AttributeError):
        detail = f'{where} is not {{"id": …, "s3_uri": "s3://…"}} or {{"id": …, "bands": {{"B04": "s3://…", …}}}}'
        raise DeployError("bad_manifest", f"{detail}: the service takes no other keys.") from None
    return [str(uri) for uri in uris]


def described(account: Account, job: str) -> dict[str, Any]:
    """What DescribeTransformJob says. Raises DeployError not_found."""
    said = running.described(account, running.TRANSFORM, job)
    if said is None:
        raise DeployError("not_found", f"There is no transform job {job} in {account.region}.")
    return dict(said)


def wait(account: Account, job: str, inputs: int | None) -> dict[str, Any]:
    """Until the job has ended; tells how many of the inputs are answered. Returns what DescribeTransformJob says."""
    s3, of_all, told = account.client("s3"), f" of {inputs}" if inputs else "", -1
    seen: dict[str, Any] = {}

    def look() -> str:
        nonlocal told
        seen.update(described(account, job))
        done = sum(1 for _ in storage.listing(s3, Address.parse(seen["TransformOutput"]["S3OutputPath"]).folder))
        if done != told:
            print(f"{job}: {done}{of_all} answered", file=sys.stderr, flush=True)
            told = done
        return str(seen["TransformJobStatus"])

    until(job, look, ENDED)
    return seen
