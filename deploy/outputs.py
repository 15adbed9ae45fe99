"""What a transform job read and wrote: which input each answer is of, and why some have none."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from deploy import storage, transforms
from deploy.account import Account
from deploy.answers import Failure, stem
from deploy.errors import DeployError
from deploy.storage import Address, Stored

SUFFIX = ".out"
LOGS = "/aws/sagemaker/TransformJobs"
STREAMS_A_CALL = 100

Answered = tuple[Stored, Address]  #: an `.out`, and the input that it is of


@dataclass(frozen=True)
class Output:
    """The answers under a prefix, and the job that wrote them where it is known."""

    job: str
    prefix: Address
    described: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, account: Account, said: str) -> Output:
        """By the name of a job, or by a prefix. Raises DeployError not_done while the job runs."""
        name = said
        if said.startswith("s3://"):
            prefix = Address.parse(said).folder
            own = re.fullmatch(r"transforms/([^/]+)/output/", prefix.key)
            if own is None or prefix.bucket != account.bucket:
                return cls("", prefix)
            name = own[1]
        described = transforms.described(account, name)
        if described["TransformJobStatus"] not in transforms.ENDED:
            detail = f"{name} is {described['TransformJobStatus']}: python -m deploy transform --attach {name}"
            raise DeployError("not_done", f"{detail} waits for it.")
        return cls(name, Address.parse(described["TransformOutput"]["S3OutputPath"]).folder, described)

    @property
    def is_manifest(self) -> bool:
        """Whether its input was lines."""
        return bool(self.described) and self.described["TransformInput"]["SplitType"] == "Line"

    def inputs(self, account: Account) -> dict[str, Address]:
        """Objects that were to be answered, by what SageMaker calls them in the output; empty where no job is known."""
        if not self.described:
            return {}
        s3, source = account.client("s3"), self.described["TransformInput"]["DataSource"]["S3DataSource"]
        place = Address.parse(source["S3Uri"])
        if source["S3DataType"] == "ManifestFile":
            first, *paths = json.loads(storage.read(s3, place))
            folder = Address.parse(first["prefix"])
            return {path: Address(folder.bucket, folder.key + path) for path in paths}
        return {place.relative(found.address.key): found.address for found in storage.listing(s3, place)}

    def answered(self, account: Account, inputs: Mapping[str, Address]) -> Iterator[Answered]:
        """Each `.out`."""
        for found in storage.listing(account.client("s3"), self.prefix):
            if found.address.key.endswith(SUFFIX):
                path = found.address.key.removeprefix(self.prefix.key).removesuffix(SUFFIX)
                yield found, inputs.get(path, Address(self.prefix.bucket, self.prefix.key + path))

    def without(self, account: Account, missing: list[Address]) -> list[Failure]:
        """Why these inputs have no answer, as far as the job's log or its failure tells."""
        if not missing:
            return []
        told = self._logged(account)
        reason = self.described.get("FailureReason") or f"the job is {self.described['TransformJobStatus']}"
        failures = []
        for source in missing:
            code, detail = told.get(f"{source.bucket}/{source.key}", ("no_answer", reason))
            failures.append(Failure(str(source), stem(source.key), code, detail, self.job))
        return failures

    def _logged(self, account: Account) -> dict[str, tuple[str, str]]:
        """What the data log says of objects that failed, by bucket/key: the service's own code where it said one."""
        from botocore.exceptions import ClientError

        logs, told = account.client("logs"), dict[str, tuple[str, str]]()
        try:
            pages = logs.get_paginator("describe_log_streams").paginate(
                logGroupName=LOGS, logStreamNamePrefix=f"{self.job}/"
            )
            streams = [stream["logStreamName"] for page in pages for stream in page["logStreams"]]
            streams = [stream for stream in streams if stream.endswith("/data-log")]
            for start in range(0, len(streams), STREAMS_A_CALL):
                for page in logs.get_paginator("filter_log_events").paginate(
                    logGroupName=LOGS, logStreamNames=streams[start : start + STREAMS_A_CALL]
                ):
                    for event in page["events"]:
                        _note(told, event["message"])
        except ClientError as error:
            if error.response["Error"]["Code"] != "ResourceNotFoundException":
                raise
        return told


def _note(told: dict[str, tuple[str, str]], line: str) -> None:
    """Lines are `…[sagemaker logs]: bucket/key: what happened`."""
    _, found, rest = line.partition("[sagemaker logs]: ")
    source, colon, what = rest.partition(": ")
    if not found or not colon:
        return
    try:
        problem = json.loads(what)
        told[source] = (str(problem["code"]), str(problem["detail"]))
    except (ValueError, KeyError, TypeError):
        if source not in told:
            told[source] = ("failed", what.strip())
