"""`transform`: everything under a prefix through the model, without an endpoint."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deploy.commands import arguments, endpoint
from deploy.errors import DeployError

if TYPE_CHECKING:
    from deploy.account import Account
    from deploy.storage import Address

INTERRUPTED = 130


def add(commands: Any) -> None:
    """Adds the command to those of `python -m deploy`."""
    about = "send every GeoTIFF under a prefix, or every line of a manifest, through a model; it ends with its job"
    command = arguments.command(commands, "transform", about, carry_out)
    what = command.add_mutually_exclusive_group(required=True)
    what.add_argument("source", nargs="?", metavar="S3_PREFIX", help="s3://… of GeoTIFFs, each one request")
    what.add_argument(
        "--manifest", metavar="FILE",
        help='JSON Lines, here or on s3://: {"id", "s3_uri"} or {"id", "bands": {"B04": s3://…}} a line',
    )  # fmt: skip
    what.add_argument("--attach", metavar="JOB", help="wait for a job that runs")
    what.add_argument("--stop", metavar="JOB", help="stop a job; what it answered stays")
    endpoint.add_model(command, "--artifact")
    command.add_argument(
        "--out",
        metavar="S3_PREFIX",
        help="for the answers, below transforms/ of the bucket (default: the job's)",
    )
    arguments.add_options(command)
    command.add_argument("--accept", help="media type of the answers, if not JSON")
    command.add_argument("--instance-type", default="ml.c7i.xlarge")
    command.add_argument("--instances", type=int, default=1)
    command.add_argument("--max-payload", type=int, metavar="MB", help="of a request, if not what the service says (6)")
    command.add_argument(
        "--concurrency", type=int, help="requests at a time on an instance, if not what the service says (16); "
        "times --max-payload at most 100",
    )  # fmt: skip
    command.add_argument("--job", help="its name, if not one of the time")
    command.add_argument("--no-wait", action="store_true")


def carry_out(asked: argparse.Namespace) -> int:
    """Does what was asked and returns the exit code."""
    from deploy import transforms

    account = arguments.account(asked)
    if asked.stop:
        transforms.described(account, asked.stop)
        account.client("sagemaker").stop_transform_job(TransformJobName=asked.stop)
        return 0
    if asked.attach:
        return _wait(account, asked.attach, None)
    job, inputs = _start(account, asked)
    if account.dry_run:
        return 0
    print(job, flush=True)
    return 0 if asked.no_wait else _wait(account, job, inputs)


def _start(account: Account, asked: argparse.Namespace) -> tuple[str, int]:
    """Name of the job, and how many answers it will have."""
    from deploy import endpoints, parts, storage, transforms
    from deploy.hosting import require_instance_type
    from deploy.storage import Address

    require_instance_type(asked.instance_type)
    if (asked.max_payload or 1) * (asked.concurrency or 1) > transforms.LARGEST_MB:
        raise DeployError("bad_option", f"--max-payload times --concurrency is over {transforms.LARGEST_MB} MB.")
    if asked.manifest and asked.accept not in (None, transforms.LINES):
        detail = f"Lines of a --manifest are joined with answers that are lines: leave out --accept {asked.accept}."
        raise DeployError("bad_option", detail)
    s3, job = account.client("s3"), asked.job or transforms.new_name(account)
    if not job.startswith(f"{account.stack}-"):
        raise DeployError("bad_name", f"A job's name begins with that of its stack, {account.stack}.")
    out = Address.parse(asked.out).folder if asked.out else transforms.output(account, job)
    transforms.require_writable(account, out)
    plan = transforms.Plan(
        source=_manifest(account, asked.manifest, job) if asked.manifest else _prefix(s3, asked.source),
        out=out,
        manifest=bool(asked.manifest),
        options=arguments.options(asked),
        accept=asked.accept,
        instance_type=asked.instance_type,
        instances=asked.instances,
        payload_mb=asked.max_payload,
        concurrency=asked.concurrency,
        prefixes=_prefixes(s3, asked.manifest) if asked.manifest else (),
    )
    uploaded = asked.manifest and not asked.manifest.startswith("s3://")
    inputs = 1 if uploaded else transforms.require_input(storage.listing(s3, plan.source), plan)
    package = endpoint.chosen(account, asked.artifact, asked.image)
    model = parts.transform_model(account, package, isolated=not plan.manifest)
    sagemaker = account.client("sagemaker")
    if not endpoints.found(lambda: sagemaker.describe_model(ModelName=model["ModelName"])):
        sagemaker.create_model(**model)
    sagemaker.create_transform_job(**transforms.request(account, job, model["ModelName"], plan))
    return job, inputs


def _prefix(s3: Any, text: str) -> Address:
    """An object as it is, everything else as a folder, so that tiles does not take tiles-old with it."""
    from deploy import storage
    from deploy.storage import Address

    address = Address.parse(text)
    is_object = bool(address.key) and not address.key.endswith("/") and storage.head(s3, address) is not None
    return address if is_object else address.folder


def _manifest(account: Account, file: str, job: str) -> Address:
    from deploy import storage, transforms
    from deploy.storage import Address

    if file.startswith("s3://"):
        return Address.parse(file)
    place = transforms.home(account, job) / "manifest.jsonl"
    storage.write(account.client("s3"), place, Path(file).read_bytes(), transforms.LINES)
    return place


def _prefixes(s3: Any, file: str) -> tuple[str, ...]:
    from deploy import transforms
    from deploy.storage import Address

    if not file.startswith("s3://"):
        with Path(file).open("rb") as lines:
            return transforms.prefixes_of(lines, file)
    address = Address.parse(file)
    lines = s3.get_object(Bucket=address.bucket, Key=address.key)["Body"].iter_lines()
    return transforms.prefixes_of(lines, file)


def _wait(account: Account, job: str, inputs: int | None) -> int:
    from deploy import transforms

    try:
        ended = transforms.wait(account, job, inputs)
    except KeyboardInterrupt:
        again = f"python -m deploy transform --attach {job}, or --stop {job}"
        print(f"\n{job} goes on without you. Look again: {again}", file=sys.stderr)
        return INTERRUPTED
    print(f"answers: {ended['TransformOutput']['S3OutputPath']}")
    print(f"one file of them: python -m deploy collect {job} --to FILE.parquet")
    if ended["TransformJobStatus"] != "Completed":
        reason = ended.get("FailureReason", "SageMaker gives no reason")
        raise DeployError(
            "transform_failed", f"{job} is {ended['TransformJobStatus']}: {reason} collect lists what failed."
        )
    return 0
